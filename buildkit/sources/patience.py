"""How often, and after how long a wait, something that failed is tried again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from buildkit.errors import SourceFailed, SourceUnreachable
from buildkit.events import Emit, Said

Wait = Callable[[float], None]
sleep: Wait = time.sleep

TRIES = 5
"""Tries in a row that bring nothing new."""
LONGEST_WAIT = 300.0
"""Seconds. A server that asks for more is not waited for: a person should know."""
_LONGEST_BACKOFF = 30.0
_WONDERED_AT = 5.0
_MEBIBYTE = 1024 * 1024


def announced(wait: Wait, emit: Emit) -> Wait:
    """The same wait, which tells a person first where it is long enough to wonder at."""

    def waiting(seconds: float) -> None:
        if seconds >= _WONDERED_AT:
            emit(Said(f"asked to wait: going on in {seconds:,.0f} s"))
        wait(seconds)

    return waiting


class Cut(Exception):
    """A transfer stopped for a reason that may pass.

    ``after``: seconds that the server asks to wait. ``at_once``: waiting would change nothing.
    """

    def __init__(self, reason: str, after: float | None = None, *, at_once: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after = after
        self.at_once = at_once


class Patience:
    """Counts tries without progress, and waits between them: longer each time, with jitter, and as long as a server asks."""

    def __init__(self, what: str, wait: Wait, hint: str) -> None:
        self._what = what
        self._wait = wait
        self._hint = hint
        self._failures = 0
        self._resumed = 0
        self._reached = -1

    def again(self, cut: Cut, position: int = 0) -> None:
        """Waits before the next try, from byte ``position`` on; raises SourceFailed where there must be no next try."""
        self._failures = 1 if position > self._reached else self._failures + 1
        self._reached = max(position, self._reached)
        self._resumed += 1
        at = f" at byte {position:,}" if position else ""
        # A server that gives a few bytes a connection makes progress too, but not one worth a million requests.
        if self._failures >= TRIES or self._resumed > 100 + position // _MEBIBYTE:
            raise SourceUnreachable(
                f"{self._what}: {cut.reason}{at}; given up after {self._failures} tries", hint=self._hint
            )
        if cut.after is not None and cut.after > LONGEST_WAIT:
            raise SourceFailed(
                f"{self._what}: {cut.reason} and asks to wait {cut.after:,.0f} s, which is more than {LONGEST_WAIT:.0f} s",
                hint="run this again later",
            )
        # A server that is asked again after no time at all uses up every try before it can recover, whatever it says.
        self._wait(0.0 if cut.at_once else max(self._backoff(), cut.after or 0.0))

    def _backoff(self) -> float:
        longest = min(_LONGEST_BACKOFF, 0.5 * 2.0 ** (self._failures - 1))
        return longest * random.uniform(0.5, 1.0)
