"""How blobs come into a fake registry (distribution-spec, "Pushing blobs")."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from tests.fakes.http_message import Headers, Incoming, Response
from tests.fakes.registry_behaviour import Behaviour, oci_error
from tests.fakes.registry_storage import Session, Storage

DIGEST = r"sha256:[0-9a-f]{64}"


@dataclass
class Uploads:
    """The upload endpoints. `base` gives the beginning of the URLs at which uploads go on."""

    storage: Storage
    behaviour: Behaviour
    base: Callable[[], str]

    def post(self, request: Incoming, name: str) -> Response:
        """Open a session, or mount a blob, or take a whole blob at once."""
        if not self.behaviour.create_on_push and name not in self.storage.repositories:
            raise oci_error(404, "NAME_UNKNOWN", f"The repository with name '{name}' does not exist")
        if (mounted := self._mount(request, name)) is not None:
            return mounted
        self.storage.create(name)
        session = self.storage.open_session(name)
        digest = request.first("digest")
        if digest and self.behaviour.single_post:
            self._receive(request, session)
            return self._finish(session, digest)
        minimum = self.behaviour.chunk_min_bytes
        extra: Headers = (("OCI-Chunk-Min-Length", str(minimum)),) if minimum is not None else ()
        return self._progress(202, session, extra)

    def _mount(self, request: Incoming, name: str) -> Response | None:
        digest, source = request.first("mount"), request.first("from")
        if not digest or self.behaviour.mounts is False:
            return None
        if self.behaviour.mounts == "error":
            raise oci_error(self.behaviour.mount_error, "DENIED", "cross-repository mount refused")
        held = self.storage.repositories.get(source or "")
        if held is None or digest not in held.blobs:
            return None
        self.storage.keep(name, digest, self.storage.blobs[digest])
        created = _created(name, digest)
        return created if self.behaviour.mount_location else created.without_header("Location")

    def patch(self, request: Incoming, name: str, identity: str) -> Response:
        """Take a chunk."""
        session = self._session(request, name, identity)
        if self.behaviour.patches == "none":
            raise oci_error(405, "UNSUPPORTED", "chunked uploads are not supported")
        limit = self.behaviour.max_patch_bytes
        if limit is not None and (request.body.length or 0) > limit:
            raise oci_error(416, "BLOB_UPLOAD_INVALID", f"a chunk may not be larger than {limit} bytes")
        session.patches += 1
        if self.behaviour.patches == "first-only" and session.patches > 1:
            request.body.drain()
            return self._progress(201, session)
        self._receive(request, session)
        return self._progress(self.behaviour.patch_status, session)

    def put(self, request: Incoming, name: str, identity: str) -> Response:
        """Take what is left, if anything, and close the session."""
        session = self._session(request, name, identity)
        digest = request.first("digest") or ""
        if not re.fullmatch(DIGEST, digest):
            raise oci_error(400, "DIGEST_INVALID", f"digest parameter missing or unsupported: {digest!r}")
        self._receive(request, session)
        return self._finish(session, digest)

    def get(self, request: Incoming, name: str, identity: str) -> Response:
        """How far the upload is."""
        return self._progress(204, self._session(request, name, identity))

    def delete(self, request: Incoming, name: str, identity: str) -> Response:
        """Cancel the upload."""
        self._session(request, name, identity).end("cancelled")
        return Response(204)

    def _session(self, request: Incoming, name: str, identity: str) -> Session:
        session = self.storage.sessions.get(identity)
        if session is None or session.repository != name or session.state in ("finished", "cancelled"):
            raise oci_error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        if session.state == "dead" or request.first("_state") != session.token:
            raise oci_error(404, "BLOB_UPLOAD_INVALID", "blob upload invalid: its state has moved on")
        return session

    def _receive(self, request: Incoming, session: Session) -> None:
        body = request.body
        if body.length is None and not self.behaviour.chunked_encoding:
            raise oci_error(411, "SIZE_INVALID", "Content-Length is required")
        self._check_range(request, session)
        limit = self.behaviour.max_layer_bytes
        if limit is not None and session.spool.size + (body.length or 0) > limit:
            session.end("dead")
            raise oci_error(413, "SIZE_INVALID", f"a layer may not be larger than {limit} bytes")
        if not session.receive(body, limit, self.behaviour.resumable):
            session.end("dead")
            raise oci_error(413, "SIZE_INVALID", f"a layer may not be larger than {limit} bytes")

    def _check_range(self, request: Incoming, session: Session) -> None:
        """Chunks come in order (distribution-spec, "Pushing a blob in chunks")."""
        given = request.headers.get("content-range")
        if given is None:
            return
        found = re.fullmatch(r"([0-9]+)-([0-9]+)", given)
        length = request.body.length
        fits = found is not None and int(found[1]) == session.spool.size
        if fits and found is not None and length is not None:
            fits = int(found[2]) - int(found[1]) + 1 == length
        if not fits:
            headers = self._progress(416, session).headers
            raise oci_error(416, "BLOB_UPLOAD_INVALID", f"Content-Range {given} is out of order", headers=headers)

    def _finish(self, session: Session, digest: str) -> Response:
        if not session.spool.agrees(digest):
            session.end("dead")
            message = "provided digest did not match uploaded content"
            raise oci_error(400, "DIGEST_INVALID", message, detail={"digest": digest})
        self.storage.keep(session.repository, digest, session.spool.content(digest))
        session.end("finished")
        return _created(session.repository, digest)

    def _progress(self, status: int, session: Session, extra: Headers = ()) -> Response:
        session.step += 1
        where = f"{session.id}?_state={session.token}"
        if self.behaviour.location != "to the path":
            where = f"{self.base()}/v2/{session.repository}/blobs/uploads/{where}"
        headers: Headers = (
            ("Location", where),
            ("Range", f"0-{max(0, session.spool.size - 1)}"),
            ("Docker-Upload-UUID", session.id),
        )
        return Response(status, headers + extra)


def _created(name: str, digest: str) -> Response:
    headers: Headers = (("Location", f"/v2/{name}/blobs/{digest}"), ("Docker-Content-Digest", digest))
    return Response(201, headers)
