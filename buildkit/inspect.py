"""``modelpack inspect``: what is in an image, and where each part came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from buildkit.errors import InvalidInput
from buildkit.oci.image import Store
from buildkit.oci.layout import Layout
from buildkit.oci.manifest import INDEXES, Descriptor, Document, ImageConfig, Index, Manifest, config_of
from buildkit.oci.reference import Reference
from buildkit.plan import TITLE
from buildkit.world import World

BASE_NAME = "org.opencontainers.image.base.name"
BASE_DIGEST = "org.opencontainers.image.base.digest"


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
    store, name = open_image(image, world)
    document = store.resolve(name)
    if document is None:
        raise absent(image, world)
    if document.media_type in INDEXES:
        entries = Index.read(document).images
        documents = [found for entry in entries if (found := store.resolve(entry.digest))]
    else:
        documents = [document]
    return Seen(image, document, tuple(_seen(one, store, image) for one in documents))


def open_image(image: str, world: World) -> tuple[Store, str]:
    """The store that a reference or ``oci:DIR[:TAG]`` leads to, and the tag or digest there; raises InvalidInput."""
    if image.startswith("oci:"):
        path, _, tag = image[4:].rpartition(":")
        folder, tag = (Path(path), tag) if path and Path(path).is_dir() else (Path(image[4:]), "")
        if not (folder / "index.json").is_file():
            raise InvalidInput(
                f"{folder} is not an OCI layout: it has no index.json",
                hint="'modelpack build RECIPE --output oci:DIR' writes one",
            )
        return Layout(folder), tag
    if image.partition(":")[0] in ("oci-archive", "docker-archive"):
        raise InvalidInput(
            f"{image} cannot be read", hint="what is read is a reference or oci:DIR; unpack the archive first"
        )
    reference = Reference.parse(image)
    return world.base(reference), reference.digest or reference.tag or "latest"


def absent(image: str, world: World) -> InvalidInput:
    """What to say of an image that is not there: it may be the mirror that lacks it."""
    if not image.startswith("oci:"):
        reference = Reference.parse(image)
        asked = world.settings.located(reference)
        if asked != reference:
            hint = "copy it to the mirror from where modelpack.yaml does not name that mirror"
            return InvalidInput(f"there is no image {image}: its mirror has no {asked}", hint=hint)
    return InvalidInput(f"there is no image {image}", hint="check the name, and that you may pull it")


def _seen(document: Document, store: Store, image: str) -> SeenImage:
    manifest = Manifest.read(document)
    config = config_of(manifest, b"".join(store.fetch(manifest.config)), image)
    steps = [
        str(entry.get("created_by", ""))
        for entry in config.content.get("history") or []
        if not entry.get("empty_layer")
    ]
    steps += [""] * (len(manifest.layers) - len(steps))
    layers = tuple(
        SeenLayer(layer, layer.annotations.get(TITLE) or step)
        for layer, step in zip(manifest.layers, steps, strict=False)
    )
    return SeenImage(str(config.platform), manifest, config, layers)
