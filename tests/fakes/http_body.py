"""Bodies on their way in and out of a fake server, with faults at exact bytes and an optional speed limit."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedReader

from tests.fakes.content import Content
from tests.fakes.faults import Armed, Corrupt, Cut, Faults, Side, Stall
from tests.fakes.http_log import Entry

PIECE = 1 << 20


class BrokenOffError(Exception):
    """The exchange ended before its time; a server that keeps upload sessions wants to know."""


class SeveredError(BrokenOffError):
    """A fault asks for the connection to be reset now."""


class ClientGoneError(BrokenOffError):
    """The client closed or reset the connection."""


class TooLargeError(Exception):
    """The body is larger than the reader wants."""


@dataclass(frozen=True)
class Throttle:
    """A limit per connection, each way, and a wait before each answer."""

    bytes_per_second: float | None = None
    latency_seconds: float = 0.0


class Pace:
    """Keeps one connection at its speed limit."""

    def __init__(self, throttle: Throttle, stopping: threading.Event) -> None:
        self._rate = throttle.bytes_per_second
        self._stopping = stopping
        self._due = time.monotonic()
        self.piece = PIECE if self._rate is None else max(4096, min(PIECE, int(self._rate / 50)))

    def spend(self, count: int) -> None:
        """Wait until `count` more bytes are due."""
        if self._rate is None:
            return
        now = time.monotonic()
        self._due = max(self._due, now - 0.05) + count / self._rate
        if self._due > now:
            self._stopping.wait(self._due - now)


class Waypoints:
    """The faults of one exchange that wait at a byte of one of its two bodies."""

    def __init__(self, faults: Faults, armed: list[Armed], entry: Entry, side: Side, stopping: threading.Event):
        self._faults, self._entry, self._stopping = faults, entry, stopping
        waiting = [(_waits_at(each, side), each) for each in armed]
        known = [(at_byte, each) for at_byte, each in waiting if at_byte is not None]
        self._waiting = sorted(known, key=lambda pair: (pair[0], isinstance(pair[1].fault.action, Corrupt)))

    def next(self) -> int | None:
        """The nearest byte at which a fault waits."""
        return self._waiting[0][0] if self._waiting else None

    def reach(self, position: int, at_end: bool) -> bool:
        """Let the faults that wait here happen; True if the byte to come is to be flipped."""
        flip = False
        while self._waiting and self._waiting[0][0] <= position:
            armed = self._waiting[0][1]
            if isinstance(armed.fault.action, Corrupt) and at_end:
                break
            del self._waiting[0]
            if self._faults.claim(armed, self._entry, position):
                flip = self._happen(armed.fault.action) or flip
        return flip

    def _happen(self, action: object) -> bool:
        if isinstance(action, Cut):
            raise SeveredError
        if isinstance(action, Stall):
            while not (action.until.wait(0.05) or self._stopping.is_set()):
                pass
        return isinstance(action, Corrupt)


def _waits_at(armed: Armed, side: Side) -> int | None:
    action = armed.fault.action
    if isinstance(action, Cut | Stall | Corrupt) and action.side == side:
        return action.at_byte
    return None


class RequestBody:
    """A request's body as it arrives, whole or chunked (RFC 9112 section 7.1)."""

    def __init__(
        self, reader: BufferedReader, length: int | None, waypoints: Waypoints, entry: Entry, pace: Pace
    ) -> None:
        self.length = length
        self._reader, self._waypoints, self._entry, self._pace = reader, waypoints, entry, pace
        self.on_first_read: Callable[[], None] = lambda: None
        self._chunk = 0
        self._ended = False

    @property
    def received(self) -> int:
        """Body bytes taken from the connection so far."""
        return self._entry.request_bytes

    @property
    def unread(self) -> int | None:
        """Body bytes not taken yet; None if only the client knows."""
        if self.length is not None:
            return self.length - self.received
        return 0 if self._ended else None

    def start(self) -> None:
        """Let the faults that wait before the first byte happen, before the server acts."""
        self._waypoints.reach(0, at_end=True)

    def read_into(self, view: memoryview) -> int:
        """Fill some of the view and say how much; 0 at the end. BrokenOffError if the rest will not come."""
        first, self.on_first_read = self.on_first_read, lambda: None
        first()
        available = self._available()
        flip = self._waypoints.reach(self.received, at_end=available == 0)
        if not available:
            return 0
        stop = self._waypoints.next()
        ahead = available if stop is None else stop - self.received
        count = self._receive(view[: min(len(view), available, ahead, self._pace.piece)])
        if flip:
            view[0] ^= 0xFF
        return count

    def read(self, limit: int) -> bytes:
        """The whole body; TooLargeError as soon as it is known to be more than `limit` bytes."""
        if self.length is not None and self.length > limit:
            raise TooLargeError
        whole, view = bytearray(), memoryview(bytearray(min(PIECE, limit + 1)))
        while count := self.read_into(view):
            whole += view[:count]
            if len(whole) > limit:
                raise TooLargeError
        return bytes(whole)

    def drain(self, limit: int | None = None) -> None:
        """Take and forget the body, or its first `limit` bytes."""
        view = memoryview(bytearray(PIECE))
        while limit is None or limit > 0:
            count = self.read_into(view if limit is None else view[:limit])
            if not count:
                return
            limit = None if limit is None else limit - count

    def _receive(self, view: memoryview) -> int:
        try:
            count = self._reader.readinto1(view)
        except OSError as error:
            raise ClientGoneError from error
        if not count:
            raise ClientGoneError
        self._entry.request_bytes += count
        if self.length is None:
            self._chunk -= count
        self._pace.spend(count)
        return count

    def _available(self) -> int:
        """How many bytes of body are known to follow on the connection; 0 at its end."""
        if self.length is not None:
            return self.length - self.received
        if self._chunk == 0 and not self._ended:
            self._chunk = self._next_chunk()
        return self._chunk

    def _next_chunk(self) -> int:
        if self.received:
            self._line()
        size = int(self._line().split(b";")[0], 16)
        if size == 0:
            self._ended = True
            while self._line().strip():
                pass
        return size

    def _line(self) -> bytes:
        try:
            line = self._reader.readline(65537)
        except OSError as error:
            raise ClientGoneError from error
        if not line.endswith(b"\n"):
            raise ClientGoneError
        return line


class Outlet:
    """A client's connection as a place to send a body to; counts what is handed over."""

    def __init__(self, connection: socket.socket, entry: Entry, pace: Pace) -> None:
        self._connection, self._entry, self._pace = connection, entry, pace

    def write(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        for start in range(0, len(view), self._pace.piece):
            piece = view[start : start + self._pace.piece]
            self._entry.response_bytes += len(piece)
            self._send_all(piece)
            self._pace.spend(len(piece))

    def _send_all(self, piece: memoryview) -> None:
        try:
            self._connection.sendall(piece)
        except OSError as error:
            raise ClientGoneError from error

    def write_file(self, descriptor: int, offset: int, count: int) -> None:
        """Send a part of a file; by the kernel alone where the connection is not encrypted."""
        encrypted = isinstance(self._connection, ssl.SSLSocket)
        while count:
            if encrypted:
                data = os.pread(descriptor, min(count, self._pace.piece), offset)
                self.write(data)
                sent = len(data)
            else:
                sent = self._send_file(descriptor, offset, min(count, 16 * self._pace.piece))
            if not sent:
                raise EOFError("the file became shorter while it was served")
            offset, count = offset + sent, count - sent

    def _send_file(self, descriptor: int, offset: int, count: int) -> int:
        before = self._entry.response_bytes
        self._entry.response_bytes += count
        try:
            sent = os.sendfile(self._connection.fileno(), descriptor, offset, count)
        except OSError as error:
            self._entry.response_bytes = before
            raise ClientGoneError from error
        self._entry.response_bytes = before + sent
        self._pace.spend(sent)
        return sent


def send_content(content: Content, outlet: Outlet, waypoints: Waypoints) -> None:
    """Send the whole of the content, stopping at every byte at which a fault waits."""
    position = 0
    while True:
        flip = waypoints.reach(position, at_end=position == content.size)
        if position == content.size:
            return
        if flip:
            outlet.write(bytes([content.read(position, position + 1)[0] ^ 0xFF]))
            position += 1
            continue
        stop = waypoints.next()
        until = content.size if stop is None else min(stop, content.size)
        content.send(outlet, position, until)
        position = until
