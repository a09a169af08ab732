"""A layer as a deterministic tar stream: a pure function of its entries and their bytes, never held in memory.

Headers are written here and not by the standard library, whose bytes for the unused fields changed between Python
versions: the same entries must give the same digest on every machine. The format is GNU tar (magic ``ustar`` and two
spaces): long names as ``././@LongLink`` members, sizes of 8 GiB and more in base 256. PAX headers are never written,
since scanners in the field fail on a PAX ``size``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from buildkit.oci.hashed import Hashed, digest_of, feeding
from buildkit.oci.hashing import Hash, sha256, update

BLOCK = 512
PACKING = "1"
"""The revision of everything that decides a layer's bytes. Another packing of the same files has another number."""

_LONG_NAME = 100
_END = bytes(2 * BLOCK)


@dataclass(frozen=True)
class Entry:
    """A file or directory in a layer. ``size`` in bytes, ``mode`` octal permission bits, ``mtime`` in seconds."""

    name: str
    mode: int
    size: int = 0
    directory: bool = False
    uid: int = 0
    gid: int = 0
    mtime: int = 0

    @property
    def padding(self) -> int:
        """Zero bytes after the content, up to the next block of 512."""
        return -self.size % BLOCK

    @property
    def length(self) -> int:
        """Bytes of the header, content and padding together."""
        return len(header(self)) + self.size + self.padding


@dataclass(frozen=True)
class Content:
    """A file's bytes on their way into a layer; ``proof`` is a hash that whoever passes them on has to feed as well."""

    pieces: Iterable[bytes | memoryview]
    proof: Hash | None = None

    def proving(self) -> Iterator[bytes | memoryview]:
        """The bytes, for whom only these matter: the proof is fed here."""
        return feeding(self.pieces, self.proof)


Open = Callable[[Entry], Content]


def header(entry: Entry) -> bytes:
    """The header block of an entry, preceded by a long-name member where the name needs one."""
    name = (entry.name + ("/" if entry.directory else "")).encode()
    kind = b"5" if entry.directory else b"0"
    if len(name) <= _LONG_NAME:
        return _block(name, kind, entry, entry.size)
    long_name = name + b"\0"
    announced = _block(b"././@LongLink", b"L", Entry("", mode=0o644), len(long_name))
    return announced + long_name + bytes(-len(long_name) % BLOCK) + _block(name[:_LONG_NAME], kind, entry, entry.size)


def length(entries: Iterable[Entry]) -> int:
    """The bytes of the whole tar, its two closing blocks included, known before the first byte is read."""
    return sum(entry.length for entry in entries) + len(_END)


def stream(entries: Iterable[Entry], open_content: Open) -> Hashed:
    """Yields the tar, hashed: each header, then what ``open_content`` has for the file, padded.

    A file's proof is fed together with the tar's own hash. ``open_content`` must have exactly ``entry.size`` bytes; anything
    else raises ValueError before the tar goes on.
    """
    fed = sha256()
    return Hashed(_gathered(_pieces(entries, open_content), fed), lambda: digest_of(fed))


Piece = tuple[bytes | memoryview, Hash | None]
"""Bytes of the tar, and the proof that has to see them, if any."""


def _pieces(entries: Iterable[Entry], open_content: Open) -> Iterator[Piece]:
    for entry in entries:
        yield header(entry), None
        remaining = entry.size
        content = open_content(entry) if entry.size else Content(())
        for piece in content.pieces:
            remaining -= len(piece)
            if remaining < 0:
                raise ValueError(f"{entry.name}: more than the {entry.size} bytes that were announced")
            yield piece, content.proof
        if remaining:
            raise ValueError(f"{entry.name}: {remaining} of its {entry.size} bytes are missing")
        yield bytes(entry.padding), None
    yield _END, None


def _gathered(pieces: Iterable[Piece], fed: Hash) -> Iterator[bytes | memoryview]:
    """Joins small pieces, so that twenty thousand small files do not become sixty thousand writes and steps of a hash."""
    gathered = bytearray()
    for piece, proof in pieces:
        is_small = len(piece) < _GATHERED
        if is_small:
            update(piece, proof)
            gathered += piece
        if len(gathered) >= _GATHERED or (gathered and not is_small):
            yield _fed(bytes(gathered), fed)
            gathered.clear()
        if not is_small:
            yield _fed(piece, fed, proof)
    yield _fed(bytes(gathered), fed)


def _fed(piece: bytes | memoryview, *hashes: Hash | None) -> bytes | memoryview:
    update(piece, *hashes)
    return piece


_GATHERED = 64 * 1024


def _block(name: bytes, kind: bytes, entry: Entry, size: int) -> bytes:
    fields = b"".join(
        (
            name.ljust(100, b"\0"),
            _number(entry.mode, 8),
            _number(entry.uid, 8),
            _number(entry.gid, 8),
            _number(size, 12),
            _number(entry.mtime, 12),
            b" " * 8,
            kind,
            bytes(100),
            b"ustar  \0",
        )
    ).ljust(BLOCK, b"\0")
    return _with_checksum(fields)


def of_no_time(block: bytes) -> bytes:
    """The header block of an entry, whoever wrote it, with the time 0."""
    return _with_checksum(block[:136] + _number(0, 12) + block[148:])


def _with_checksum(block: bytes) -> bytes:
    """POSIX.1-1988 and GNU alike: the sum of all bytes, where those of the sum itself count as spaces."""
    checksum = b"%06o\0 " % sum(block[:148] + b" " * 8 + block[156:])
    return block[:148] + checksum + block[156:]


def _number(value: int, width: int) -> bytes:
    if 0 <= value < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, value)
    return b"\x80" + value.to_bytes(width - 1, "big")
