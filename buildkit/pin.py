"""Pins: what every name in a recipe means now. The only stage that asks the hub, a registry or a folder for that."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

from buildkit.errors import InvalidInput, Problem, RegistryFailed, SourceFailed
from buildkit.oci.hashing import Hash, sha256
from buildkit.oci.image import Store
from buildkit.oci.manifest import INDEXES, Document, ImageConfig, Index, Manifest, canonical
from buildkit.oci.platforms import manifest_for, no_image
from buildkit.oci.reference import Digest, Platform, Reference
from buildkit.oci.tar import Content
from buildkit.oci.whole import config_of


@dataclass(frozen=True, order=True)
class File:
    """A file of a model: its path inside the model, its size in bytes, and what proves its content.

    Large files of a hub are known by ``sha256``, its small ones by ``git_oid``, the SHA-1 git gives the blob; files of
    a folder and of a URL always by ``sha256``. ``url`` is where a file of an ``http`` source comes from. ``executable``:
    its owner may run it; only told of a project's files, whose programs must stay programs. A file with neither digest
    was listed and not read yet: what proves it is learned when it is sent, and no lock ever holds one.
    """

    path: str
    size: int
    sha256: str = ""
    git_oid: str = ""
    url: str = ""
    executable: bool = False

    @property
    def is_read(self) -> bool:
        """Whether it is known what proves the content."""
        return bool(self.sha256 or self.git_oid)

    @property
    def proof(self) -> str:
        """What proves the content, with its algorithm: ``sha256:...`` or ``git:...``; ``unread`` where nobody knows yet."""
        if not self.is_read:
            return "unread"
        return f"sha256:{self.sha256}" if self.sha256 else f"git:{self.git_oid}"

    def learned(self, digests: Mapping[str, str]) -> File:
        """The file itself where it is read, else with its sha256 of those by path."""
        return self if self.is_read else replace(self, sha256=digests[self.path])


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

    @property
    def is_read(self) -> bool:
        """Whether it is known of every file what proves it."""
        return all(file.is_read for file in self.files)

    def learned(self, digests: Mapping[str, str]) -> Inventory:
        """The same files, with the sha256 by path of those that were read since."""
        return replace(self, files=tuple(file.learned(digests) for file in self.files))


@dataclass(frozen=True)
class ImagePin:
    """A base image as it is now: its reference with the digest its tag has, and each platform's manifest digest."""

    reference: Reference
    platforms: Mapping[Platform, Digest]


@dataclass(frozen=True)
class Pins:
    """What every input of a recipe means now, by the input's key in the recipe (``base``, ``model``).

    ``max_layer_size`` is the limit in bytes of the registry that the layers were laid out for, where they have to be split
    for it: pinned like an input, so that the same lock gives the same image to every registry.
    """

    images: Mapping[str, ImagePin] = field(default_factory=dict)
    sources: Mapping[str, Inventory] = field(default_factory=dict)
    max_layer_size: int | None = None

    @property
    def are_read(self) -> bool:
        """Whether it is known of every file what proves it."""
        return all(source.is_read for source in self.sources.values())


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

    def remedy(self, file: File) -> str:
        """What to do where the file turned out not to be the pinned one."""


@runtime_checkable
class Listing(Source, Protocol):
    """A source that may list files without reading them, and is told what they hash to when they are read."""

    learned: Mapping[str, str]
    """The sha256 of what was read so far, by path."""

    def learn(self, file: File, sha256: str) -> None:
        """Takes a file's digest; raises SourceFailed where the file was changed since it was listed."""

    def last(self, path: str) -> str | None:
        """The sha256 that was read last under a path here, whatever is there now; None where nobody remembers."""


class Proof:
    """The hash that a file's bytes feed as they pass; at the end it says whether they are the file that was pinned."""

    def __init__(self, file: File) -> None:
        self.file = file
        is_git = bool(file.git_oid and not file.sha256)
        git = hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False) if is_git else None
        self.hash: Hash = git or sha256()

    @property
    def expected(self) -> str:
        """The pinned digest in hexadecimal."""
        return self.file.sha256 or self.file.git_oid

    @property
    def found(self) -> str:
        """The digest of what passed, in hexadecimal."""
        return self.hash.hexdigest()


def refuse_false_emptiness(inventory: Inventory) -> None:
    """Raises SourceFailed with every file that is told to have 0 bytes and to hash to something else than nothing.

    A layer opens no empty file, so that nobody else would find it out.
    """
    empty = (Proof(file) for file in inventory.files if file.is_read and not file.size)
    problems = [
        Problem(proof.file.path, f"its size is told as 0 bytes, and it hashes to {proof.expected}, which nothing does")
        for proof in empty
        if proof.found != proof.expected
    ]
    if problems:
        raise SourceFailed(
            f"{inventory.name} has files that cannot be empty",
            problems,
            hint="run 'modelpack lock --upgrade'; if it goes on, the server or a mirror tells wrong sizes or hashes",
        )


def proven(source: Source, file: File) -> Iterator[bytes | memoryview]:
    """Yields a file's bytes, and raises SourceFailed at the end as :func:`checked` does."""
    return checked(source, file).proving()


def checked(source: Source, file: File) -> Content:
    """A file's bytes with the proof that whoever takes them has to feed.

    Raises SourceFailed at their end, before they count as complete, where they are not the pinned ones. A source that vouches
    for a file before it was read and after is believed. One that only listed the file is told what it hashes to.
    """
    proof = None if source.vouches(file) else Proof(file)
    return Content(_until_checked(source, file, proof), proof.hash if proof else None)


def _until_checked(source: Source, file: File, proof: Proof | None) -> Iterator[bytes | memoryview]:
    yield from source.open(file)
    if proof is None:
        if not source.vouches(file):
            raise SourceFailed(
                f"{file.path} was changed while it was read", hint="run it again when nothing writes there any more"
            )
    elif not file.is_read and isinstance(source, Listing):
        source.learn(file, proof.found)
    elif proof.found != proof.expected:
        raise SourceFailed(
            f"{file.path} is not the file that was pinned: it hashes to {proof.found}, and {proof.expected} was expected",
            hint=f"{source.remedy(file)}; nothing was tagged",
        )


def absent(reference: Reference, located: Reference) -> InvalidInput:
    """What to say of an image that is not where it was looked for: it may be the mirror that lacks it."""
    what = f"there is no image {reference}"
    if located == reference:
        return InvalidInput(what, hint="check the name and the tag, and that you may pull it")
    hint = "copy it to the mirror from where modelpack.yaml does not name that mirror"
    return InvalidInput(f"{what}: its mirror has no {located}", hint=hint)


def pin_image(reference: Reference, platforms: Sequence[Platform], store: Store, located: Reference) -> ImagePin:
    """Asks what a base image is now, for every platform; raises RegistryFailed or InvalidInput.

    ``located`` is where the store is: the reference itself, or the mirror's.
    """
    document = store.resolve(reference.tag_or_digest)
    if document is None:
        raise absent(reference, located)
    pinned = reference.at(document.digest)
    if document.media_type in INDEXES:
        index = Index.read(document)
        return ImagePin(pinned, {platform: _choose(index, platform, reference, store) for platform in platforms})
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
    return manifest, config_of(manifest, store, f"{name}@{digest}")


def _choose(index: Index, platform: Platform, reference: Reference, store: Store) -> Digest:
    found = manifest_for(index, platform, store)
    if found is None:
        raise no_image(str(reference), platform, index)
    return found.digest


def _only(document: Document, platform: Platform, reference: Reference, store: Store) -> Digest:
    manifest = Manifest.read(document)
    config = config_of(manifest, store, str(reference))
    if not platform.accepts(config.platform):
        raise InvalidInput(
            f"{reference} has no image for {platform}", hint=f"it is an image for {config.platform} alone"
        )
    return document.digest
