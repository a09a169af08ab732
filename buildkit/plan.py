"""Plan: everything decided and nothing done. It renders to a Containerfile and reads as layers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from buildkit.oci import tar
from buildkit.oci.manifest import canonical
from buildkit.oci.reference import Digest, Platform, Reference
from buildkit.pin import File, ImagePin

KEY = "build.modelpack.layer.key"
TITLE = "build.modelpack.layer.title"
PACKING = "build.modelpack.packing"
"""Annotations of a layer on the manifest: what decided its bytes, so that an image can be recognised without a lock."""


@dataclass(frozen=True)
class PlannedFile:
    """A file of a layer: its entry in the tar, and the input and file its bytes come from."""

    entry: tar.Entry
    source: str
    file: File


@dataclass(frozen=True)
class PlannedLayer:
    """A layer above the base: its directories and files, sorted by name, every parent of them included."""

    title: str
    directories: tuple[tar.Entry, ...]
    files: tuple[PlannedFile, ...]

    @property
    def entries(self) -> tuple[tar.Entry, ...]:
        """All entries in the order of the tar."""
        return tuple(sorted((*self.directories, *(file.entry for file in self.files)), key=lambda entry: entry.name))

    @property
    def size(self) -> int:
        """Bytes of the layer's tar."""
        return tar.length(self.entries)

    @property
    def key(self) -> Digest:
        """What decides the layer's bytes, as one digest: names, modes, owners, proofs of content, packing revision."""
        proofs = {file.entry.name: file.file.proof for file in self.files}
        listed = [
            [entry.name, entry.mode, entry.uid, entry.gid, entry.mtime, entry.size, proofs.get(entry.name, "")]
            for entry in self.entries
        ]
        return Digest.of(canonical([tar.PACKING, listed]))


@dataclass(frozen=True)
class Plan:
    """Everything that an engine needs to build the image.

    ``process`` is laid over the base's config: ``User``, ``Env`` and the like replace, ``Labels`` are added.
    ``runs`` are the lines that need to run something inside the final image, ``blocked`` says per engine why it cannot
    build this plan; ``context`` is the folder that the Containerfile copies from, relative to the recipe's, if any;
    ``archive`` the name of a tar of the layers that it adds, if any.
    """

    name: str
    base: ImagePin | None
    platforms: tuple[Platform, ...]
    process: Mapping[str, Any]
    layers: tuple[PlannedLayer, ...]
    annotations: Mapping[str, str]
    rendered: Callable[[], str]
    context: str | None = None
    archive: str | None = None
    images: tuple[ImagePin, ...] = ()
    runs: tuple[str, ...] = ()
    blocked: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def containerfile(self) -> str:
        """The text that buildx and podman build, rendered when first asked for; "" where ``blocked`` says why there is none.

        Raises InvalidInput where a value cannot stand in a Containerfile.
        """
        return self.rendered()

    @property
    def digest(self) -> Digest:
        """Covers content alone: never a path of this machine, a clock, or the way a Containerfile gets there."""
        base = None if self.base is None else [str(self.base.reference), sorted(map(str, self.base.platforms.values()))]
        layers = [str(layer.key) for layer in self.layers]
        platforms = [str(platform) for platform in self.platforms]
        return Digest.of(
            canonical([self.name, base, platforms, self.process, layers, dict(self.annotations), list(self.runs)])
        )


_FROM = re.compile(r"^(FROM (?:--platform=\S+ )?)(\S+)", re.MULTILINE)


def relocated(containerfile: str, locate: Callable[[Reference], Reference]) -> str:
    """The Containerfile with each pinned ``FROM`` taken from where ``locate`` says that image is (a mirror)."""

    def replace(found: re.Match[str]) -> str:
        if "@" not in found[2]:
            return found[0]
        return f"{found[1]}{locate(Reference.parse(found[2]))}"

    return _FROM.sub(replace, containerfile)


def parents(name: str) -> Iterator[str]:
    """The directories above ``name``, the topmost first."""
    parts = name.split("/")[:-1]
    return ("/".join(parts[: depth + 1]) for depth in range(len(parts)))
