"""One blob into a registry: POST, one PATCH that is hashed while it is sent, PUT with the digest; or POST and one PUT.

One PATCH and no chunks: registries in the field drop what follows a first chunk, and a session does not survive a broken
connection, so a blob that was cut is begun again. The digest is needed only at the PUT, which is what makes the blob real:
a stream that turns out to be wrong is cancelled before it.

GHCR, ECR and GAR want a whole blob in one PUT (GHCR answers 416 to a PATCH with a length above 4 MiB; ECR drops what
follows a first one). A PUT needs the digest beforehand. Where it is not known, one PATCH without a length is sent, in
chunked transfer encoding: that is what ``docker push`` sends to all of them, so that none can do without it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import urlencode, urlsplit

from buildkit.errors import ModelpackError, RegistryFailed
from buildkit.machine.answers import drain, is_there
from buildkit.machine.connections import READ_SECONDS
from buildkit.oci.hashed import Hashed, close, hashed
from buildkit.oci.image import Blob
from buildkit.oci.reference import Digest
from buildkit.registries.connection import Answer, Connection
from buildkit.registries.lost import Lost
from buildkit.registries.refusals import error_body, explained, unexpected
from buildkit.registries.sent import Body
from buildkit.registries.token_service import Scope

CLOSING_SECONDS = 600.0
CLOSING_SECONDS_PER_MIB = 1.0
CLOSING_SECONDS_PER_GIB = 60.0
"""How much longer than usual a registry may take to make a blob of what it was sent, of which it says nothing meanwhile.

It may hash all of it again and copy it to its place before it answers (distribution, registry/storage/blobwriter.go:
``validateBlob`` and ``moveBlob``), over the network where that is an object store: a second for each MiB up to ten minutes,
and a minute for each GiB, which is 17 MiB/s. A config that is not answered for is asked again as soon as anything else.
"""

_LOST = (404, 416)
_BEGIN_AGAIN = ("BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID", "DIGEST_INVALID")
"""What a registry says of a session that it lost, or that lost bytes on the way (distribution-spec, "Error Codes")."""


class Upload:
    """The upload of one blob; ``moved`` hears of every piece, and of a negative amount where it begins again."""

    def __init__(
        self, connection: Connection, where: str, scope: Scope, blob: Blob, moved: Callable[[int], None]
    ) -> None:
        self.connection = connection
        self.where = where
        self.scope = scope
        self.blob = blob
        self.moved = moved
        self.sent = 0
        self.location: str | None = None
        self._opened: Hashed | None = None
        self._closing: Digest | None = None

    def run(self, session: str | None = None) -> Digest:
        """Sends the blob, in ``session`` where one is open already. Raises RegistryFailed, or what the blob's stream raises."""
        try:
            return self._run(session)
        except BaseException:
            self._cancel()
            raise

    def _run(self, session: str | None) -> Digest:
        patience = self.connection.patience()
        while True:
            try:
                self._at(session or self._begin())
                session = None
                return self._send()
            except Lost as lost:
                failure = lost
            # Who reads along with us from one source must not wait for a stream that nobody reads any more.
            close(self._opened)
            if landed := self._landed():
                return landed
            patience.again(failure)
            # Asked again before it is deleted: the registry may have been closing it all the while.
            if landed := self._landed():
                return landed
            self._rewind()
            self._cancel()

    def _begin(self) -> str:
        answer = self.connection.once("POST", self.where, self.scope, headers={"Content-Length": "0"})
        if answer.status == 404:
            raise RegistryFailed(
                f"{self.connection.host} has no repository {self.where.split('/', 2)[2].removesuffix('/blobs/uploads/')}"
                f" ({explained(error_body(answer)) or 'answered 404'})",
                hint=self.connection.profile.create or "the repository must be created first on this registry",
            )
        self.connection.expect(answer, (202,), "beginning an upload")
        return self._location(answer)

    def _send(self) -> Digest:
        location = self.location or ""
        if self.connection.profile.upload == "put" and self.blob.digest:
            self._close(self._put(location, self.blob.digest, self._pieces(), self.blob.size), self.blob.digest)
            return self.blob.digest
        headers = {"Content-Type": "application/octet-stream"}
        if self.connection.profile.upload == "patch":
            headers["Content-Length"] = str(self.blob.size)
        answer = self._once("PATCH", location, headers, self._pieces())
        self._expect_taken(answer, f"sending {self.blob.title}")
        self._at(self._location(answer, location))
        return self._finish(self.location or location, self._digest)

    def _finish(self, location: str, digest: Digest) -> Digest:
        """Makes a blob of what was sent, asked again where the registry is busy: the session has all of it, the PUT nothing."""
        patience = self.connection.patience()
        while True:
            try:
                answer = self._put(location, digest, b"", 0)
            except Lost as lost:
                failure = lost
            else:
                self._close(answer, digest)
                return digest
            if landed := self._landed():
                return landed
            patience.again(failure)

    def _put(self, location: str, digest: Digest, body: Body, size: int) -> Answer:
        self._closing = digest
        where = location + ("&" if urlsplit(location).query else "?") + urlencode({"digest": digest})
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        return self._once("PUT", where, headers, body)

    def _once(self, method: str, where: str, headers: Mapping[str, str], body: Body) -> Answer:
        """What may end with the registry's work on the whole blob, which takes longer the larger that is."""
        mebibytes = self.blob.size / 2**20
        longer = min(CLOSING_SECONDS_PER_MIB * mebibytes, CLOSING_SECONDS) + CLOSING_SECONDS_PER_GIB * mebibytes / 1024
        within = READ_SECONDS + longer
        return self.connection.once(method, where, self.scope, headers=headers, body=body, within=within)

    def _landed(self) -> Digest | None:
        """The digest that a PUT made real although its answer was lost; None where it did not, or not yet."""
        if self._closing and self._is_there(self._closing):
            self._at(None)
            return self._closing
        return None

    def _is_there(self, digest: Digest) -> bool:
        with contextlib.suppress(Lost, ModelpackError):
            return is_there(self.connection.once("HEAD", self.where.removesuffix("uploads/") + digest, self.scope))
        return False

    def _close(self, answer: Answer, digest: Digest) -> None:
        """Takes the answer to the PUT that made the blob real."""
        self._expect_taken(answer, f"finishing {self.blob.title}")
        answered = answer.headers.get("Docker-Content-Digest", digest)
        drain(answer)
        if answered != digest:
            raise RegistryFailed(f"{self.connection.host} stored {answered} where {digest} was sent")
        self._at(None)

    def _expect_taken(self, answer: Answer, doing: str) -> None:
        """Raises Lost where the registry lost the session, or bytes on the way, so that another is begun."""
        if answer.status == 413:
            raise RegistryFailed(
                f"{self.connection.host} takes no layer of {self.blob.size} bytes ({self.blob.title})",
                hint="use 'layers: per-file', or another registry",
            )
        if answer.status in (400, *_LOST) and not self.connection.peer(answer.url):
            body = error_body(answer)
            said = explained(body)
            if answer.status in _LOST or any(code in said for code in _BEGIN_AGAIN):
                raise Lost(f"the registry lost the upload ({said or answer.status})")
            raise unexpected(self.connection.host, self.connection.profile, answer.status, body, doing)
        self.connection.expect(answer, (200, 201, 202, 204), doing)
        if self.sent != self.blob.size:
            raise Lost(f"only {self.sent} of {self.blob.size} bytes were taken")

    def _pieces(self) -> Iterator[bytes | memoryview]:
        """The blob's bytes; a stream that turns out to be another blob ends before its last piece is sent."""
        opened = self._opened = hashed(self.blob.open())
        for piece in opened:
            self.sent += len(piece)
            self.moved(len(piece))
            if self.sent >= self.blob.size:
                self._check_digest(opened)
            yield piece

    @property
    def _digest(self) -> Digest:
        """What was sent; an empty blob may never have been opened."""
        return self._opened.digest if self._opened else Digest.of(b"")

    def _check_digest(self, opened: Hashed) -> None:
        if self.sent != self.blob.size:
            return
        digest = opened.digest
        if self.blob.digest and digest != self.blob.digest:
            # At its end a source that proves its bytes itself says better than the lock what is wrong with them.
            next(opened, None)
        self.blob.prove(digest)

    def _rewind(self) -> None:
        if self.sent:
            self.moved(-self.sent)
        self.sent, self._opened = 0, None

    def _at(self, location: str | None) -> None:
        """Moves to the session's newest location, the only one that registries know; None: it is over."""
        if self.location:
            self.connection.ended(self.location)
        if location:
            self.connection.opened(location, self.scope)
        self.location = location

    def _cancel(self) -> None:
        if self.location:
            with contextlib.suppress(Lost, ModelpackError):
                drain(self.connection.once("DELETE", self.location, self.scope))
        self._at(None)

    def _location(self, answer: Answer, previous: str = "") -> str:
        location = answer.headers.get("Location") or previous
        drain(answer)
        if not location:
            raise RegistryFailed(f"{self.connection.host} opened an upload but did not say where")
        return self.connection.absolute(location, answer.url or "")
