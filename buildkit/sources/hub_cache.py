"""The cache of the hub's own library on this disk: found, read and filled without loading the library.

huggingface_hub, "Understand caching": ``models--ORG--NAME/blobs/ETAG`` holds a file once, ``snapshots/COMMIT/PATH`` is a link to
it. The ETag of a large file is its sha256, that of a small one its git blob's id. The library's own way to fill it cannot say
where it stopped, keeps what it cannot use again, and talks to servers that no setting of ours reaches.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub import constants

from buildkit.machine.turn import take
from buildkit.pin import File, Proof
from buildkit.reading.plain import Refusal, relative_path, shown

_BLOCK = 1024 * 1024
_COMMIT = re.compile(r"[0-9a-f]{40}")
_UNFINISHED = ".modelpack.incomplete"
"""The library calls what it has not finished ``*.incomplete`` as well, so that its tools know it for what it is."""


class CacheFailed(Exception):
    """The cache cannot be written, for the reason that the system gives."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


def cached(name: str, commit: str, file: File) -> Path | None:
    """Where the file of a repository's commit is, with the size that it has to have; None where it is not.

    The library's own function for it takes a fifth of a second to load, which is more than a rebuild of a model that did not
    move.
    """
    try:
        pointer = _pointer(name, commit, file)
        return pointer if os.stat(pointer).st_size == file.size else None
    except (OSError, ValueError):
        return None


def place() -> Path:
    """The folder of the cache; HF_HOME and HF_HUB_CACHE decide it."""
    return Path(constants.HF_HUB_CACHE)


def has_room(amount: int) -> bool:
    """Whether so many bytes are free where the cache is, or will be."""
    there = next((folder for folder in (place(), *place().parents) if os.path.isdir(folder)), None)
    return there is None or shutil.disk_usage(there).free >= amount


class Keeping:
    """A file on its way into the cache: what was kept by a run that was interrupted is not fetched again.

    A context manager. Nothing is kept under the file's name before all of it is there and proven. ``is_mine`` is False
    where another process is at the same file. Raises CacheFailed, and Refusal for what would lie outside the cache.
    """

    def __init__(self, name: str, commit: str, file: File) -> None:
        self._file = file
        self._proof = Proof(file)
        self._pointer = _pointer(name, commit, file)
        self._blob = _repository(name) / "blobs" / self._proof.expected
        self._unfinished = self._blob.with_name(self._blob.name + _UNFINISHED)
        with self._told():
            self._blob.parent.mkdir(parents=True, exist_ok=True)
            self._opened = open(self._unfinished, "a+b", buffering=0)  # noqa: SIM115 - closed by __exit__
        self.is_mine = take(self._opened)
        self.position = 0

    def __enter__(self) -> Keeping:
        return self

    def resumed(self) -> Iterator[bytes]:
        """Yields what an earlier run has kept of the file, from its first byte on."""
        with self._told():
            there = os.fstat(self._opened.fileno()).st_size
            if there > self._file.size:
                self._opened.truncate(there := 0)
            self._opened.seek(0)
        while self.position < there:
            with self._told():
                block = self._opened.read(min(_BLOCK, there - self.position))
            if not block:
                break
            self._pass(block)
            yield block

    def write(self, piece: bytes) -> None:
        """Takes the next bytes of the file."""
        with self._told():
            left = memoryview(piece)
            while left:
                left = left[self._opened.write(left) :]
        self._pass(piece)

    def _pass(self, piece: bytes) -> None:
        self._proof.hash.update(piece)
        self.position += len(piece)

    def keep(self) -> None:
        """Gives the file its name where it is the pinned one; what is not is forgotten, and told by whoever proves it."""
        if self._proof.found != self._proof.expected:
            self._unfinished.unlink(missing_ok=True)
            return
        with self._told():
            os.replace(self._unfinished, self._blob)
            _link(self._pointer, self._blob)

    def found(self) -> Path | None:
        """Where the file is, when another commit of the repository brought it; its size is all that is known of it."""
        with self._told():
            if not self._blob.is_file() or self._blob.stat().st_size != self._file.size:
                return None
            _link(self._pointer, self._blob)
            return self._pointer

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise CacheFailed(error) from None

    def __exit__(self, *failure: object) -> None:
        # An empty one is of no use to the next run.
        with contextlib.suppress(OSError):
            if self.is_mine and not os.fstat(self._opened.fileno()).st_size:
                self._unfinished.unlink(missing_ok=True)
        self._opened.close()


def _repository(name: str) -> Path:
    return place() / f"models--{name.replace('/', '--')}"


def _pointer(name: str, commit: str, file: File) -> Path:
    """Raises Refusal for what would lie outside the cache: a lock is a file that anybody may have written."""
    if not _COMMIT.fullmatch(commit):
        raise Refusal(f"{shown(commit)} is no commit")
    return _repository(name) / "snapshots" / commit / relative_path(file.path)


def _link(pointer: Path, blob: Path) -> None:
    """Puts a link to the blob in its place; where there are no links, the blob itself, as the library does."""
    pointer.parent.mkdir(parents=True, exist_ok=True)
    fresh = pointer.with_name(f".{blob.name[:40]}{_UNFINISHED}")
    try:
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(os.path.relpath(blob, pointer.parent))
    except OSError:
        os.replace(blob, pointer)
        return
    os.replace(fresh, pointer)
