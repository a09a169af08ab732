"""Several pieces of work at once, that stop together: when one fails, and when a person presses Ctrl-C."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_GRACE_SECONDS = 0.8
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

    def run() -> None:
        while not failures:
            try:
                number, item = waiting.popleft()
            except IndexError:
                return
            try:
                stop.check()
                results[number] = work(item)
            except BaseException as error:
                failures.append(error)
                stop.ask()

    threads = [threading.Thread(target=run, daemon=True) for _ in range(min(jobs, len(items)))]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)
    except BaseException:
        stop.ask()
        for thread in threads:
            thread.join(_GRACE_SECONDS / len(threads))
        raise
    explained = [failure for failure in failures if not isinstance(failure, Stopped)]
    if failures:
        raise (explained or failures)[0]
    return [results[number] for number in range(len(items))]
