"""One run at a time: an advisory lock of the operating system, which is gone with the process that held it."""

from __future__ import annotations

import contextlib
import errno
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_POLL_SECONDS = 0.5
_HELD = {errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK}
"""What says that another process has a lock (flock(2); msvcrt.locking), and not that there are none."""


def take(file: IO[bytes]) -> bool:
    """Takes the lock of an open file until the file is closed, however that happens; False where another process has it.

    Raises OSError where the file system has no locks, as some that are mounted over a network.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return False
        raise
    return True


@contextmanager
def turn(place: Path, wait: Callable[[float], None], waiting: Callable[[], None]) -> Iterator[None]:
    """Waits until no other process is inside with the same file, telling ``waiting`` once where that takes time.

    Two machines do not see each other: what they do at the same time must be right, and is only done twice. Where the file
    cannot be written or locked nobody is waited for.
    """
    with contextlib.ExitStack() as stack:
        told = False
        while not _entered(place, stack):
            if not told:
                waiting()
                told = True
            wait(_POLL_SECONDS)
        yield


def _entered(place: Path, stack: contextlib.ExitStack) -> bool:
    """Whether the lock was taken, for as long as the stack lasts, or there is none to take."""
    with contextlib.ExitStack() as trying, contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        if not take(trying.enter_context(place.open("ab"))):
            return False
        stack.push(trying.pop_all())
    return True
