"""Connections to lines as they are: one lasts as long as its peer takes anything at all, and breaks where an answer does."""

from __future__ import annotations

from typing import Any, ClassVar

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from buildkit.machine.heads import WholeResponse

SEND_SECONDS = 60.0
"""In which a peer has to take something. ``socket.sendall`` counts until all of a piece is taken, however steadily it goes,
and urllib3 lets it have no longer than it may take to connect: a line of 50 kB/s would never get through."""


class _Steady(HTTPConnection):
    """Counts from the last byte that was taken, and answers with whole heads alone."""

    response_class = WholeResponse
    at_once: ClassVar[int | None] = None
    """Bytes that are handed to the socket in one call; None: as many as it takes."""

    def send(self, data: Any) -> None:
        if self.sock is None or not isinstance(data, bytes | bytearray | memoryview):
            super().send(data)
            return
        self.sock.settimeout(SEND_SECONDS)
        left = memoryview(data).cast("B")
        while left:
            left = left[self.sock.send(left[: self.at_once]) :]


class _SteadyTls(_Steady, HTTPSConnection):
    """The same over TLS, whose ``send`` returns when all of what it got is taken."""

    at_once = 64 * 1024


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Steady


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _SteadyTls


POOLS: dict[str, type] = {"http": _Pool, "https": _TlsPool}
"""What a manager of urllib3 takes by scheme, for connections that send and answer in this way."""
