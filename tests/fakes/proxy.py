"""A TCP proxy on loopback that breaks connections to a real server at a chosen byte."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Literal, Self

from tests.fakes.http_body import Throttle
from tests.fakes.http_reset import reset
from tests.fakes.proxy_pump import Direction, Pump


@dataclass(frozen=True)
class Connection:
    """A connection through the proxy as it stands: bytes delivered each way, and whether it was cut."""

    up: int
    down: int
    cut: bool


@dataclass(eq=False)
class _Cut:
    after: int
    direction: Direction
    whole_life: bool
    skip: int
    times: int | None
    occasions: int = 0
    passed: int = 0
    met: set[Pump] = field(default_factory=set)

    def position(self, pump: Pump) -> int:
        if self.whole_life:
            return self.passed
        return pump.up.passed if self.direction == "up" else pump.down.passed

    def due(self, pump: Pump) -> bool:
        """Count an occasion if this is one; True if it is to be used."""
        if self.position(pump) != self.after or pump in self.met:
            return False
        self.occasions += 1
        if self.whole_life:
            self.passed = 0
        else:
            self.met.add(pump)
        used = self.occasions - self.skip
        return used > 0 and (self.times is None or used <= self.times)


class FaultProxy:
    """Listens on loopback and passes bytes on to `target_host`:`target_port`; a context manager.

    Bytes are counted on the wire: headers, and TLS where there is any, are part of them. Everything may be
    switched while connections are open.
    """

    def __init__(self, target_host: str, target_port: int) -> None:
        self._target = (target_host, target_port)
        self._throttle = Throttle()
        self._cuts: list[_Cut] = []
        self._pumps: list[Pump] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._listener = _bound(0)
        self._port = int(self._listener.getsockname()[1])

    @property
    def address(self) -> str:
        """HOST:PORT to give to the client."""
        return f"127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        """The same as an http URL without a slash at the end."""
        return f"http://{self.address}"

    @property
    def connections(self) -> tuple[Connection, ...]:
        """Every connection so far, in order."""
        with self._lock:
            return tuple(Connection(pump.up.passed, pump.down.passed, pump.cut) for pump in self._pumps)

    @property
    def cuts(self) -> int:
        """How many connections were cut: a test asserts that its fault really happened."""
        return sum(connection.cut for connection in self.connections)

    def cut(
        self,
        after_bytes: int,
        direction: Direction = "up",
        *,
        of: Literal["connection", "life"] = "connection",
        skip: int = 0,
        times: int | None = 1,
    ) -> None:
        """Reset both sides once exactly `after_bytes` were delivered that way.

        Counted on each connection by itself, or from now on over all of them ("life"; the count starts again
        at each occasion). The first `skip` occasions are let pass, and after `times` (None: no end) it is over.
        """
        with self._lock:
            self._cuts.append(_Cut(after_bytes, direction, of == "life", skip, times))

    def clear(self) -> None:
        """Cut no more; new connections are neither throttled nor delayed."""
        with self._lock:
            self._cuts.clear()
        self._throttle = Throttle()

    def throttle(self, bytes_per_second: float | None, latency_seconds: float = 0.0) -> None:
        """Limit every new connection to this speed each way, and deliver everything that much later."""
        self._throttle = Throttle(bytes_per_second, latency_seconds)

    def refuse(self) -> None:
        """Have new connections refused (ECONNREFUSED) until `accept`; the port stays taken, open ones go on."""
        self._close_listener()
        self._listener = _bound(self._port)

    def accept(self) -> None:
        """Take connections again after `refuse`."""
        self._listener.listen(1024)
        self._run(threading.Thread(target=self._accept_all, args=(self._listener,), daemon=True))

    def sever(self) -> None:
        """Reset every open connection, soon."""
        with self._lock:
            for pump in self._pumps:
                pump.sever.set()

    def stop(self) -> None:
        """Stop listening, close everything and wait for the threads; may be called again."""
        self._stopping.set()
        self._close_listener()
        with self._lock:
            threads = list(self._threads)
        until = time.monotonic() + 5.0
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))

    def __enter__(self) -> Self:
        self.accept()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self, thread: threading.Thread) -> None:
        with self._lock:
            self._threads.append(thread)
        thread.start()

    def _close_listener(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept_all(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = listener.accept()[0]
                self._run(threading.Thread(target=self._serve, args=(client,), daemon=True))

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._target, timeout=10)
        except OSError:
            reset(client)
            return
        pump = Pump(client, server, self._throttle, self._pass_on, self._stopping)
        with self._lock:
            self._pumps.append(pump)
            due = [cut.due(pump) for cut in self._cuts if not cut.whole_life]
            pump.cut = any(due)
        pump.run()

    def _pass_on(self, pump: Pump, direction: Direction, piece: memoryview) -> int:
        """Send no further than to the nearest cut; the lock keeps the count of several connections exact."""
        way = pump.up if direction == "up" else pump.down
        with self._lock:
            cuts = [cut for cut in self._cuts if cut.direction == direction]
            ahead = [cut.after - cut.position(pump) for cut in cuts]
            sent = way.target.send(piece[: min((gap for gap in ahead if gap > 0), default=len(piece))])
            way.passed += sent
            for cut in cuts:
                cut.passed += sent
            due = [cut.due(pump) for cut in cuts]
            pump.cut = pump.cut or any(due)
            return sent


def _bound(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    return listener
