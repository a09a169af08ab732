"""One run at a time: an advisory lock of the operating system, which is gone with the process that held it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_POLL_SECONDS = 0.5


def take(file: IO[bytes]) -> bool:
    """Takes the lock of an open file until the file is closed, however that happens; False where another process has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def turn(place: Path, wait: Callable[[float], None], waiting: Callable[[], None]) -> Iterator[None]:
    """Waits until no other process is inside with the same file, telling ``waiting`` once where that takes time.

    Two machines do not see each other: what they do at the same time must be right, and is only done twice. Where the file
    cannot be written nobody is waited for.
    """
    with contextlib.ExitStack() as stack:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(place.open("ab"))
        except OSError:
            file = None
        told = False
        while file and not take(file):
            if not told:
                waiting()
                told = True
            wait(_POLL_SECONDS)
        yield
