"""A layer that another program packed, without the clock in it: else the same files are another layer at every build."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from importlib.util import source_from_cache
from pathlib import Path
from typing import BinaryIO

from buildkit.oci.tar import BLOCK, of_no_time

_STAMPED = b"\0" * 4
"""The flags of a compiled module that is valid while its source has the time that it names (PEP 552)."""


def forget_times(path: Path) -> bool:
    """Gives every entry of a tar file the time 0, in its place; whether there was another. Raises ``tarfile.TarError``.

    Only the headers are written: a layer of a hundred gigabytes costs no copy. They hold every time that engines write, who
    cut it to whole seconds (moby, pkg/archive, FileInfoHeader; containerd, pkg/archive, ChangeWriter.HandleChange). A
    compiled module that was valid for its source stays so: Python would compile it anew at every start of a container.
    """
    with tarfile.open(path, "r:") as tar:
        entries = [info for info in tar if info.mtime]
    with path.open("r+b") as file:
        for place in list(_times_of_sources(entries, file)):
            file.seek(place)
            file.write(bytes(4))
        for info in entries:
            start = info.offset_data - BLOCK
            file.seek(start)
            block = file.read(BLOCK)
            file.seek(start)
            file.write(of_no_time(block))
    return bool(entries)


def _times_of_sources(entries: Sequence[tarfile.TarInfo], file: BinaryIO) -> Iterator[int]:
    """Where compiled modules name the time of their sources, which is theirs in this layer (PEP 3147, PEP 552)."""
    named = {info.name: info for info in entries if info.isreg()}
    for name, info in named.items():
        if "/__pycache__/" not in name or not name.endswith(".pyc"):
            continue
        try:
            source = named.get(source_from_cache(name))
        except ValueError:
            continue
        file.seek(info.offset_data)
        head = file.read(16)
        if source and head[4:] == _STAMPED + _four(source.mtime) + _four(source.size):
            yield info.offset_data + 8


def _four(number: float) -> bytes:
    return (int(number) & 0xFFFFFFFF).to_bytes(4, "little")
