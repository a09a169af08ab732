"""Plan: everything decided and nothing done. It renders to a Containerfile and reads as layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from buildkit.errors import Problem
from buildkit.oci import tar
from buildkit.oci.manifest import canonical
from buildkit.oci.reference import Digest, Platform
from buildkit.pin import File, ImagePin, Source

KEY = "build.modelpack.layer.key"
TITLE = "build.modelpack.layer.title"
PACKING = "build.modelpack.packing"
"""Annotations of a layer on the manifest: what decided its bytes, so that an image can be recognised without a lock."""


@dataclass(frozen=True)
class PlannedFile:
    """A file of a layer: its entry in the tar, and the input and file its bytes come from.

    A file that the plan itself writes, such as a configuration, has its ``content`` here, and no source.
    """

    entry: tar.Entry
    source: str
    file: File
    content: bytes | None = None


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


Make = Callable[[Path, Platform, Mapping[str, Source], Mapping[str, str]], None]
"""Fills an empty folder with a layer's files, for a platform, from the recipe's sources by key, for a base's variables."""


@dataclass(frozen=True)
class Maker:
    """What of this machine decides a made layer's bytes, such as a program's version, and what is to be said of it."""

    version: str = ""
    remark: Problem | None = None


def _anyone(base: Mapping[str, str]) -> Maker:
    """Any machine makes the same."""
    return Maker()


@dataclass(frozen=True)
class MadeLayer:
    """A layer whose files a program makes on this machine, such as packages that are unpacked for another platform.

    ``key`` is what decides its files; they lie under ``root`` in the image, owned by root, readable by all, without
    times. ``lacks`` says what this machine does not have for making it, ``by`` what of this machine decides the bytes as
    well, above a base with these variables. In a Containerfile it is a stage of its own.
    """

    title: str
    key: Digest
    root: str
    make: Make
    lacks: Callable[[], Sequence[Problem]] = tuple
    by: Callable[[Mapping[str, str]], Maker] = _anyone

    @property
    def files(self) -> tuple[PlannedFile, ...]:
        """None: what is in the layer is not known before it is made."""
        return ()

    @property
    def entries(self) -> tuple[tar.Entry, ...]:
        """None, for the same reason."""
        return ()


@dataclass(frozen=True)
class Secret:
    """A secret of a build: mounted under ``id`` for the commands that ask for it, and in no layer, argument or history.

    It is the content of the environment variable ``variable``, or of the file ``path`` relative to the recipe.
    """

    id: str
    variable: str = ""
    path: str = ""


@dataclass(frozen=True)
class Plan:
    """Everything that an engine needs to build the image.

    ``process`` is laid over the base's config: ``User``, ``Env`` and the like replace, ``Labels`` are added.
    ``runs`` are the lines that need to run something inside the final image, ``blocked`` says per engine why it cannot
    build this plan; ``context`` is the folder that the Containerfile copies from, relative to the recipe's, if any;
    ``archives`` are tars of planned layers, by the names under which it adds them. ``own_layers``: its engine decides
    how many layers there are above the base, as the lines of the Containerfile fall. ``network``: its commands fetch
    something that no source brings. ``copied`` are the files that its lines copy from, all that a builder is given;
    ``build_args`` the values of its ARG lines. ``warnings`` stop nothing and are told before the build. ``flat``: the
    Containerfile copies what it keeps of the base onto ``scratch``, so that none of the base's layers is in the image;
    what the base says of its process holds all the same.
    """

    name: str
    base: ImagePin | None
    platforms: tuple[Platform, ...]
    process: Mapping[str, Any]
    layers: tuple[PlannedLayer | MadeLayer, ...]
    annotations: Mapping[str, str]
    rendered: Callable[[], str]
    context: str | None = None
    archives: Mapping[str, tuple[PlannedLayer, ...]] = field(default_factory=dict)
    images: tuple[ImagePin, ...] = ()
    runs: tuple[str, ...] = ()
    blocked: Mapping[str, str] = field(default_factory=dict)
    own_layers: bool = False
    network: bool = False
    secrets: tuple[Secret, ...] = ()
    warnings: tuple[Problem, ...] = ()
    copied: PlannedLayer | None = None
    build_args: Mapping[str, str] = field(default_factory=dict)
    flat: bool = False

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
        # Titles go into the history and the annotations: an image whose layers are only called otherwise is another one.
        layers = [[layer.title, str(layer.key)] for layer in self.layers]
        platforms = [str(platform) for platform in self.platforms]
        decided = [self.name, base, platforms, self.process, layers, dict(self.annotations), list(self.runs)]
        if self.own_layers:
            added = {name: [str(layer.key) for layer in layers] for name, layers in self.archives.items()}
            decided += [added, self.containerfile]
            decided += [str(self.copied.key), dict(self.build_args)] if self.copied else []
        return Digest.of(canonical(decided))


def parents(name: str) -> Iterator[str]:
    """The directories above ``name``, the topmost first."""
    parts = name.split("/")[:-1]
    return ("/".join(parts[: depth + 1]) for depth in range(len(parts)))
