"""A model repository as Triton lays one out: ``<model>/[config.pbtxt]`` and ``<model>/<version>/<files>``.

Rules: Triton, docs/user_guide/model_repository.md, "Repository Layout" and "Model Versions".
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Protocol

from buildkit.inputs import FolderRef
from buildkit.pin import File
from buildkit.sources import walk
from buildkit.sources.selection import selected
from recipes.triton.config import FILE

SMALL = 1024 * 1024
"""Bytes up to which a file of a hub is read for a check; a local one is read however large it is."""


class Files(Protocol):
    """The files of a repository, by their paths in it."""

    @property
    def paths(self) -> Collection[str]:
        """Every path."""

    def open(self, path: str) -> BinaryIO | None:
        """A file to read and seek in; None where that would cost too much."""


@dataclass(frozen=True)
class Model:
    """A model of a repository: its name, and the paths of its files inside its folder."""

    name: str
    paths: tuple[str, ...]

    @property
    def has_config(self) -> bool:
        """Whether there is a config.pbtxt."""
        return FILE in self.paths

    @cached_property
    def versions(self) -> dict[int, frozenset[str]]:
        """Versions with the paths in them. What is no number, or begins with 0, Triton ignores."""
        found: dict[int, set[str]] = {}
        for path in self.paths:
            folder, slash, inside = path.partition("/")
            if slash and is_version(folder):
                found.setdefault(int(folder), set()).add(inside)
        return {number: frozenset(found[number]) for number in sorted(found)}

    @property
    def folders(self) -> tuple[str, ...]:
        """Every folder directly in the model's."""
        return tuple(sorted({path.partition("/")[0] for path in self.paths if "/" in path}))


def is_version(folder: str) -> bool:
    """Whether Triton takes a folder's name for a version."""
    return folder.isascii() and folder.isdigit() and not folder.startswith("0")


def models_of(paths: Iterable[str]) -> dict[str, Model]:
    """The models of a repository by name; files beside the models' folders belong to none."""
    found: dict[str, list[str]] = {}
    for path in sorted(paths):
        name, slash, inside = path.partition("/")
        if slash and not name.startswith("."):
            found.setdefault(name, []).append(inside)
    return {name: Model(name, tuple(inside)) for name, inside in found.items()}


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
