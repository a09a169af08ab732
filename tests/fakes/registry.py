"""An image registry on loopback after distribution-spec 1.1, with the habits of real registries as
switches."""

from __future__ import annotations

import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.fakes.content import Content, as_content
from tests.fakes.faults import Faults
from tests.fakes.http_body import Throttle
from tests.fakes.http_log import Log, Request
from tests.fakes.http_message import Incoming, Response
from tests.fakes.http_server import Server
from tests.fakes.registry_auth import Account, Auth, Guard, TokenRequest
from tests.fakes.registry_behaviour import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Behaviour
from tests.fakes.registry_routes import Routes
from tests.fakes.registry_storage import Manifest, Session, Storage, Storing

__all__ = [
    "DOCKER_LIST",
    "DOCKER_MANIFEST",
    "OCI_INDEX",
    "OCI_MANIFEST",
    "Account",
    "Auth",
    "Behaviour",
    "Registry",
    "Upload",
]


@dataclass(frozen=True)
class Upload:
    """An upload session as it stands: `state` is "open", "finished", "cancelled" or "dead"."""

    repository: str
    state: str
    received: int


class Registry:
    """A registry; use it as a context manager, or `start()` and `stop()` it.

    `behaviour`, `auth` and `faults` may be changed while it serves. Blobs up to `memory_limit` are kept in
    memory and larger ones in files (in `folder`, else a temporary one); with `discard` of larger ones only
    digest and size are kept. Without `verify` what is uploaded is not hashed and the client's digest is
    believed: both are for benchmarks. With `tls` every listener speaks it. Origins in the record: "registry",
    "token" and "other".
    """

    def __init__(
        self,
        *,
        behaviour: Behaviour | None = None,
        auth: Auth | None = None,
        folder: Path | None = None,
        memory_limit: int = 8 << 20,
        discard: bool = False,
        verify: bool = True,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.behaviour = behaviour or Behaviour()
        self.auth = auth or Auth()
        self.faults = Faults()
        self.log = Log()
        self._temporary = None if folder else tempfile.TemporaryDirectory(prefix="fake-registry-")
        place = folder or Path(self._temporary.name if self._temporary else "")
        self.storage = Storage(Storing(place, memory_limit, discard, verify))
        self.guard = Guard(self.auth, self._realm)
        routes = Routes(self.storage, self.behaviour, self.guard, self._upload_base, lambda: self._listeners[2].url)
        self._answer_routes = routes.answer

        def listen(application: str, port: int = 0) -> Server:
            served = {"registry": self._answer, "token": self.guard.token, "other": routes.answer_elsewhere}
            return Server(
                served[application],
                origin=application,
                log=self.log,
                faults=self.faults,
                host=host,
                port=port,
                tls=tls,
            )

        self._listeners = (listen("registry", port), listen("token"), listen("other"))

    @property
    def address(self) -> str:
        """HOST:PORT, the registry's part of an image reference."""
        return self._listeners[0].address

    @property
    def url(self) -> str:
        """The registry's URL without a slash at the end."""
        return self._listeners[0].url

    @property
    def token_address(self) -> str:
        """HOST:PORT of the token server that is on a port of its own."""
        return self._listeners[1].address

    @property
    def other_address(self) -> str:
        """HOST:PORT of the storage that asks for no credentials."""
        return self._listeners[2].address

    @property
    def requests(self) -> tuple[Request, ...]:
        """Every request to any origin so far, in order of arrival."""
        return self.log.requests

    @property
    def token_requests(self) -> tuple[TokenRequest, ...]:
        """Every visit to the token server, read."""
        return tuple(self.guard.token_requests)

    @property
    def sessions(self) -> tuple[Upload, ...]:
        """Every upload session so far, oldest first."""
        return tuple(_shown(session) for session in list(self.storage.sessions.values()))

    @property
    def blobs(self) -> dict[str, Content]:
        """Every blob by digest, of whatever repository."""
        return dict(self.storage.blobs)

    @property
    def tags(self) -> dict[str, dict[str, str]]:
        """By repository: the digest that each tag is on."""
        with self.storage.lock:
            return {name: dict(held.tags) for name, held in self.storage.repositories.items()}

    def blob(self, digest: str) -> bytes:
        """The bytes of a blob."""
        content = self.storage.blobs[digest]
        return content.read(0, content.size)

    def manifest(self, repository: str, reference: str) -> Manifest:
        """A manifest by tag or digest; KeyError if there is none."""
        manifest = self.storage.repositories[repository].find(reference)
        if manifest is None:
            raise KeyError(f"{repository}: {reference}")
        return manifest

    def create(self, repository: str) -> None:
        """Make an empty repository."""
        self.storage.create(repository)

    def put_blob(self, repository: str, value: bytes | Path | Content) -> str:
        """Place a blob without asking over HTTP; its digest."""
        content = as_content(value)
        digest = "sha256:" + content.sha256
        self.storage.keep(repository, digest, content)
        return digest

    def put_manifest(self, repository: str, data: bytes, media_type: str, *tags: str) -> str:
        """Place a manifest, unchecked, without asking over HTTP; its digest."""
        manifest = Manifest(media_type, data)
        held = self.storage.create(repository)
        held.manifests[manifest.digest] = manifest
        held.tags.update(dict.fromkeys(tags, manifest.digest))
        return manifest.digest

    def expire_tokens(self) -> None:
        """Let every access token handed out so far expire now."""
        self.guard.expire()

    def throttle(self, bytes_per_second: float | None, latency_seconds: float = 0.0) -> None:
        """Limit every connection opened from now on to this speed, and wait before each answer."""
        for listener in self._listeners:
            listener.throttle = Throttle(bytes_per_second, latency_seconds)

    def start(self) -> Self:
        for listener in self._listeners:
            listener.start()
        return self

    def stop(self) -> None:
        """Close every origin and everything connected to it, and remove what was stored in a temporary
        folder."""
        for listener in self._listeners:
            listener.stop()
        if self._temporary is not None:
            self._temporary.cleanup()

    def _answer(self, request: Incoming) -> Response:
        if request.path == "/token" and self.auth.token_server == "same":
            return self.guard.token(request)
        return self._answer_routes(request)

    def _realm(self) -> str:
        return self.auth.realm or self._listeners[1 if self.auth.token_server == "other" else 0].url + "/token"

    def _upload_base(self) -> str:
        known = {"relative": "", "absolute": self.url, "other": self._listeners[2].url}
        return known.get(self.behaviour.location, self.behaviour.location)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: object, *_: object) -> None:
        self.stop()
        errors = [error for listener in self._listeners for error in listener.errors]
        if errors and kind is None:
            raise RuntimeError(f"the fake registry itself failed {len(errors)} times") from errors[0]


def _shown(session: Session) -> Upload:
    return Upload(session.repository, session.state, session.spool.size)
