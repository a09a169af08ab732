"""What a fake registry holds: blobs, repositories, upload sessions."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

from tests.fakes.content import Bytes, Content, File, Sink
from tests.fakes.http_body import BrokenOffError, RequestBody

BUFFER = 1 << 20


@dataclass(frozen=True)
class Discarded:
    """A blob of which only the size and the digest were kept."""

    size: int
    sha256: str

    def read(self, start: int, stop: int) -> bytes:
        raise LookupError(f"the bytes of sha256:{self.sha256} were discarded")

    def send(self, sink: Sink, start: int, stop: int) -> None:
        self.read(start, stop)


@dataclass(frozen=True)
class Storing:
    """Where received bytes go: into memory up to `memory_limit` per blob, beyond that into a file in `folder`
    or, with `discard`, nowhere. Without `verify` nothing is hashed and the client's digest is believed."""

    folder: Path
    memory_limit: int = 8 << 20
    discard: bool = False
    verify: bool = True


class Spool:
    """The bytes of a blob on their way in."""

    def __init__(self, storing: Storing, name: str) -> None:
        self.size = 0
        self._storing, self._path = storing, storing.folder / name
        self._memory = bytearray()
        self._file: BinaryIO | None = None
        self._digest = hashlib.sha256()

    def write(self, view: memoryview) -> None:
        if self._storing.verify:
            self._digest.update(view)
        self.size += len(view)
        if self._file is None and self.size <= self._storing.memory_limit:
            self._memory += view
        elif not self._storing.discard:
            self._spill().write(view)
        else:
            self._memory = bytearray()

    def _spill(self) -> BinaryIO:
        if self._file is None:
            self._file = self._path.open("wb", buffering=0)
            self._file.write(self._memory)
            self._memory = bytearray()
        return self._file

    def agrees(self, digest: str) -> bool:
        """True if the bytes have this digest, or nobody is to know."""
        algorithm, _, value = digest.partition(":")
        return algorithm == "sha256" and (not self._storing.verify or self._digest.hexdigest() == value)

    def content(self, digest: str) -> Content:
        """The finished blob."""
        if self._file is not None:
            self._file.close()
            return File(self._path)
        if self.size > self._storing.memory_limit:
            return Discarded(self.size, digest.partition(":")[2])
        return Bytes(bytes(self._memory))

    def drop(self) -> None:
        """Forget the bytes."""
        self._memory = bytearray()
        if self._file is not None:
            self._file.close()
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()


State = Literal["open", "finished", "cancelled", "dead"]


@dataclass
class Session:
    """An upload. Each answer moves `step`, and with it the Location: an old Location is no longer good."""

    id: str
    repository: str
    spool: Spool
    state: State = "open"
    step: int = 0
    patches: int = 0

    @property
    def token(self) -> str:
        """What the newest Location carries; opaque."""
        return hashlib.sha256(f"{self.id} {self.step}".encode()).hexdigest()[:24]

    def receive(self, body: RequestBody, limit: int | None, resumable: bool) -> bool:
        """Take the body in; False if it is more than `limit` bytes in all. A broken connection kills the
        session, or leaves it with what arrived if it is resumable."""
        buffer = memoryview(bytearray(BUFFER))
        try:
            while count := body.read_into(buffer):
                if self.state != "open":
                    # Cancelled by another request meanwhile: what still arrives goes nowhere.
                    continue
                self.spool.write(buffer[:count])
                if limit is not None and self.spool.size > limit:
                    return False
        except BrokenOffError:
            self.end("open" if resumable else "dead")
            raise
        return True

    def end(self, state: State) -> None:
        self.state = state
        if state in ("cancelled", "dead"):
            self.spool.drop()


@dataclass(frozen=True)
class Manifest:
    """A manifest's bytes as they were pushed, with the Content-Type that came along."""

    media_type: str
    data: bytes

    @property
    def digest(self) -> str:
        return "sha256:" + hashlib.sha256(self.data).hexdigest()

    @property
    def document(self) -> dict[str, object]:
        document: dict[str, object] = json.loads(self.data)
        return document


@dataclass
class Held:
    """A repository: the blobs it may serve, its manifests by digest, its tags."""

    blobs: set[str] = field(default_factory=set)
    manifests: dict[str, Manifest] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def find(self, reference: str) -> Manifest | None:
        """A manifest by tag or digest."""
        return self.manifests.get(self.tags.get(reference, reference))


@dataclass
class Storage:
    """All of a registry."""

    storing: Storing
    blobs: dict[str, Content] = field(default_factory=dict)
    repositories: dict[str, Held] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def create(self, name: str) -> Held:
        with self.lock:
            return self.repositories.setdefault(name, Held())

    def open_session(self, repository: str) -> Session:
        with self.lock:
            number = len(self.sessions)
            digits = hashlib.sha256(f"session {number}".encode()).hexdigest()
            identity = f"{digits[:8]}-{digits[8:12]}-4{digits[12:15]}-8{digits[15:18]}-{digits[18:30]}"
            session = Session(identity, repository, Spool(self.storing, f"upload-{identity}"))
            self.sessions[identity] = session
            return session

    def keep(self, repository: str, digest: str, content: Content) -> None:
        """Record a blob, unless it is known, and link it to the repository."""
        with self.lock:
            self.blobs.setdefault(digest, content)
            self.create(repository).blobs.add(digest)
