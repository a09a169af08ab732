"""A model repository as Triton lays one out: ``<model>/[config.pbtxt]`` and ``<model>/<version>/<files>``.

Rules: Triton, docs/user_guide/model_repository.md, "Repository Layout" and "Model Versions".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import BinaryIO, Protocol

from buildkit.triton.config import FILE


class Files(Protocol):
    """The files of a repository, by their paths in it."""

    @property
    def paths(self) -> Collection[str]:
        """Every path; that of an empty folder ends with '/'."""

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
                found.setdefault(int(folder), set()).update([inside] if inside else [])
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
            found.setdefault(name, []).extend([inside] if inside else [])
    return {name: Model(name, tuple(inside)) for name, inside in found.items()}
