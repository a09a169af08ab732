"""SHA-256 of bytes that belong to two digests: a file's own, which proves it, and its layer's, which a registry asks for.

Where the processor and this installation can (see ``_sha256.c``), both are computed in one pass over the bytes, which costs
no more than one of them. Everywhere else ``hashlib`` computes each by itself: the same digests, and half as fast.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Protocol

try:
    from buildkit.oci._sha256 import compress
except ImportError:  # another processor, or no compiler when it was installed
    PAIRED = False
else:
    PAIRED = True

BLOCK = 64
_INITIAL = bytes.fromhex("6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19")
"""FIPS 180-4, 5.3.3."""


class Hash(Protocol):
    """What ``hashlib`` calls a hash, as far as it is needed here."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Takes the next bytes."""

    def hexdigest(self) -> str:
        """The digest of all that was taken."""


def sha256() -> Hash:
    """A new SHA-256, of the sort that :func:`update` feeds together with another."""
    return Paired() if PAIRED else hashlib.sha256()


def update(piece: bytes | memoryview, *hashes: Hash | None) -> None:
    """Feeds the same bytes to every hash that is there, to two in one pass where that is possible."""
    there = [one for one in hashes if one]
    match there:
        case [Paired() as first, Paired() as second]:
            first.update_with(second, piece)
        case _:
            for one in there:
                one.update(piece)


class Paired:
    """A SHA-256 whose blocks can be compressed together with those of another one that takes the same bytes."""

    def __init__(self) -> None:
        self._state = bytearray(struct.pack("=8I", *struct.unpack(">8I", _INITIAL)))
        self._waiting = b""
        self._length = 0

    def update(self, data: bytes | memoryview, /) -> None:
        """Takes the next bytes."""
        self._length += len(data)
        self._take(data)

    def update_with(self, other: Paired, data: bytes | memoryview) -> None:
        """Takes the next bytes, which are the next ones of the other too."""
        if self._waiting != other._waiting:
            self.update(data)
            other.update(data)
            return
        self._length += len(data)
        other._length += len(data)
        self._take(data, other._state)
        other._waiting = self._waiting

    def hexdigest(self) -> str:
        """The digest of all that was taken; more can be taken afterwards."""
        # FIPS 180-4, 5.1.1: a one, zeros, and the length in bits, up to the end of a block.
        ended = self._waiting + b"\x80" + bytes(-(len(self._waiting) + 9) % BLOCK) + struct.pack(">Q", 8 * self._length)
        state = bytearray(self._state)
        compress(ended, state)
        return struct.pack(">8I", *struct.unpack("=8I", state)).hex()

    def _take(self, data: bytes | memoryview, *other: bytearray) -> None:
        start = 0
        if self._waiting:
            start = min(BLOCK - len(self._waiting), len(data))
            self._waiting += data[:start]
            if len(self._waiting) < BLOCK:
                return
            compress(self._waiting, self._state, *other)
        whole = (len(data) - start) // BLOCK * BLOCK
        view = memoryview(data)
        if whole:
            compress(view[start : start + whole], self._state, *other)
        self._waiting = bytes(view[start + whole :])
