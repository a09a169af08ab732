"""One stream for several readers: a blob is read once from its source, however many stores it goes to."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from buildkit.oci.hashed import Hashed, hashed
from buildkit.oci.image import Pieces
from buildkit.oci.reference import Digest

_WINDOW = 4
"""Pieces that wait for a reader at most; the slowest reader sets the pace."""
_DECIDING_SECONDS = 20.0
"""How long the readers are waited for before the source is opened: one that comes later reads for itself."""


class Reader:
    """One reader's end of a :class:`Tee`: an iterator of pieces that can be closed before its end."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[bytes | memoryview] = deque()
        self._ended = False
        self._failure: BaseException | None = None
        self.closed = False

    def give(self, piece: bytes | memoryview) -> None:
        """Hands a piece over, as soon as there is room; one that is closed takes nothing."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) < _WINDOW or self.closed)
            if not self.closed:
                self._waiting.append(piece)
                self._changed.notify_all()

    def end(self, failure: BaseException | None = None) -> None:
        """Says that nothing more comes, or why."""
        with self._changed:
            self._ended, self._failure = True, failure
            self._changed.notify_all()

    def close(self) -> None:
        """Takes no more: nobody waits for this reader from now on."""
        with self._changed:
            self.closed = True
            self._waiting.clear()
            self._changed.notify_all()

    def __iter__(self) -> Reader:
        return self

    def __next__(self) -> bytes | memoryview:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting) or self._ended or self.closed)
            if self._waiting:
                piece = self._waiting.popleft()
                self._changed.notify_all()
                return piece
        if self._failure:
            raise self._failure
        raise StopIteration


class Tee:
    """A source for a known number of parties, each of which opens it or says that it does not have to.

    Whoever opens it again, because its connection broke, reads the source anew and alone.
    """

    def __init__(self, open_source: Callable[[], Pieces], parties: int) -> None:
        self._open_source = open_source
        self._changed = threading.Condition()
        self._undecided = set(range(parties))
        self._readers: dict[int, Reader] = {}
        self._running = False
        self._source: Hashed | None = None

    def open(self, party: int) -> Pieces:
        """The stream for a party."""
        with self._changed:
            earlier = self._readers.get(party)
            if earlier is None and not self._running and party in self._undecided:
                self._undecided.discard(party)
                reader = self._readers[party] = Reader()
                self._changed.notify_all()
                return Hashed(reader, self._digest)
        if earlier:
            earlier.close()
        return self._open_source()

    def leave(self, party: int) -> None:
        """Says that a party is done, whether it read or not."""
        with self._changed:
            self._undecided.discard(party)
            if party in self._readers:
                self._readers[party].close()
            self._changed.notify_all()

    def run(self) -> None:
        """Reads the source for all who opened it, until the end or until nobody reads any more."""
        with self._changed:
            self._changed.wait_for(lambda: not self._undecided, _DECIDING_SECONDS)
            self._running = True
            readers = list(self._readers.values())
        if not readers:
            return
        failure: BaseException | None = None
        try:
            self._pump(readers)
        except BaseException as error:
            failure = error
        for reader in readers:
            reader.end(failure)

    def _digest(self) -> Digest:
        """What passed, hashed once for all readers."""
        return self._source.digest if self._source else Digest.of(b"")

    def _pump(self, readers: list[Reader]) -> None:
        self._source = opened = hashed(self._open_source())
        try:
            for piece in opened:
                for reader in readers:
                    reader.give(piece)
                if all(reader.closed for reader in readers):
                    return
        finally:
            opened.close()
