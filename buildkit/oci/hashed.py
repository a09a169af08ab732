"""Bytes that are hashed while they pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from buildkit.oci.hashing import Hash, sha256, update
from buildkit.oci.reference import Digest


class Hashed(Iterator[bytes | memoryview]):
    """Pieces that know, when the last of them has passed, what all of them hash to."""

    def __init__(self, pieces: Iterator[bytes | memoryview], digest: Callable[[], Digest]) -> None:
        self._pieces = pieces
        self._digest = digest

    def __next__(self) -> bytes | memoryview:
        return next(self._pieces)

    @property
    def digest(self) -> Digest:
        """The digest of what has passed."""
        return self._digest()

    def close(self) -> None:
        """Ends the stream, and what it comes from, before its end."""
        close(self._pieces)


def hashed(pieces: Iterator[bytes | memoryview]) -> Hashed:
    """The pieces themselves where they are hashed already, else hashed from here on."""
    if isinstance(pieces, Hashed):
        return pieces
    fed = sha256()
    return Hashed(feeding(pieces, fed), lambda: digest_of(fed))


def digest_of(fed: Hash) -> Digest:
    """A hash as a digest."""
    return Digest(f"sha256:{fed.hexdigest()}")


def close(pieces: object) -> None:
    """Ends a stream before its end, where it can be ended: what it reads from must not wait for a reader that is gone."""
    ended = getattr(pieces, "close", None)
    if ended:
        ended()


def feeding(pieces: Iterable[bytes | memoryview], fed: Hash | None) -> Iterator[bytes | memoryview]:
    """The pieces, each of which a hash sees before it is passed on."""
    try:
        for piece in pieces:
            update(piece, fed)
            yield piece
    finally:
        close(pieces)
