"""Where the files of a model repository are read: a folder beside the recipe, or a hub."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from buildkit.inputs import FolderRef
from buildkit.pin import File
from buildkit.sources import walk
from buildkit.sources.selection import selected

SMALL = 1024 * 1024
"""Bytes up to which a file of a hub is read for a check; a local one is read however large it is."""


@dataclass(frozen=True)
class LocalFiles:
    """The files of a folder, as a recipe selects them."""

    places: Mapping[str, str]

    @property
    def paths(self) -> Collection[str]:
        """Every path."""
        return self.places.keys()

    def open(self, path: str) -> BinaryIO | None:
        """The file; None where it cannot be read, which pinning tells."""
        try:
            return open(self.places[path], "rb")
        except OSError:
            return None


def local_files(reference: FolderRef, folder: Path) -> LocalFiles | None:
    """What a recipe in ``folder`` selects of a folder; None where it is not there, which pinning tells."""
    root = folder / reference.path
    if not root.is_dir():
        return None
    found = [item for item in walk.found(root) if isinstance(item, walk.Found)]
    chosen = selected(found, reference.include, reference.exclude, key=lambda item: item.path)
    return LocalFiles({item.path: item.place for item in chosen})


@dataclass(frozen=True)
class DistantFiles:
    """Pinned files that are read through their source, only where they are small."""

    files: Mapping[str, File]
    read: Callable[[File], bytes]

    @property
    def paths(self) -> Collection[str]:
        """Every path."""
        return self.files.keys()

    def open(self, path: str) -> BinaryIO | None:
        """The file whole, where it is small."""
        file = self.files[path]
        return io.BytesIO(self.read(file)) if file.size <= SMALL else None
