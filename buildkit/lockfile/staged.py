"""A lockfile on its way to the disk: nobody ever sees half of one, and what would end a push late is found before it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from buildkit.done import Done
from buildkit.errors import InvalidInput
from buildkit.lockfile.lock import Lock, text
from buildkit.machine.atomic import AtomicFile, beside, sweep

_ROOM = 64 * 1024
"""Bytes. As much as a lock of some hundred files has."""
NOTHING = "nothing was tagged"


class Staged:
    """A lockfile that is on disk beside its place: :meth:`commit` only has to move it. A context manager.

    It is staged before the first tag moves, so that a full disk or a read-only file ends a push before it changed
    anything that others see. What killed runs left there is removed; what a run that goes on has staged stays.
    """

    def __init__(self, path: Path, lock: Lock) -> None:
        path = path.resolve()
        self._path = path
        self._atomic: AtomicFile | None = None
        self.lock = lock
        raw = text(lock).encode()
        sweep(path.parent, beside(path))
        if path.is_file() and path.read_bytes() == raw:
            return
        check_writable(path)
        try:
            self._atomic = AtomicFile(path.parent, beside(path))
            self._atomic.file.write(raw)
            self._atomic.flush()
        except OSError as error:
            self.__exit__()
            raise _unwritable(path, error, NOTHING) from None

    def __enter__(self) -> Staged:
        return self

    @property
    def is_new(self) -> bool:
        """Whether the lock says something else than the one that is in its place."""
        return self._atomic is not None

    def commit(self, done: Done, before: str = NOTHING) -> None:
        """Puts the lockfile in its place, where it says something new, and notes that in ``done``.

        Raises InvalidInput, with what happened ``before``, where it cannot be replaced.
        """
        if self._atomic:
            try:
                with done.locking(self._path):
                    self._atomic.keep(self._path)
            except OSError as error:
                raise _unwritable(self._path, error, before) from None

    def __exit__(self, *failure: object) -> None:
        if self._atomic:
            self._atomic.discard()


def check_writable(path: Path) -> None:
    """Raises InvalidInput where a lockfile cannot be written: its folder takes no file, or it may not be replaced.

    It may not where it is marked read-only, which counts also for root, whom the system would let write.
    """
    path = path.resolve()
    if path.is_file():
        _check_replaceable(path)
    try:
        with AtomicFile(path.parent, beside(path)) as tried:
            tried.file.write(bytes(_ROOM))
            tried.file.flush()
    except OSError as error:
        raise _unwritable(path, error, NOTHING) from None


def _check_replaceable(path: Path) -> None:
    lock, folder = path.stat(), path.parent.stat()
    if not lock.st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH):
        raise InvalidInput(f"{path} is read-only and would have to change", hint=f"make it writable; {NOTHING}")
    if os.path.ismount(path):
        hint = f"mount the folder that it is in, and not the file; {NOTHING}"
        raise InvalidInput(f"{path} is mounted by itself and would have to be replaced", hint=hint)
    # A folder's sticky bit: only who owns a file, or the folder, replaces it (inode(7), S_ISVTX).
    if folder.st_mode & stat.S_ISVTX and os.geteuid() not in (0, lock.st_uid, folder.st_uid):
        hint = f"run as its owner, or take the folder's sticky bit away; {NOTHING}"
        raise InvalidInput(f"{path} is another user's and would have to be replaced", hint=hint)


def _unwritable(path: Path, error: OSError, before: str) -> InvalidInput:
    hint = f"make room there, or make the folder writable; {before}"
    return InvalidInput(f"{path} cannot be written: {error.strerror}", hint=hint)


def write(path: Path, lock: Lock, done: Done) -> None:
    """Writes a lockfile, unless it says the same already; raises InvalidInput where that cannot be done."""
    with Staged(path, lock) as staged:
        staged.commit(done)
