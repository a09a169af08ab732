"""Several pieces of work at once, that stop together: when one fails, and when a person presses Ctrl-C."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_POLL_SECONDS = 0.2
_GRACE_SECONDS = 0.3
"""How long work that was told to stop may take to clean up after itself before the command ends without it."""


class Stopped(Exception):
    """Raised inside a piece of work because the others are not wanted any more either."""


class Stop:
    """Told to all pieces of work together."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def ask(self) -> None:
        """Asks every piece of work to stop."""
        self._event.set()

    def check(self) -> None:
        """Raises Stopped where stopping was asked for."""
        if self._event.is_set():
            raise Stopped

    def wait(self, seconds: float) -> None:
        """Sleeps, unless stopping is asked for: then raises Stopped at once."""
        if self._event.wait(seconds):
            raise Stopped


def each(items: Sequence[Item], work: Callable[[Item], Result], jobs: int, stop: Stop) -> list[Result]:
    """Does ``work`` for every item, ``jobs`` at a time, and returns the results in order.

    The first failure stops the rest and is raised. The threads are daemons: none of them can keep an interrupted
    command alive, however long a peer stays silent.
    """
    waiting = deque(enumerate(items))
    results: dict[int, Result] = {}
    failures: list[BaseException] = []
    ended = threading.Semaphore(0)

    def run() -> None:
        try:
            while not failures and (taken := _next(waiting)):
                stop.check()
                results[taken[0]] = work(taken[1])
        except BaseException as error:
            failures.append(error)
            stop.ask()
        finally:
            ended.release()

    count = min(jobs, len(items))
    for _ in range(count):
        threading.Thread(target=run, daemon=True).start()
    try:
        # Not Thread.join: interrupted, Python 3.11 takes the thread for ended, and nobody could wait for it any more.
        for _ in range(count):
            while not ended.acquire(timeout=_POLL_SECONDS):
                pass
    except BaseException:
        stop.ask()
        deadline = time.monotonic() + _GRACE_SECONDS
        for _ in range(count):
            ended.acquire(timeout=max(0.0, deadline - time.monotonic()))
        raise
    explained = [failure for failure in failures if not isinstance(failure, Stopped)]
    if failures:
        raise (explained or failures)[0]
    return [results[number] for number in range(len(items))]


def _next(waiting: deque[tuple[int, Item]]) -> tuple[int, Item] | None:
    try:
        return waiting.popleft()
    except IndexError:
        return None
