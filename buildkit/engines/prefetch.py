"""Many small files from far away, several at a time: twenty thousand of them must not cost twenty thousand round trips."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from buildkit.oci.tar import Content, Entry

SMALL = 1024 * 1024
"""Bytes up to which a file is read whole, ahead of its turn."""

_THREADS = 8
_WINDOW = 16 * 1024 * 1024
"""Bytes that wait for their turn at most."""


class Prefetch:
    """Reads entries ahead, in their order, within a bounded window. A context manager; its threads are daemons."""

    def __init__(self, entries: Sequence[Entry], read: Callable[[Entry], Content]) -> None:
        self._read = read
        self._waiting = deque(entry for entry in entries if 0 < entry.size <= SMALL)
        self._ahead: dict[str, Future[bytes]] = {}
        self._tasks: queue.SimpleQueue[tuple[Entry, Future[bytes]] | None] = queue.SimpleQueue()
        self._threads = 0
        self._held = 0

    def __enter__(self) -> Prefetch:
        self._top_up()
        return self

    def content(self, entry: Entry) -> Content:
        """The content of the next entry: what was read ahead, or for a large one a stream."""
        future = self._ahead.pop(entry.name, None)
        if future is None:
            return self._read(entry)
        try:
            return Content((future.result(),))
        finally:
            self._held -= entry.size
            self._top_up()

    def __exit__(self, *failure: object) -> None:
        self._waiting.clear()
        for _ in range(self._threads):
            self._tasks.put(None)

    def _top_up(self) -> None:
        while self._waiting and self._held + self._waiting[0].size <= _WINDOW:
            entry = self._waiting.popleft()
            self._held += entry.size
            future: Future[bytes] = Future()
            self._ahead[entry.name] = future
            self._tasks.put((entry, future))
            if self._threads < _THREADS:
                self._threads += 1
                threading.Thread(target=self._work, daemon=True, name="modelpack-prefetch").start()

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            entry, future = task
            try:
                future.set_result(b"".join(self._read(entry).proving()))
            except BaseException as error:
                future.set_exception(error)
