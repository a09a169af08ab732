"""Layers that another program packed, without the clock in them: else the same files are other layers at every build."""

from __future__ import annotations

import tarfile
from importlib.util import source_from_cache
from pathlib import Path
from typing import BinaryIO

from buildkit.oci.tar import BLOCK, of_no_time

_STAMPED = b"\0" * 4
"""The flags of a compiled module that is valid while its source has the time that it names (PEP 552)."""


class Timeless:
    """Takes the times out of an image's layers, one after the other from the lowest.

    A compiled module that was valid for its source stays so: Python would compile it anew at every start of a container.
    """

    def __init__(self) -> None:
        self._sources: dict[str, bytes] = {}

    def forget_times(self, path: Path) -> bool:
        """Gives every entry of a tar file the time 0, in its place; whether there was another. Raises ``tarfile.TarError``.

        Only the headers are written: a layer of a hundred gigabytes costs no copy. They hold every time that engines write,
        who cut it to whole seconds (moby, pkg/archive, FileInfoHeader; containerd, pkg/archive, ChangeWriter.HandleChange).
        """
        headers, compiled = self._read(path)
        with path.open("r+b") as file:
            for name, start in compiled.items():
                self._keep_valid(name, start, file)
            for start in headers:
                file.seek(start)
                block = file.read(BLOCK)
                file.seek(start)
                file.write(of_no_time(block))
        return bool(headers)

    def _read(self, path: Path) -> tuple[list[int], dict[str, int]]:
        """Where the headers are that have a time, and the contents of compiled modules by their names."""
        headers: list[int] = []
        compiled: dict[str, int] = {}
        with tarfile.open(path, "r:") as tar:
            for info in tar:
                # Every entry of a layer with a million files would be kept.
                tar.members = []  # type: ignore[attr-defined]
                if info.mtime:
                    headers.append(info.offset_data - BLOCK)
                if info.isreg() and info.name.endswith(".py"):
                    self._sources[info.name] = _four(info.mtime) + _four(info.size)
                elif info.isreg() and info.name.endswith(".pyc") and "/__pycache__/" in info.name:
                    compiled[info.name] = info.offset_data
        return headers, compiled

    def _keep_valid(self, name: str, start: int, file: BinaryIO) -> None:
        """Has a compiled module name the time 0 where it names that of its source (PEP 3147, PEP 552)."""
        try:
            source = self._sources.get(source_from_cache(name))
        except ValueError:
            return
        file.seek(start)
        if source and file.read(16)[4:] == _STAMPED + source:
            file.seek(start + 8)
            file.write(bytes(4))


def _four(number: float) -> bytes:
    return (int(number) & 0xFFFFFFFF).to_bytes(4, "little")
