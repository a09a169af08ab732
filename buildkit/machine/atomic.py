"""A file that appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from buildkit.machine.turn import take


def abandoned(path: Path) -> None:
    """Removes an :class:`AtomicFile` whose process was killed; one that is being written stays."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        if take(file):
            path.unlink()


class AtomicFile:
    """A file that is written beside its place and moved there at the end; a context manager that leaves nothing else."""

    def __init__(self, folder: Path, prefix: str = ".partial-") -> None:
        handle, name = tempfile.mkstemp(prefix=prefix, dir=folder)
        self._temporary = Path(name)
        self.file = os.fdopen(handle, "w+b")
        # Held as long as we live: what nobody holds any more was left by a process that was killed.
        take(self.file)

    def __enter__(self) -> AtomicFile:
        return self

    def flush(self) -> None:
        """Makes sure that the content fits on the disk: nothing after this can fail for want of room."""
        self.file.flush()
        os.fsync(self.file.fileno())

    def keep(self, place: Path, mode: int = 0o644) -> None:
        """Moves the file to its place in one step, readable by whom the folder lets in unless ``mode`` says otherwise."""
        self.file.close()
        self._temporary.chmod(mode)
        os.replace(self._temporary, place)

    def discard(self) -> None:
        """Leaves nothing behind, unless the file was kept."""
        # What is still in the buffer does not fit on a full disk, and is not wanted any more either.
        with contextlib.suppress(OSError):
            self.file.close()
        self._temporary.unlink(missing_ok=True)

    def __exit__(self, *failure: object) -> None:
        self.discard()
