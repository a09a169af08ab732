"""Bytes that a fake server can serve from memory, from a file or out of thin air."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Protocol

BLOCK = 1 << 20


class Sink(Protocol):
    """Where content is sent: a client's connection."""

    def write(self, data: bytes | memoryview) -> None: ...
    def write_file(self, descriptor: int, offset: int, count: int) -> None: ...


class Content(Protocol):
    """A body of known size, readable at any offset."""

    @property
    def size(self) -> int: ...
    @property
    def sha256(self) -> str: ...
    def read(self, start: int, stop: int) -> bytes: ...
    def send(self, sink: Sink, start: int, stop: int) -> None: ...


@dataclass(frozen=True)
class Bytes:
    """Content held in memory."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def read(self, start: int, stop: int) -> bytes:
        return self.data[start:stop]

    def send(self, sink: Sink, start: int, stop: int) -> None:
        sink.write(memoryview(self.data)[start:stop])


@dataclass(frozen=True)
class File:
    """Content of a file, sent by the kernel without passing through this process where it can be."""

    path: Path
    size: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", self.path.stat().st_size)

    @property
    def sha256(self) -> str:
        return _file_sha256(self.path, self.size, self.path.stat().st_mtime_ns)

    def read(self, start: int, stop: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(start)
            return file.read(stop - start)

    def send(self, sink: Sink, start: int, stop: int) -> None:
        with self.path.open("rb", buffering=0) as file:
            sink.write_file(file.fileno(), start, stop - start)


@cache
def _file_sha256(path: Path, size: int, modified: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Synthetic:
    """`size` bytes that look random, the same for the same seed, at any offset, with no memory behind them.

    One random block is sent over and over, each time rotated and stamped with its number, so that no two
    blocks are alike and a block that is lost, doubled or swapped changes the digest.
    """

    size: int
    seed: int = 0

    @property
    def sha256(self) -> str:
        return _synthetic_sha256(self.size, self.seed)

    def pieces(self, start: int, stop: int) -> Iterator[memoryview]:
        """The bytes from `start` to `stop` without copying them; a stamp and a block by turns."""
        twice = _random_twice(self.seed)
        while start < stop:
            number, inside = divmod(start, BLOCK)
            until = min(BLOCK, inside + stop - start)
            rotation = number * 4099 % BLOCK
            stamp = number.to_bytes(8, "big")
            if inside < len(stamp):
                yield memoryview(stamp)[inside:until]
            body = max(inside, len(stamp))
            if body < until:
                yield twice[rotation + body : rotation + until]
            start += until - inside

    def read(self, start: int, stop: int) -> bytes:
        return b"".join(self.pieces(start, min(stop, self.size)))

    def send(self, sink: Sink, start: int, stop: int) -> None:
        for piece in self.pieces(start, stop):
            sink.write(piece)


@lru_cache(maxsize=8)
def _random_twice(seed: int) -> memoryview:
    return memoryview(random.Random(seed).randbytes(BLOCK) * 2)


@cache
def _synthetic_sha256(size: int, seed: int) -> str:
    digest = hashlib.sha256()
    for piece in Synthetic(size, seed).pieces(0, size):
        digest.update(piece)
    return digest.hexdigest()


@dataclass(frozen=True)
class Part:
    """The bytes of other content from `start` to `stop`."""

    whole: Content
    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.read(0, self.size)).hexdigest()

    def read(self, start: int, stop: int) -> bytes:
        return self.whole.read(self.start + start, self.start + stop)

    def send(self, sink: Sink, start: int, stop: int) -> None:
        self.whole.send(sink, self.start + start, self.start + stop)


def as_content(value: bytes | Path | Content) -> Content:
    """Bytes, a file's path or content already, as content."""
    if isinstance(value, bytes):
        return Bytes(value)
    return File(value) if isinstance(value, os.PathLike) else value


def git_blob_id(content: Content) -> str:
    """The id under which git stores the content: the sha1 of "blob SIZE", a zero byte and the bytes."""
    digest = hashlib.sha1(b"blob %d\0" % content.size)
    for start in range(0, content.size, BLOCK):
        digest.update(content.read(start, min(start + BLOCK, content.size)))
    return digest.hexdigest()
