"""The members of a layer, read from its tar headers: the bodies of large files are jumped over where that can be done.

A layer that is not compressed is read in spans: a 10 GB layer costs some kilobytes for every large file in it. A compressed
layer has no other way than to be read from its beginning.
"""

from __future__ import annotations

import io
import tarfile
import zlib
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import IO, Any, cast

from buildkit.errors import InvalidInput
from buildkit.oci.files import Member
from buildkit.oci.image import Pieces
from buildkit.oci.pieces import reader


class NoTar(InvalidInput):
    """A layer was read, and is no tar, not whole, or not what its compression makes of one: no engine unpacks it."""


Span = Callable[[int, int], bytes]
"""Reads bytes of a blob: from where, how many."""
Keep = Callable[[Member], bool]
"""Whether a member's content is wanted while a compressed layer passes by."""

_SMALLEST, _LARGEST = 8 * 1024, 1024 * 1024
"""Bytes of one span: small where bodies are jumped over, larger where one small file follows the other."""
_NEAR = 64 * 1024
"""Bytes that are read rather than jumped over: less than what a request costs in time."""


class Spans(io.RawIOBase):
    """A blob as a file that can be sought in; only what is near to what is read is ever fetched."""

    def __init__(self, span: Span, size: int) -> None:
        super().__init__()
        self._span = span
        self._size = size
        self._position = 0
        self._start = 0
        self._window = b""
        self._next = _SMALLEST

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves without reading."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._position

    def read(self, size: int = -1) -> bytes:
        """The next bytes, all that were asked for but at the end."""
        wanted = min(self._size - self._position if size < 0 else size, max(0, self._size - self._position))
        end = self._position + wanted
        if self._position < self._start or end > self._start + len(self._window):
            self._fetch(wanted)
        found = self._window[self._position - self._start :][:wanted]
        self._position += len(found)
        return found

    def _fetch(self, wanted: int) -> None:
        ahead = self._position - (self._start + len(self._window))
        self._next = min(self._next * 2, _LARGEST) if 0 <= ahead < _NEAR or self._window == b"" else _SMALLEST
        length = min(max(wanted, self._next), self._size - self._position)
        self._start, self._window = self._position, self._span(self._position, length)


def members_in_spans(span: Span, size: int, layer: int) -> Iterator[Member]:
    """The members of a layer that is not compressed; raises NoTar."""
    yield from _members(cast("IO[bytes]", Spans(span, size)), "r:", layer, lambda member: False, {})


def members_of_stream(pieces: Pieces, layer: int, keep: Keep, kept: dict[tuple[int, str], bytes]) -> Iterator[Member]:
    """The members of a tar that passes by once; the content of those that ``keep`` wants is put into ``kept``.

    Raises NoTar.
    """
    yield from _members(reader(pieces), "r|", layer, keep, kept)


def _members(
    file: IO[bytes], mode: str, layer: int, keep: Keep, kept: dict[tuple[int, str], bytes]
) -> Iterator[Member]:
    try:
        with tarfile.open(fileobj=file, mode=mode) as tar:  # type: ignore[call-overload]
            for info in tar:
                member = Member.of(info, layer)
                if member.type == "file" and keep(member):
                    content = tar.extractfile(info)
                    kept[layer, member.path] = content.read() if content else b""
                yield member
                # tarfile remembers every member it met; twenty layers of a hundred thousand are not worth that.
                tar.members = []
    except (tarfile.TarError, zlib.error, EOFError, ValueError, OverflowError) as error:
        raise NoTar(f"it is no tar: {error}") from None


def inflated(pieces: Pieces) -> Pieces:
    """A layer's tar, whatever it is compressed with: told by its first bytes, as containerd does, not by its media type.

    No piece of what is inflated has more than 1 MiB, but all of them together may be very many: who reads them counts.
    Raises NoTar where it is damaged or ends too early, and InvalidInput for zstd where nothing here can read it.
    """
    first = b""
    for piece in pieces:
        first += bytes(piece)
        if len(first) >= len(_ZSTD):
            break
    rest = _chained(first, pieces)
    if first.startswith(_GZIP):
        return _gunzipped(rest)
    if first.startswith(_ZSTD):
        return _unzstd(rest)
    return rest


_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_LARGEST_PIECE = 1024 * 1024
"""Bytes that are inflated at once: deflate makes a thousand of one, zstd thirty thousand."""
_PORTION = 16 * 1024
"""Compressed bytes that are given at once: what lies behind is copied whenever a member of gzip or a frame of zstd ends."""


def _chained(first: bytes, pieces: Pieces) -> Pieces:
    yield first
    yield from pieces


def _portions(pieces: Pieces) -> Iterator[memoryview]:
    for piece in pieces:
        view = memoryview(piece)
        yield from (view[start : start + _PORTION] for start in range(0, len(view), _PORTION))


def _gunzipped(pieces: Pieces) -> Pieces:
    """RFC 1952: one member after the other, as stargz and pigz write them."""
    engine, ended = zlib.decompressobj(wbits=31), False
    try:
        for portion in _portions(pieces):
            data: bytes | memoryview = portion
            # Behind a member there may be nothing but zeros (RFC 1952 knows none, tape archives do).
            while data and not (ended and not any(data)):
                yield engine.decompress(data, _LARGEST_PIECE)
                ended = engine.eof
                data = engine.unused_data if ended else engine.unconsumed_tail
                engine = zlib.decompressobj(wbits=31) if ended else engine
    except zlib.error as error:
        raise NoTar(f"it is not what gzip writes: {error}") from None
    if not ended:
        raise NoTar("its gzip ends too early")


def _unzstd(pieces: Pieces) -> Pieces:
    """RFC 8878: one frame after the other, as zstd:chunked writes them."""
    zstd = _zstd()
    engine, ended = zstd.ZstdDecompressor(), False
    try:
        for portion in _portions(pieces):
            data: bytes | memoryview = portion
            # What it has taken in and not given out yet, it keeps to itself.
            while data or not engine.needs_input:
                yield engine.decompress(data, _LARGEST_PIECE)
                data, ended = engine.unused_data, engine.eof
                engine = zstd.ZstdDecompressor() if ended else engine
    except zstd.ZstdError as error:
        raise NoTar(f"it is not what zstd writes: {error}") from None
    if not ended:
        raise NoTar("its zstd ends too early")


def _zstd() -> Any:
    """The standard library's module, which Python has from 3.14 on, or the same one as a package for those before."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return import_module(name)
        except ImportError:
            continue
    raise InvalidInput(
        "it is compressed with zstd, which Python reads from 3.14 on, or with: pip install modelpack-build[zstd]"
    )
