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
from typing import IO
from uuid import uuid4

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

    Another path or commit may have brought the same content. The library's own function for it takes a fifth of a second to
    load, which is more than a rebuild of a model that did not move.
    """
    with contextlib.suppress(OSError, ValueError):
        for path in (_pointer(name, commit, file), _blob(name, file)):
            if path.is_file() and path.stat().st_size == file.size:
                return path
    return None


def link(name: str, commit: str, file: File) -> None:
    """Lets the library find a file whose content is in the cache; where that cannot be, modelpack finds it all the same."""
    pointer, blob = _pointer(name, commit, file), _blob(name, file)
    with contextlib.suppress(OSError):
        if blob.is_file() and not pointer.is_file():
            _point(pointer, blob)


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
    where somebody else is at the same content. Raises CacheFailed.
    """

    def __init__(self, name: str, file: File) -> None:
        self._file = file
        self._proof = Proof(file)
        self._blob = _blob(name, file)
        self._unfinished = self._blob.with_name(self._blob.name + _UNFINISHED)
        with self._told():
            self._blob.parent.mkdir(parents=True, exist_ok=True)
            self._opened, self.is_mine = _held(self._unfinished)
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
        # Where the file system has no locks another run may have written into it as well.
        whole = os.fstat(self._opened.fileno()).st_size == self._file.size
        if not whole or self._proof.found != self._proof.expected:
            self._unfinished.unlink(missing_ok=True)
            return
        with self._told():
            os.replace(self._unfinished, self._blob)

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


def _held(path: Path) -> tuple[IO[bytes], bool]:
    """A file that is opened to be gone on with, and whether it is ours: nobody else is at it, and it has its name still."""
    opened = open(path, "a+b", buffering=0)  # noqa: SIM115 - closed by its owner
    try:
        return opened, take(opened) and os.path.samestat(os.fstat(opened.fileno()), os.stat(path))
    except FileNotFoundError:
        return opened, False
    except OSError:
        # There are no locks here.
        return opened, True


def _repository(name: str) -> Path:
    return place() / f"models--{name.replace('/', '--')}"


def _blob(name: str, file: File) -> Path:
    return _repository(name) / "blobs" / (file.sha256 or file.git_oid)


def _pointer(name: str, commit: str, file: File) -> Path:
    """Raises Refusal for what would lie outside the cache: a lock is a file that anybody may have written."""
    if not _COMMIT.fullmatch(commit):
        raise Refusal(f"{shown(commit)} is no commit")
    return _repository(name) / "snapshots" / commit / relative_path(file.path)


def _point(pointer: Path, blob: Path) -> None:
    """Puts a link to the blob in its place; where there are no symbolic links another name of it, or else a copy.

    A blob may have many pointers, and is never moved.
    """
    pointer.parent.mkdir(parents=True, exist_ok=True)
    fresh = pointer.with_name(f".{uuid4().hex}{_UNFINISHED}")
    try:
        try:
            fresh.symlink_to(os.path.relpath(blob, pointer.parent))
        except OSError:
            _copy(blob, fresh)
        os.replace(fresh, pointer)
    finally:
        fresh.unlink(missing_ok=True)


def _copy(blob: Path, fresh: Path) -> None:
    try:
        os.link(blob, fresh)
    except OSError:
        shutil.copyfile(blob, fresh)
