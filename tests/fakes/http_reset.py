"""Ending a TCP connection the rude way, at an exact byte."""

from __future__ import annotations

import array
import contextlib
import fcntl
import select
import socket
import struct
import termios
import time

_NO_LINGER = struct.pack("ii", 1, 0)


def reset(connection: socket.socket, deadline: float = 5.0) -> None:
    """Close with RST, after everything sent so far has reached the client's side.

    A reset throws away what is still in the send queue, so the queue is left to drain first: otherwise "cut
    after N bytes" would be cut after some number up to N.
    """
    with contextlib.suppress(OSError):
        _wait_until_delivered(connection, time.monotonic() + deadline)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    connection.close()


def _wait_until_delivered(connection: socket.socket, until: float) -> None:
    unsent = array.array("i", [1])
    while unsent[0] and time.monotonic() < until:
        fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, unsent)
        if unsent[0]:
            select.select([], [], [], 0.0005)


def end_politely(connection: socket.socket, patience: float = 0.5) -> None:
    """Send FIN and give the client a moment to read the answer and close, before unread request bytes turn
    the close into a reset (RFC 9112 section 9.6)."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLRDHUP)
        poll.poll(patience * 1000)
