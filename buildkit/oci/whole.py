"""Small blobs, read into memory: an image's config, a document beside it."""

from __future__ import annotations

from typing import Protocol

from buildkit.errors import InvalidInput
from buildkit.oci.image import Pieces
from buildkit.oci.manifest import CONFIGS, Descriptor, ImageConfig, Manifest

LARGEST_CONFIG = 4 * 1024 * 1024
"""Bytes. podman, skopeo and CRI-O read no larger one (containers/image, internal/iolimits, ``MaxConfigBodySize``)."""


class NotAnImage(InvalidInput):
    """A manifest is that of an artifact: there is nothing that an engine could run or unpack."""


class Fetching(Protocol):
    """Where blobs are fetched from."""

    def fetch(self, descriptor: Descriptor) -> Pieces:
        """Yields a blob's bytes."""


def whole(store: Fetching, descriptor: Descriptor, what: str, most: int) -> bytes:
    """A blob's bytes; raises InvalidInput that says ``what`` it is where there are more than ``most`` of them.

    Nothing is fetched of one that is said to be larger, and the rest is left where one turns out to be.
    """
    found = bytearray()
    if descriptor.size <= most:
        for piece in store.fetch(descriptor):
            found += piece
            if len(found) > most:
                break
    if max(descriptor.size, len(found)) > most:
        raise InvalidInput(f"{what} has more than {most} bytes, which is more than such a document has")
    return bytes(found)


def config_of(manifest: Manifest, store: Fetching, name: str) -> ImageConfig:
    """The config of an image in a store; raises NotAnImage for an artifact, InvalidInput for what is malformed."""
    try:
        return ImageConfig.read(whole(store, manifest.config, f"the image config of {name}", LARGEST_CONFIG))
    except InvalidInput:
        if manifest.config.media_type in CONFIGS:
            raise
        hint = "'modelpack build' makes an image of a model; what oras or modctl pushed is none"
        raise NotAnImage(f"{name} is an artifact ({manifest.type}), not an image", hint=hint) from None
