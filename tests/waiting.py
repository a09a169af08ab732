"""Waiting for what another process or thread does, without guessing how long it takes."""

from __future__ import annotations

import threading
from collections.abc import Callable


def wait_until(condition: Callable[[], bool], what: str = "it") -> None:
    """Returns when the condition holds; fails after a minute."""
    pause = threading.Event()
    for _ in range(6000):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError(f"{what} did not happen within a minute")
