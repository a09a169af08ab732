"""How often, and after how long a wait, a registry is asked again."""

from __future__ import annotations

import random
from collections.abc import Callable

from buildkit.registries.lost import Lost

TRIES = 5
"""Tries in a row that bring nothing new."""
_ABSENT_TRIES = 2
"""Of a registry that nobody has reached yet: it is a slip in its name, or a network that does not lead there."""
_LONGEST_WAIT = 60.0
_FIRST_WAIT = 0.5


class Patience:
    """Counts tries without progress, and waits between them: longer each time, with jitter, and as long as a registry asks.

    ``host`` is what the registry is called where it is given up; ``sleep`` takes seconds.
    """

    def __init__(self, host: str, sleep: Callable[[float], None]) -> None:
        self._host = host
        self._sleep = sleep
        self._failures = 0

    def again(self, lost: Lost, *, reached: bool = True) -> None:
        """Waits before the next try; raises RegistryUnreachable where there must be none.

        ``reached``: the registry, or somebody in its place, was there once.
        """
        self._failures += 1
        if self._failures >= (_ABSENT_TRIES if lost.absent and not reached else TRIES):
            raise lost.failure(self._host) from None
        # Asked again after no time at all, because it said so, it would use up every try before it can recover.
        growing = _FIRST_WAIT * 2 ** (self._failures - 1) * random.uniform(0.5, 1.5)
        self._sleep(min(max(lost.wait or 0.0, growing), _LONGEST_WAIT))

    def progressed(self) -> None:
        """Notes that a try brought something: the next failure is the first again."""
        self._failures = 0
