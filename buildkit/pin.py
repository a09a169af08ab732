"""Pins: what every name in a recipe means now. The only stage that asks the hub, a registry or a folder for that."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from buildkit.errors import InvalidInput, RegistryFailed, SourceFailed
from buildkit.oci.image import Store
from buildkit.oci.manifest import INDEXES, Document, ImageConfig, Index, Manifest, canonical
from buildkit.oci.reference import Digest, Platform, Reference


@dataclass(frozen=True, order=True)
class File:
    """A file of a model: its path inside the model, its size in bytes, and what proves its content.

    Large files of a hub are known by ``sha256``, its small ones by ``git_oid``, the SHA-1 git gives the blob; files of
    a folder and of a URL always by ``sha256``. ``url`` is where a file of an ``http`` source comes from. ``executable``:
    its owner may run it; only told of a project's files, whose programs must stay programs.
    """

    path: str
    size: int
    sha256: str = ""
    git_oid: str = ""
    url: str = ""
    executable: bool = False

    @property
    def proof(self) -> str:
        """What proves the content, with its algorithm: ``sha256:...`` or ``git:...``."""
        return f"sha256:{self.sha256}" if self.sha256 else f"git:{self.git_oid}"


@dataclass(frozen=True)
class Inventory:
    """What a source holds: where it is, which version of it, and the files that a recipe selected, sorted by path.

    ``type`` is ``huggingface``, ``folder`` or ``http``; ``name`` a repository ``ORG/NAME`` or a folder as the recipe
    writes it; ``revision`` and ``commit`` are a hub's and empty elsewhere.
    """

    type: str
    name: str
    files: tuple[File, ...]
    revision: str = ""
    commit: str = ""

    @property
    def fingerprint(self) -> Digest:
        """A digest of paths and proofs alone: equal where the content is equal, whatever the commit is called."""
        marked = ([file.path, file.proof, file.size, *(["x"] if file.executable else [])] for file in self.files)
        return Digest.of(canonical(list(marked)))

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True)
class ImagePin:
    """A base image as it is now: its reference with the digest its tag has, and each platform's manifest digest."""

    reference: Reference
    platforms: Mapping[Platform, Digest]


@dataclass(frozen=True)
class Pins:
    """What every input of a recipe means now, by the input's key in the recipe (``base``, ``model``)."""

    images: Mapping[str, ImagePin] = field(default_factory=dict)
    sources: Mapping[str, Inventory] = field(default_factory=dict)


class Source(Protocol):
    """A place that holds a model's files. ``distant``: opening one costs a round trip, so that several are opened at once."""

    distant: bool

    def inventory(self) -> Inventory:
        """What the source holds now. Asks the source; raises SourceFailed or InvalidInput."""

    def open(self, file: File, start: int = 0) -> Iterator[bytes | memoryview]:
        """Yields the bytes of a file of the inventory from ``start`` on; raises SourceFailed.

        What it yields is not yet proven: :func:`proven` does that.
        """

    def vouches(self, file: File) -> bool:
        """Whether the file is certainly the pinned one at this moment, so that hashing it again would tell nothing."""


class Proof:
    """Hashes a file's bytes as they pass, and says at the end whether they are the file that was pinned."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.hash = hashlib.sha256() if file.sha256 else hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)

    def update(self, piece: bytes | memoryview) -> None:
        """Takes the next bytes."""
        self.hash.update(piece)

    @property
    def expected(self) -> str:
        """The pinned digest in hexadecimal."""
        return self.file.sha256 or self.file.git_oid

    @property
    def found(self) -> str:
        """The digest of what passed, in hexadecimal."""
        return self.hash.hexdigest()


def proven(source: Source, file: File) -> Iterator[bytes | memoryview]:
    """Yields a file's bytes and raises SourceFailed at the end, before it counts as complete, where they are not the pinned ones.

    A source that vouches for a file before it was read and after is believed.
    """
    proof = None if source.vouches(file) else Proof(file)
    for piece in source.open(file):
        if proof:
            proof.update(piece)
        yield piece
    if proof is None and not source.vouches(file):
        raise SourceFailed(
            f"{file.path} was changed while it was read", hint="run it again when nothing writes there any more"
        )
    if proof and proof.found != proof.expected:
        raise SourceFailed(
            f"{file.path} is not the file that was pinned: it hashes to {proof.found}, and {proof.expected} was expected",
            hint="if the change is meant, build again (a folder) or take it with --upgrade (a hub, a URL); nothing was tagged",
        )


def pin_image(reference: Reference, platforms: Sequence[Platform], store: Store) -> ImagePin:
    """Asks what a base image is now, for every platform; raises RegistryFailed or InvalidInput."""
    document = store.resolve(reference.digest or reference.tag or "latest")
    if document is None:
        raise RegistryFailed(f"{reference} is not there", hint="check the name and the tag, and that you may pull it")
    pinned = reference.at(document.digest)
    if document.media_type in INDEXES:
        index = Index.read(document)
        return ImagePin(pinned, {platform: _choose(index, platform, reference) for platform in platforms})
    return ImagePin(pinned, {platform: _only(document, platform, reference, store) for platform in platforms})


def read_base(pin: ImagePin, platform: Platform, store: Store) -> tuple[Manifest, ImageConfig]:
    """A pinned image for a platform, as its registry has it; raises RegistryFailed where it is gone."""
    name, digest = pin.reference.name, pin.platforms[platform]
    document = store.resolve(digest)
    if document is None:
        raise RegistryFailed(
            f"{name}@{digest} is not there any more",
            hint="run 'modelpack lock --upgrade' to take the base as it is now",
        )
    manifest = Manifest.read(document)
    return manifest, ImageConfig.read(b"".join(store.fetch(manifest.config)))


def _choose(index: Index, platform: Platform, reference: Reference) -> Digest:
    found = index.manifest_for(platform)
    if found is None:
        there = sorted(
            {str(entry.platform) for entry in index.manifests if entry.platform and entry.platform.os != "unknown"}
        )
        raise InvalidInput(f"{reference} has no image for {platform}", hint=f"it has {', '.join(there) or 'none'}")
    return found.digest


def _only(document: Document, platform: Platform, reference: Reference, store: Store) -> Digest:
    config = ImageConfig.read(b"".join(store.fetch(Manifest.read(document).config)))
    if not platform.accepts(config.platform):
        raise InvalidInput(
            f"{reference} has no image for {platform}", hint=f"it is an image for {config.platform} alone"
        )
    return document.digest
