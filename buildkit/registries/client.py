"""A registry's repository as a Store (distribution-spec 1.1)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import quote, urlencode

from urllib3.exceptions import HTTPError

from buildkit.errors import RegistryFailed, RegistryUnreachable, TagUnconfirmed
from buildkit.machine.answers import drain, is_there, next_page, read_whole
from buildkit.oci.image import Blob, Placed
from buildkit.oci.manifest import INDEXES, LARGEST_MANIFEST, MANIFESTS, Descriptor, Document
from buildkit.oci.parsing import parse
from buildkit.oci.reference import Digest, Reference, is_digest, is_tag
from buildkit.oci.stored import NoSpans
from buildkit.registries.connection import Answer, Connection
from buildkit.registries.lost import Lost, reason
from buildkit.registries.token_service import Scope
from buildkit.registries.upload import Upload

BLOCK = 1024 * 1024
_PAGE = 1000
_PAGES = 3
_ACCEPT = ", ".join(MANIFESTS + INDEXES)


class Repository:
    """One repository of a registry, read or written. Shares its connection with the others of that registry."""

    def __init__(self, connection: Connection, reference: Reference) -> None:
        self.connection = connection
        self.reference = reference
        self.repository = reference.repository
        self._pull: Scope = (f"repository:{self.repository}:pull",)
        self._push: Scope = (f"repository:{self.repository}:pull,push",)
        self._writing = False

    def resolve(self, name: str) -> Document | None:
        """The manifest or index under a tag or digest; None where the registry has none. Raises RegistryFailed."""
        answer, raw = self._whole(self._path("manifests", name), {"Accept": _ACCEPT})
        if answer.status == 404:
            drain(answer)
            return None
        self.connection.expect(answer, (200,), f"reading {self.reference.name}:{name}")
        document = Document(answer.headers.get("Content-Type", "").partition(";")[0].strip(), raw)
        promised = _promised(answer)
        if name.startswith("sha256:") and document.digest != name:
            raise RegistryFailed(f"{self.reference.name} gave other bytes for {name} than that digest")
        if promised and promised != document.digest:
            raise RegistryFailed(
                f"{self.reference.name}:{name} is {document.digest}, but the registry calls it {promised}"
            )
        return document

    def digest(self, name: str) -> Digest | None:
        """What a tag or digest names, asked by HEAD, which registries with a pull limit do not count; None for nothing.

        Raises RegistryFailed. Where the registry does not tell the digest (it need not) the manifest is read.
        """
        path = self._path("manifests", name)
        answer = self.connection.follow(path, self._scope, {"Accept": _ACCEPT}, "HEAD")
        drain(answer)
        if answer.status == 404:
            return None
        if answer.status == 200 and (promised := _promised(answer)):
            return promised
        document = self.resolve(name)
        return document.digest if document else None

    def tags(self) -> tuple[str, ...]:
        """The repository's tags, thousands at most; none where the registry does not list them (distribution-spec, "Listing
        Tags"). Raises RegistryFailed."""
        found: list[str] = []
        for _ in range(_PAGES):
            last = {"last": found[-1]} if found else {}
            page = self._path("tags", "list") + "?" + urlencode({"n": _PAGE, **last})
            answer, raw = self._whole(page)
            if answer.status != 200:
                drain(answer)
                break
            page_of = _tags_of(raw)
            found += page_of
            if not page_of or not next_page(answer.headers):
                break
        return tuple(found)

    def has(self, digest: Digest) -> bool:
        """Whether the repository holds a blob."""
        return is_there(self.connection.request("HEAD", self._path("blobs", digest), self._scope))

    def fetch(self, descriptor: Descriptor) -> Iterator[bytes | memoryview]:
        """Yields a blob, resumed by Range where a connection breaks; raises RegistryFailed where it is not what was named."""
        hashed, position, patience = hashlib.sha256(), 0, self.connection.patience()
        while position < descriptor.size or descriptor.size == 0:
            try:
                for piece in self._read(descriptor, position):
                    position += len(piece)
                    if position > descriptor.size:
                        raise RegistryFailed(
                            f"{descriptor.digest} of {self.reference.name} is longer than {descriptor.size} bytes"
                        )
                    hashed.update(piece)
                    patience.progressed()
                    yield piece
                if position < descriptor.size:
                    raise Lost(f"{descriptor.size - position} bytes are missing")
                break
            except Lost as lost:
                patience.again(lost)
        if hashed.hexdigest() != descriptor.digest.hex:
            raise RegistryFailed(f"{self.reference.name} gave other bytes for {descriptor.digest} than that digest")

    def span(self, descriptor: Descriptor, start: int, length: int) -> bytes:
        """Some bytes of a blob, by Range: they are not proven by its digest. Raises NoSpans where all would be sent."""
        return self.connection.repeated(lambda: self._span(descriptor, start, length))

    def _span(self, descriptor: Descriptor, start: int, length: int) -> bytes:
        headers = {"Range": f"bytes={start}-{start + length - 1}"}
        answer = self.connection.follow(self._path("blobs", descriptor.digest), self._scope, headers)
        try:
            self.connection.expect(answer, (200, 206), f"reading {descriptor.digest} of {self.reference.name}")
            if answer.status == 200 and length < descriptor.size:
                raise NoSpans(f"{self.connection.host} does not serve parts of a layer")
            found = answer.read(length)
        except HTTPError as error:
            raise Lost(reason(error), peer=self.connection.peer(answer.url)) from None
        finally:
            answer.close() if answer.status == 200 else drain(answer)
        if len(found) < length:
            raise Lost(f"{length - len(found)} bytes are missing")
        return found

    def put(self, blob: Blob, moved: Callable[[int], None]) -> Placed:
        """Makes the blob be there: finds it, mounts it from a sibling, or sends it. Raises RegistryFailed, SourceFailed."""
        self._writing = True
        session = None
        if blob.digest:
            if self.has(blob.digest):
                return Placed(blob.digest, "exists")
            session = self._mount(blob.digest, self._sibling(blob))
            if session == "":
                return Placed(blob.digest, "mounted")
        digest = Upload(self.connection, self._path("blobs", "uploads/"), self._push, blob, moved).run(session)
        return Placed(digest, "sent")

    def publish(self, document: Document, tag: str | None = None) -> None:
        """Puts a manifest or index under its digest or a tag, and checks the digest that the registry answers with.

        Raises RegistryFailed; TagUnconfirmed where nobody knows whether a tag moved.
        """
        self._writing = True
        if len(document.raw) > LARGEST_MANIFEST:
            raise RegistryFailed(
                f"the manifest has {len(document.raw)} bytes; registries take at most {LARGEST_MANIFEST}",
                hint="use fewer layers ('layers: squashed', or bundle more files in one)",
            )
        try:
            self._publish(document, tag)
        except RegistryFailed as failure:
            # The answer to a first try may have been lost, and the registry lets no tag be written twice.
            if not (tag and self._is_on(tag, document.digest, failure)):
                raise

    def _publish(self, document: Document, tag: str | None) -> None:
        name, headers = tag or document.digest, {"Content-Type": document.media_type}
        where = self._path("manifests", name)
        answer = self.connection.request("PUT", where, self._push, headers=headers, body=document.raw)
        doing = f"writing the manifest {self.reference.name}{':' if tag else '@'}{name}"
        self.connection.expect(answer, (200, 201, 202), doing)
        answered = answer.headers.get("Docker-Content-Digest", document.digest)
        drain(answer)
        if answered != document.digest:
            raise RegistryFailed(f"{self.connection.host} stored {answered} where {document.digest} was sent")

    def _is_on(self, tag: str, digest: Digest, failure: RegistryFailed) -> bool:
        try:
            return self.digest(tag) == digest
        except RegistryFailed:
            if isinstance(failure, RegistryUnreachable):
                raise TagUnconfirmed(failure.what, failure.problems, failure.hint) from None
            return False

    def written(self, method: str, where: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """One request of who writes here by itself; ``where`` is a path of the API or a URL it gave. Raises RegistryFailed."""
        self._writing = True
        return self.connection.request(method, where, self._push, headers=headers, body=body)

    def referrers(self, digest: Digest) -> Document | None:
        """The index of what refers to a digest; None where the registry has no referrers API. Raises RegistryFailed."""
        answer, raw = self._whole(self._path("referrers", digest))
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip()
        if answer.status != 200 or kind not in INDEXES:
            drain(answer)
            return None
        return Document(kind, raw)

    def delete(self, digest: Digest) -> None:
        """Deletes a manifest with its tags; raises RegistryFailed where the registry does not let one."""
        scope = (*self._push, f"repository:{self.repository}:delete")
        answer = self.connection.request("DELETE", self._path("manifests", digest), scope)
        self.connection.expect(answer, (200, 202, 404), f"deleting {digest} of {self.reference.name}")
        drain(answer)

    @property
    def _scope(self) -> Scope:
        """One token serves a whole push; a mere reader asks for no more than to read."""
        return self._push if self._writing else self._pull

    def _whole(self, path: str, headers: Mapping[str, str] | None = None) -> tuple[Answer, bytes]:
        """An answer with its body where it is 200, asked for again where it was cut off; else with its body unread."""

        def ask() -> tuple[Answer, bytes]:
            answer = self.connection.follow(path, self._scope, headers)
            return answer, self._bounded(answer) if answer.status == 200 else b""

        return self.connection.repeated(ask)

    def _bounded(self, answer: Answer) -> bytes:
        try:
            raw = read_whole(answer, LARGEST_MANIFEST)
        except HTTPError as error:
            raise Lost(f"an answer was cut off ({reason(error)})") from None
        finally:
            drain(answer)
        if len(raw) > LARGEST_MANIFEST:
            raise RegistryFailed(f"a manifest or list of {self.reference.name} is larger than {LARGEST_MANIFEST} bytes")
        return raw

    def _read(self, descriptor: Descriptor, start: int) -> Iterator[bytes | memoryview]:
        headers = {"Range": f"bytes={start}-"} if start else {}
        answer = self.connection.follow(self._path("blobs", descriptor.digest), self._scope, headers)
        self.connection.expect(answer, (200, 206), f"reading {descriptor.digest} of {self.reference.name}")
        skip = start if answer.status == 200 else 0
        try:
            for piece in answer.stream(BLOCK, decode_content=False):
                if skip >= len(piece):
                    skip -= len(piece)
                    continue
                yield memoryview(piece)[skip:] if skip else piece
                skip = 0
        except HTTPError as error:
            raise Lost(reason(error), peer=self.connection.peer(answer.url)) from None
        finally:
            answer.close()

    def _sibling(self, blob: Blob) -> Reference | None:
        """Another repository of this registry that has the blob, or had it."""
        homes = (*([blob.origin] if blob.origin else ()), *blob.siblings)
        others = (home for home in homes if home.host == self.reference.host and home.repository != self.repository)
        return next(others, None)

    def _mount(self, digest: Digest, sibling: Reference | None) -> str | None:
        """Mounts a blob of a sibling repository: "" when done, the location of the upload session it became, else None."""
        if sibling is None or not self.connection.profile.mounts:
            return None
        scope = (*self._push, f"repository:{sibling.repository}:pull")
        where = self._path("blobs", "uploads/") + "?" + urlencode({"mount": digest, "from": sibling.repository})
        try:
            answer = self.connection.request("POST", where, scope)
        except RegistryFailed:
            return None
        drain(answer)
        if answer.status == 201:
            return ""
        location = answer.headers.get("Location") if answer.status == 202 else None
        return self.connection.absolute(location, answer.url or "") if location else None

    def _path(self, what: str, name: str) -> str:
        return f"/v2/{self.repository}/{what}/{quote(name, safe=':/')}"


def _promised(answer: Answer) -> Digest | None:
    """The digest that an answer tells; None where it tells none, one of another algorithm, or something that is none."""
    told = answer.headers.get("Docker-Content-Digest", "")
    return Digest(told) if is_digest(told) else None


def _tags_of(raw: bytes) -> list[str]:
    """The tags of a page; what is none is left out."""
    try:
        listed = parse(raw)["tags"] or []
        return [tag for tag in listed if isinstance(tag, str) and is_tag(tag)]
    except (ValueError, KeyError, TypeError):
        return []
