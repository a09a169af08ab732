"""Reads a file from disk in blocks, and catches one that is not the size it was pinned with."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from buildkit.errors import SourceFailed
from buildkit.pin import File
from buildkit.sources.walk import Found

BLOCK = 1024 * 1024
_CHANGED = "it was changed after it was pinned; run 'modelpack lock' again"


def blocks(path: str | Path, file: File, start: int, what: str) -> Iterator[bytes]:
    """Yields the file's bytes from ``start`` on in blocks of 1 MiB; raises SourceFailed."""
    try:
        # A pipe in the file's place would block when it is opened.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise SourceFailed(f"{what} is not a regular file any more", hint=_CHANGED)
        with open(path, "rb", buffering=0) as opened:
            size = os.fstat(opened.fileno()).st_size
            if size != file.size:
                raise SourceFailed(f"{what} has {size:,} bytes, and {file.size:,} were pinned", hint=_CHANGED)
            opened.seek(start)
            for left in range(file.size - start, 0, -BLOCK):
                yield from _exactly(opened, min(left, BLOCK), what)
    except OSError as error:
        raise unreadable(what, error) from None


def found(path: str, place: str, what: str) -> Found:
    """The file as it is at this moment; raises SourceFailed where it is gone."""
    try:
        return Found(path, place, os.stat(place))
    except OSError as error:
        raise unreadable(what, error) from None


def _exactly(opened: io.FileIO, amount: int, what: str) -> Iterator[bytes]:
    while amount:
        block = opened.read(amount)
        if not block:
            raise SourceFailed(f"{what} became shorter while it was read", hint=_CHANGED)
        amount -= len(block)
        yield block


def unreadable(what: str, error: OSError) -> SourceFailed:
    """The failure that an error of the operating system means."""
    if isinstance(error, FileNotFoundError):
        return SourceFailed(f"{what} is not there any more", hint=_CHANGED)
    if isinstance(error, PermissionError):
        return SourceFailed(f"{what} may not be read", hint="give yourself the right to read it")
    return SourceFailed(f"{what} cannot be read: {error.strerror or type(error).__name__}", hint="check the disk")
