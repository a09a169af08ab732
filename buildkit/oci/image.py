"""Image, Layer, Blob as values, and Store: a registry's repository, an OCI layout folder and an archive are the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from buildkit.errors import ModelpackError
from buildkit.oci.manifest import OCI_CONFIG, Descriptor, Document, ImageConfig, Manifest
from buildkit.oci.reference import Digest, Platform, Reference

Pieces = Iterator[bytes | memoryview]
EPOCH = "1970-01-01T00:00:00Z"
"""What every image says it was created at (image-spec config.md, ``created``): a clock would change the digest."""


@dataclass(frozen=True)
class Blob:
    """Bytes with a known size that can be opened as a stream; their digest may only be known once they were read.

    ``key`` tells blobs apart before their digests are known. ``origin`` is a repository known to hold the blob, from
    which another repository of the same registry may mount it; ``siblings`` are repositories that took it once, and may
    have it still.
    """

    key: str
    media_type: str
    size: int
    open: Callable[[], Pieces]
    digest: Digest | None = None
    title: str = ""
    origin: Reference | None = None
    siblings: tuple[Reference, ...] = ()

    @classmethod
    def of(cls, data: bytes, media_type: str, title: str = "") -> Blob:
        """A blob of bytes in memory."""
        digest = Digest.of(data)
        return cls(str(digest), media_type, len(data), lambda: iter((data,)), digest, title)

    def prove(self, digest: Digest) -> None:
        """Raises ModelpackError where what was read has another digest than the blob is known to have."""
        if self.digest and digest != self.digest:
            raise ModelpackError(
                f"{self.title} has the digest {digest}, but the lock says {self.digest}",
                hint="lock again with 'modelpack lock --upgrade' if the content is meant to have changed",
            )


@dataclass(frozen=True)
class Layer:
    """A layer: its blob, its annotations in the manifest, and the digest of its uncompressed tar where that differs."""

    blob: Blob
    diff_id: Digest | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    def descriptor(self, digest: Digest) -> Descriptor:
        """How the manifest names this layer once its digest is known."""
        return Descriptor(self.blob.media_type, digest, self.blob.size, self.annotations)


@dataclass(frozen=True)
class Sealed:
    """An image with all its digests: its manifest, and its config as a blob."""

    manifest: Manifest
    config: Blob


@dataclass(frozen=True)
class Image:
    """An image for one platform. ``config`` is complete but for the diff ids, which are the layers'."""

    platform: Platform
    config: Mapping[str, Any]
    layers: tuple[Layer, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_known(self) -> bool:
        """Whether every layer's digest is known."""
        return all(layer.blob.digest for layer in self.layers)

    def knowing(self, digests: Mapping[str, Digest]) -> Image:
        """The same image with the digests of blobs that were learned since, by the blobs' keys."""
        return replace(self, layers=tuple(_knowing(layer, digests) for layer in self.layers))

    def beside(self, homes: Callable[[Digest], Sequence[Reference]]) -> Image:
        """The same image with the repositories that took its own layers once, by the digests that are known."""
        return replace(self, layers=tuple(_beside(layer, homes) for layer in self.layers))

    def seal(self) -> Sealed:
        """Writes config and manifest. Every layer's digest must be known: ValueError else."""
        digests = [layer.blob.digest for layer in self.layers]
        known = [digest for digest in digests if digest]
        if len(known) != len(digests):
            raise ValueError("an image is sealed only when every layer's digest is known")
        diff_ids = [str(layer.diff_id or digest) for layer, digest in zip(self.layers, known, strict=True)]
        config = ImageConfig({**self.config, "rootfs": {"type": "layers", "diff_ids": diff_ids}})
        blob = Blob.of(config.raw, OCI_CONFIG, "config")
        layers = [layer.descriptor(digest) for layer, digest in zip(self.layers, known, strict=True)]
        described = Descriptor(OCI_CONFIG, Digest.of(config.raw), blob.size)
        return Sealed(Manifest.write(described, layers, self.annotations), blob)


Outcome = Literal["exists", "mounted", "sent", "hashed"]


@dataclass(frozen=True)
class Placed:
    """Where a blob stands after ``put``: its digest, and whether its bytes had to move."""

    digest: Digest
    outcome: Outcome


class Taking(Protocol):
    """What takes an image's blobs."""

    def put(self, blob: Blob, moved: Callable[[int], None]) -> Placed:
        """Makes the blob be there, moving bytes only where it must; ``moved`` hears of every piece that was sent."""


class Store(Protocol):
    """A place for an image's blobs and manifests."""

    def resolve(self, name: str) -> Document | None:
        """The manifest or index under a tag or digest, its bytes proven by the digest; None where there is none."""

    def fetch(self, descriptor: Descriptor) -> Pieces:
        """Yields a blob's bytes, and raises at the end where they are not what the descriptor says."""

    def put(self, blob: Blob, moved: Callable[[int], None]) -> Placed:
        """Makes the blob be there, moving bytes only where it must; ``moved`` hears of every piece that was sent."""

    def publish(self, document: Document, tag: str | None = None) -> None:
        """Stores a manifest or index whose blobs are all there, under its digest or a tag."""


def _knowing(layer: Layer, digests: Mapping[str, Digest]) -> Layer:
    digest = layer.blob.digest or digests.get(layer.blob.key)
    return replace(layer, blob=replace(layer.blob, digest=digest))


def _beside(layer: Layer, homes: Callable[[Digest], Sequence[Reference]]) -> Layer:
    if layer.blob.origin or layer.blob.digest is None:
        return layer
    return replace(layer, blob=replace(layer.blob, siblings=(*layer.blob.siblings, *homes(layer.blob.digest))))
