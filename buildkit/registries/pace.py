"""Requests no faster than a registry takes them, over all threads and repositories of one host."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Turns:
    """Whose turn comes when: one for all who ask the same host."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = 0.0

    def take(self, now: float, distance: float) -> float:
        """The next turn, at ``now`` or later."""
        with self._lock:
            turn = max(now, self._next)
            self._next = turn + distance
            return turn


_by_host: dict[str, Turns] = {}


class Pace:
    """Lets requests pass at equal distances. ``per_second`` None lets them pass at once; ``sleep`` takes seconds."""

    def __init__(
        self,
        per_second: float | None,
        sleep: Callable[[float], None],
        clock: Callable[[], float] = time.monotonic,
        turns: Turns | None = None,
    ) -> None:
        self._distance = 1 / per_second if per_second else 0.0
        self._sleep = sleep
        self._clock = clock
        self._turns = turns or Turns()

    @classmethod
    def shared(cls, host: str, per_second: float | None, sleep: Callable[[float], None]) -> Pace:
        """The pace of a host, which everything in this process shares: a registry counts all of it together."""
        return cls(per_second, sleep, turns=_by_host.setdefault(host, Turns()))

    def wait(self) -> None:
        """Waits for this request's turn."""
        if not self._distance:
            return
        now = self._clock()
        turn = self._turns.take(now, self._distance)
        if turn > now:
            self._sleep(turn - now)
