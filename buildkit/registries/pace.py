"""Requests no faster than a registry takes them, over all threads and repositories of one host."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Pace:
    """Lets requests pass at equal distances. ``per_second`` None lets them pass at once; ``sleep`` takes seconds."""

    def __init__(
        self, per_second: float | None, sleep: Callable[[float], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._distance = 1 / per_second if per_second else 0.0
        self._sleep = sleep
        self._clock = clock
        self._lock = threading.Lock()
        self._next = 0.0

    def wait(self) -> None:
        """Waits for this request's turn."""
        if not self._distance:
            return
        with self._lock:
            now = self._clock()
            turn = max(now, self._next)
            self._next = turn + self._distance
        if turn > now:
            self._sleep(turn - now)
