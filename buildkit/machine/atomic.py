"""A file that appears whole or not at all."""

from __future__ import annotations

import contextlib
import glob
import os
import stat
import tempfile
from pathlib import Path
from typing import IO

from buildkit.machine.turn import take

PARTIAL = ".partial-"
_TRIES = 3
_READABLE = 0o644


def beside(place: Path) -> str:
    """How the name of a file begins that is written beside its place: a sweep there takes nothing of anybody else's."""
    return f".{place.name}{PARTIAL}"


def sweep(folder: Path, prefix: str) -> None:
    """Removes every :class:`AtomicFile` of a folder whose process was killed; one that is being written stays."""
    for left in folder.glob(f"{glob.escape(prefix)}*"):
        with contextlib.suppress(OSError), left.open("rb") as file:
            if take(file):
                left.unlink()


def write(place: Path, content: bytes) -> None:
    """Writes a file whole or not at all, through a link, in a folder that is made for it; raises OSError that names it.

    What cannot be replaced, such as ``/dev/stdout`` and a file that is mounted by itself, is written to.
    """
    try:
        if place.exists() and (not place.is_file() or os.path.ismount(place)):
            place.write_bytes(content)
            return
        target = place.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target.parent, beside(target))
        with AtomicFile(target.parent, beside(target)) as atomic:
            atomic.file.write(content)
            atomic.keep(target)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(place)) from None


class AtomicFile:
    """A file that is written beside its place and moved there at the end; a context manager that leaves nothing else."""

    def __init__(self, folder: Path, prefix: str = PARTIAL) -> None:
        self.file, self._temporary = _held(folder, prefix)

    def __enter__(self) -> AtomicFile:
        return self

    def flush(self) -> None:
        """Makes sure that the content fits on the disk: nothing after this can fail for want of room."""
        self.file.flush()
        os.fsync(self.file.fileno())

    def keep(self, place: Path, mode: int | None = None) -> None:
        """Moves the file to its place in one step, with the mode of the file there unless ``mode`` says otherwise.

        Where there is none it is readable by whom the folder lets in.
        """
        self.file.close()
        self._temporary.chmod(_mode_at(place) if mode is None else mode)
        os.replace(self._temporary, place)

    def discard(self) -> None:
        """Leaves nothing behind, unless the file was kept."""
        # What is still in the buffer does not fit on a full disk, and is not wanted any more either.
        with contextlib.suppress(OSError):
            self.file.close()
        self._temporary.unlink(missing_ok=True)

    def __exit__(self, *failure: object) -> None:
        self.discard()


def _held(folder: Path, prefix: str) -> tuple[IO[bytes], Path]:
    """A new file that is held as long as we live: what nobody holds was left by a process that was killed.

    Another run that sweeps may come upon it before it is held, and take it away: then another one is made. Where the file
    system has no locks nothing is swept, and no try can tell.
    """
    for _ in range(_TRIES):
        file, path = _new(folder, prefix)
        try:
            if take(file) and path.exists():
                return file, path
        except OSError:
            return file, path
        file.close()
        path.unlink(missing_ok=True)
    return _new(folder, prefix)


def _new(folder: Path, prefix: str) -> tuple[IO[bytes], Path]:
    handle, name = tempfile.mkstemp(prefix=prefix, dir=folder)
    return os.fdopen(handle, "w+b"), Path(name)


def _mode_at(place: Path) -> int:
    try:
        return stat.S_IMODE(place.stat().st_mode)
    except FileNotFoundError:
        return _READABLE
