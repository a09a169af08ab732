"""``modelpack inspect``: what is in an image, and where each part came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from buildkit.errors import InvalidInput
from buildkit.oci.manifest import INDEXES, Descriptor, Document, ImageConfig, Index, Manifest
from buildkit.oci.stored import Readable
from buildkit.oci.whole import config_of
from buildkit.opening import open_image
from buildkit.plan import TITLE
from buildkit.world import World


@dataclass(frozen=True)
class SeenLayer:
    """A layer: its descriptor, and what it holds as its annotations or the history say."""

    descriptor: Descriptor
    origin: str


@dataclass(frozen=True)
class SeenImage:
    """An image for one platform."""

    platform: str
    manifest: Manifest
    config: ImageConfig
    layers: tuple[SeenLayer, ...]

    def document(self) -> dict[str, Any]:
        """The same as a JSON document."""
        layers = [{**layer.descriptor.document(), "origin": layer.origin} for layer in self.layers]
        return {
            "platform": self.platform,
            "digest": self.manifest.document.digest,
            "annotations": dict(self.manifest.annotations),
            "config": dict(self.config.process),
            "created": self.config.content.get("created"),
            "layers": layers,
            "bytes": sum(layer.descriptor.size for layer in self.layers),
        }


@dataclass(frozen=True)
class Seen:
    """What a reference leads to: one image, or one for each platform of an index."""

    name: str
    top: Document
    images: tuple[SeenImage, ...]

    def document(self) -> dict[str, Any]:
        """The same as a JSON document."""
        images = [image.document() for image in self.images]
        return {"name": self.name, "digest": self.top.digest, "mediaType": self.top.media_type, "images": images}


def look(image: str, world: World) -> Seen:
    """Reads an image's manifests and configs, never its layers; raises InvalidInput or RegistryFailed."""
    opened = open_image(image, world)
    if not opened.exact:
        what = f"{image} does not tell what its manifest will be: no digest in it would be true"
        raise InvalidInput(
            what, hint="'docker save' of Docker 25 and later tells it; 'modelpack check --image' reads it"
        )
    store, document = opened.store, opened.document()
    if document.media_type in INDEXES:
        entries = Index.read(document).images
        documents = [found for entry in entries if (found := store.resolve(entry.digest))]
    else:
        documents = [document]
    return Seen(image, document, tuple(_seen(one, store, image) for one in documents))


def _seen(document: Document, store: Readable, image: str) -> SeenImage:
    manifest = Manifest.read(document)
    config = config_of(manifest, store, image)
    steps = [
        str(entry.get("created_by", ""))
        for entry in config.content.get("history") or []
        if not entry.get("empty_layer")
    ]
    if len(steps) != len(manifest.layers):
        # It is optional, and matched by order alone: which of its lines is of which layer, nobody knows.
        steps = [""] * len(manifest.layers)
    layers = tuple(
        SeenLayer(layer, layer.annotations.get(TITLE) or step)
        for layer, step in zip(manifest.layers, steps, strict=True)
    )
    return SeenImage(str(config.platform), manifest, config, layers)
