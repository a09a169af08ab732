"""The head of an answer, whole or a broken connection: Python's own reader takes its end for the empty line after it."""

from __future__ import annotations

import io
import socket
from http.client import HTTPException, HTTPResponse, RemoteDisconnected
from typing import Any

_MOST_HEADS = 20
"""Before and with the answer's own: a peer that only ever announces one would be listened to for ever."""
_INTERIM = range(102, 200)
"""Answers before the answer, which whoever expects none skips (RFC 9110, 15.2); Python skips 100 alone, and 101 ends HTTP."""


class WholeResponse(HTTPResponse):
    """An answer whose head came to its end, so that no length or address in it is missing or cut short.

    Raises RemoteDisconnected where the connection ends before, HTTPException where no answer follows the interim ones.
    """

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self._lines = _Lines(self.fp.detach())
        self.fp = self._lines

    def begin(self) -> None:
        """Reads the head, and those of interim answers before it."""
        super().begin()
        while self.status in _INTERIM:
            self.headers = None  # type: ignore[assignment]  # as before the first one
            super().begin()
        self._lines.in_head = False


class _Lines(io.BufferedReader):
    """What a peer says; a line that breaks off is none, be it of the head or before a piece of a body."""

    in_head = True
    _heads = 0

    def readline(self, size: int | None = -1, /) -> bytes:
        """A line with its end, or ``size`` bytes of one; where the body ends nothing."""
        line = super().readline(size)
        if not line.endswith(b"\n") and len(line) != size and (line or self.in_head):
            raise RemoteDisconnected("the connection ended before the answer's head did")
        self._heads += self.in_head and line in (b"\r\n", b"\n")
        if self._heads > _MOST_HEADS:
            raise HTTPException(f"no answer after {_MOST_HEADS} that announce one")
        return line
