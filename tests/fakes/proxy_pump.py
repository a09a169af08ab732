"""One connection through a proxy: bytes both ways in one thread, so that it can be reset at any moment."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from tests.fakes.http_body import Throttle
from tests.fakes.http_reset import reset

Direction = Literal["up", "down"]
"""Up is from the client to the server, down is back."""

PIECE = 256 * 1024
WINDOW = 16
"""Pieces on their way in one direction, at most: what a delayed connection holds."""
IDLE = 0.02
"""Seconds between looks at whether the proxy wants the connection to end."""


@dataclass(eq=False)
class Way:
    """One direction: what was read and is not yet due or not yet passed on."""

    source: socket.socket
    target: socket.socket
    passed: int = 0
    pieces: deque[tuple[float, memoryview]] = field(default_factory=deque)
    due: float = 0.0
    ended: bool = False
    broken: bool = False
    closed: bool = False

    @property
    def wants(self) -> bool:
        return not self.ended and len(self.pieces) < WINDOW

    def ready(self, now: float) -> bool:
        return bool(self.pieces) and now >= max(self.due, self.pieces[0][0])


Pass = Callable[["Pump", Direction, memoryview], int]
"""Sends some of a piece and says how much; sets the pump's `cut` if the connection is to be cut there."""


class Pump:
    """Passes bytes between two sockets until both ends are done, or until it is told to cut or to stop."""

    def __init__(
        self,
        client: socket.socket,
        server: socket.socket,
        throttle: Throttle,
        pass_on: Pass,
        stopping: threading.Event,
    ) -> None:
        self.up, self.down = Way(client, server), Way(server, client)
        self.cut = False
        self.sever = threading.Event()
        self._throttle, self._pass_on, self._stopping = throttle, pass_on, stopping
        self._ways: tuple[tuple[Direction, Way], ...] = (("up", self.up), ("down", self.down))

    def run(self) -> None:
        """Serve the connection to its end."""
        for side in (self.up.source, self.up.target):
            side.setblocking(False)
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        whole = not self.cut
        try:
            while whole and not (self.up.closed and self.down.closed) and not self._stopping.is_set():
                whole = self._turn() and not self.cut and not self.sever.is_set()
        finally:
            self.cut = self.cut or self.sever.is_set()
            for side in (self.up.target, self.up.source):
                if whole:
                    side.close()
                else:
                    reset(side)

    def _turn(self) -> bool:
        """Wait until something can be done and do it; False when the connection is to be reset."""
        events = self._wait()
        for direction, way in self._ways:
            if events.get(way.source.fileno(), 0) & ~select.POLLOUT and not way.ended:
                self._read(way)
            if way.ready(time.monotonic()) and not self._write(direction, way):
                return False
            if way.ended and not way.pieces and not way.closed:
                way.closed = True
                if way.broken:
                    return False
                with contextlib.suppress(OSError):
                    way.target.shutdown(socket.SHUT_WR)
        return True

    def _wait(self) -> dict[int, int]:
        now, timeout = time.monotonic(), IDLE
        masks: dict[int, int] = {}
        for _, way in self._ways:
            if way.wants:
                masks[way.source.fileno()] = masks.get(way.source.fileno(), 0) | select.POLLIN
            if way.ready(now):
                masks[way.target.fileno()] = masks.get(way.target.fileno(), 0) | select.POLLOUT
            elif way.pieces:
                timeout = min(timeout, max(way.due, way.pieces[0][0]) - now)
        poll = select.poll()
        for descriptor, mask in masks.items():
            poll.register(descriptor, mask)
        return dict(poll.poll(max(0.0, timeout) * 1000))

    def _read(self, way: Way) -> None:
        try:
            data = way.source.recv(PIECE)
        except BlockingIOError:
            return
        except OSError:
            way.ended = way.broken = True
            return
        if data:
            way.pieces.append((time.monotonic() + self._throttle.latency_seconds, memoryview(data)))
        else:
            way.ended = True

    def _write(self, direction: Direction, way: Way) -> bool:
        released, piece = way.pieces[0]
        rate = self._throttle.bytes_per_second
        if rate is not None:
            piece = piece[: max(1024, int(rate / 50))]
        try:
            sent = self._pass_on(self, direction, piece)
        except BlockingIOError:
            return True
        except OSError:
            # The receiver is gone; what it still has to say may be on its way back.
            way.pieces.clear()
            way.ended = True
            return True
        if rate is not None:
            way.due = max(way.due, time.monotonic() - 0.05) + sent / rate
        left = way.pieces.popleft()[1][sent:]
        if left:
            way.pieces.appendleft((released, left))
        return not self.cut
