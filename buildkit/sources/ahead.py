"""One large file over several connections, read ahead in order within a bounded window, where one connection is slow."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing

from buildkit.sources.download import Download, RangesIgnored

MEBIBYTE = 1024 * 1024
CONNECTIONS = 8
WINDOW = 48 * MEBIBYTE
"""Bytes that may be held in memory for all files that are being read ahead, unless the caller says otherwise."""

SLOW = 100e6
"""Bytes per second. A connection that gives more is not worth helping: hashing and sending are the limit then."""
DISTANT = 0.02
"""Seconds before the first byte. A server that ever answers sooner is near: there, what is slow is a busy machine."""
_MEASURED = 4 * MEBIBYTE
_LARGE = 32 * MEBIBYTE
_POLL_SECONDS = 0.5


class Window:
    """Memory that the files being read ahead share fairly. Safe for threads."""

    def __init__(self, total: int = WINDOW) -> None:
        self._total = total
        self._used = 0
        self._readers = 0
        self._nearest = float("inf")
        self._lock = threading.Lock()

    def is_distant(self, latency: float) -> bool:
        """Whether a server that took ``latency`` seconds to begin a large file, and all that did so before it, are far."""
        self._nearest = min(self._nearest, latency)
        return self._nearest >= DISTANT

    @property
    def part(self) -> int:
        """Bytes of one request: two for each connection fit, so that none waits while a part is handed on."""
        return min(max(self._total // (2 * CONNECTIONS), MEBIBYTE), 8 * MEBIBYTE)

    def join(self) -> None:
        """One more file is read ahead."""
        with self._lock:
            self._readers += 1

    def leave(self, held: int) -> None:
        """One fewer, and what it held is free."""
        with self._lock:
            self._readers -= 1
            self._used -= held

    def take(self, held: int, amount: int) -> bool:
        """Reserves ``amount`` bytes for a file that holds ``held``, unless the window or the file's share of it is full."""
        with self._lock:
            fits = self._used + amount <= self._total and held + amount <= self._total // max(self._readers, 1)
            self._used += amount if fits else 0
            return fits

    def give(self, amount: int) -> None:
        """Frees bytes."""
        with self._lock:
            self._used -= amount


def read(
    download: Download, size: int, start: int, window: Window, clock: Callable[[], float] = time.monotonic
) -> Iterator[bytes]:
    """Yields a file from byte ``start`` on: over one connection, and over several once that one was seen to be slow."""
    position = start
    with closing(download.read(start)) as plain:
        for piece in _while_fast(plain, size - start, window, clock):
            position += len(piece)
            yield piece
        if position == size:
            return
        with closing(_helped(download, size, position, plain, window)) as pieces:
            try:
                for piece in pieces:
                    position += len(piece)
                    yield piece
                return
            except RangesIgnored:
                pass
    with closing(download.read(position)) as rest:
        yield from rest


def _while_fast(plain: Iterator[bytes], remaining: int, window: Window, clock: Callable[[], float]) -> Iterator[bytes]:
    """Passes pieces on until the connection is seen to be slow and distant, and much is left.

    Only the time spent waiting for the connection counts: where the consumer is slow, more connections do not help.
    """
    if remaining < _LARGE:
        yield from plain
        return
    began = clock()
    latency, waited, amount = None, 0.0, 0
    for piece in plain:
        remaining -= len(piece)
        if latency is None:
            latency = clock() - began
            window.is_distant(latency)
        else:
            waited += clock() - began
            amount += len(piece)
        yield piece
        if amount >= _MEASURED:
            if amount < SLOW * waited and window.is_distant(latency) and remaining >= _LARGE:
                return
            waited, amount = 0.0, 0
        began = clock()


def _helped(
    download: Download, size: int, position: int, plain: Generator[bytes, None, None], window: Window
) -> Generator[bytes, None, None]:
    """The rest of the file: the next part still from the first connection, what comes after it from several."""
    boundary = min(position + window.part, size)
    readers = _Readers(download, size, boundary, window)
    try:
        readers.top_up()
        for piece in plain:
            yield piece[: boundary - position]
            position = min(position + len(piece), boundary)
            if position == boundary:
                break
        plain.close()
        yield from readers.pieces()
    finally:
        readers.stop()


class _Part:
    """A part that a thread fetches while others are handed on."""

    def __init__(self, start: int, stop: int) -> None:
        self.start = start
        self.stop = stop
        self.pieces: deque[bytes] = deque()
        self.ended = False
        self.failure: BaseException | None = None


class _Readers:
    """Threads that fetch a file's parts ahead of the one who reads them in order.

    The threads are daemons: one that waits for a silent server must not keep an interrupted command alive.
    """

    def __init__(self, download: Download, size: int, position: int, window: Window) -> None:
        self._download = download
        self._size = size
        self._next = position
        self._window = window
        self._parts: deque[_Part] = deque()
        self._tasks: queue.SimpleQueue[_Part | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()
        self._stopped = False
        window.join()

    def top_up(self) -> None:
        """Asks for as many parts as the window allows."""
        while self._next < self._size and len(self._parts) < 2 * CONNECTIONS:
            part = _Part(self._next, min(self._next + self._window.part, self._size))
            if not self._window.take(self._held, part.stop - part.start):
                return
            self._next = part.stop
            self._parts.append(part)
            self._tasks.put(part)
            if len(self._threads) < CONNECTIONS:
                self._threads.append(threading.Thread(target=self._work, daemon=True, name="modelpack-read-ahead"))
                self._threads[-1].start()

    def pieces(self) -> Iterator[bytes]:
        """Yields the parts in order; raises what a part's thread met."""
        while self._parts or self._next < self._size:
            if self._parts:
                yield from self._taken(self._parts[0])
                part = self._parts.popleft()
                self._window.give(part.stop - part.start)
            else:
                yield from self._without_window()
            self.top_up()

    def stop(self) -> None:
        """Ends the threads, at the latest when their server speaks again, and frees the window."""
        self._stopped = True
        for _ in self._threads:
            self._tasks.put(None)
        self._window.leave(self._held)
        self._parts.clear()

    @property
    def _held(self) -> int:
        return sum(part.stop - part.start for part in self._parts)

    def _taken(self, part: _Part) -> Iterator[bytes]:
        while True:
            with self._changed:
                while not part.pieces and not part.ended:
                    # With a timeout, since a wait without one cannot be interrupted everywhere.
                    self._changed.wait(_POLL_SECONDS)
                if not part.pieces:
                    break
                piece = part.pieces.popleft()
            yield piece
        if part.failure:
            raise part.failure

    def _without_window(self) -> Iterator[bytes]:
        """The next part where other files fill the window: straight through, holding nothing."""
        start, self._next = self._next, min(self._next + self._window.part, self._size)
        with closing(self._download.read(start, self._next)) as pieces:
            yield from pieces

    def _work(self) -> None:
        while (part := self._tasks.get()) is not None and not self._stopped:
            try:
                self._fetch(part)
            except BaseException as failure:
                part.failure = failure
            with self._changed:
                part.ended = True
                self._changed.notify_all()

    def _fetch(self, part: _Part) -> None:
        with closing(self._download.read(part.start, part.stop)) as pieces:
            for piece in pieces:
                if self._stopped:
                    return
                with self._changed:
                    part.pieces.append(piece)
                    self._changed.notify_all()
