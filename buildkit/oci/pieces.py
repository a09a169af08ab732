"""Pieces of bytes as a file that can be read once, from its beginning to its end, as ``tarfile`` reads a stream."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import IO, cast


class _Pieces(io.RawIOBase):
    def __init__(self, pieces: Iterable[bytes | memoryview]) -> None:
        self._pieces = iter(pieces)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, target: object) -> int:
        """Fills from what is left of the last piece, else from the next."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        view = memoryview(target)  # type: ignore[arg-type]
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def reader(pieces: Iterable[bytes | memoryview]) -> IO[bytes]:
    """A buffered file over the pieces; never more than one of them is held."""
    return cast("IO[bytes]", io.BufferedReader(_Pieces(pieces), 1024 * 1024))
