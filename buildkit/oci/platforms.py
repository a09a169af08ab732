"""Which manifest of an index is the image for a platform."""

from __future__ import annotations

from typing import Protocol

from buildkit.errors import InvalidInput
from buildkit.oci.manifest import INDEXES, MANIFESTS, Descriptor, Document, Index, Manifest
from buildkit.oci.reference import Platform
from buildkit.oci.whole import Fetching, config_of


class Legible(Fetching, Protocol):
    """Where manifests and blobs can be read."""

    def resolve(self, name: str) -> Document | None:
        """The manifest or index under a tag or digest."""


def manifest_for(index: Index, platform: Platform, store: Legible) -> Descriptor | None:
    """The image for ``platform``: one that names it exactly, else one that fits, else one whose config says so.

    An entry need not name its platform (image-spec image-index.md); the configs of those that do not are read where no
    other fits. Attestations never fit. Raises what the store raises.
    """
    images = [entry for entry in index.images if entry.media_type not in INDEXES]
    fitting = [entry for entry in images if entry.platform and platform.accepts(entry.platform)]
    exact = [entry for entry in fitting if entry.platform == platform]
    silent = (entry for entry in images if not entry.platform)
    told = (entry for entry in silent if _accepts(platform, entry, store))
    return next(iter(exact + fitting), None) or next(told, None)


def no_image(name: str, platform: Platform, index: Index) -> InvalidInput:
    """What to say of an index without an image for a platform: those that it has, or why none could be found in it."""
    what = f"{name} has no image for {platform}"
    nested = [entry.digest for entry in index.images if entry.media_type in INDEXES]
    if nested:
        hint = "name one of them by its digest, as in NAME@sha256:…"
        return InvalidInput(f"{what} itself: it lists further indexes ({', '.join(nested)})", hint=hint)
    there = ", ".join(sorted({str(entry.platform) for entry in index.images if entry.platform}))
    return InvalidInput(what, hint=f"it has {there}" if there else "what it lists is for other platforms, or no image")


def _accepts(platform: Platform, entry: Descriptor, store: Legible) -> bool:
    """Whether an entry is an image that runs there; what is no image, or malformed, does not."""
    document = store.resolve(entry.digest) if entry.media_type in MANIFESTS else None
    if document is None:
        return False
    try:
        manifest = Manifest.read(document)
        config = config_of(manifest, store, entry.digest)
    except InvalidInput:
        return False
    return platform.accepts(config.platform)
