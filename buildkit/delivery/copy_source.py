"""What is copied: an image in a registry or a layout, with everything below it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from buildkit.errors import InvalidInput
from buildkit.oci.form import is_index
from buildkit.oci.image import Blob, Image, Layer
from buildkit.oci.layout import REFERENCE_NAME, Layout
from buildkit.oci.manifest import Descriptor, Document, Index, Manifest
from buildkit.oci.reference import Digest, Platform, Reference, is_tag
from buildkit.oci.stored import Archived, Readable
from buildkit.opening import open_image
from buildkit.registries.client import Repository
from buildkit.world import World

_TITLE = "org.opencontainers.image.title"
_ELSEWHERE = re.compile(r"nondistributable|\.foreign\.")
"""image-spec layer.md, "Non-Distributable Layers", and Docker's foreign layers."""
UNKNOWN = Platform("unknown", "unknown")
"""What attestations in an index say they are for."""


@dataclass(frozen=True)
class Source:
    """An image with everything below it: manifests, and under an index each platform's."""

    store: Readable
    top: Document
    manifests: Mapping[Digest, Manifest]
    name: str
    tag: str
    origin: Reference | None

    @property
    def blobs(self) -> list[Blob]:
        """Every blob once, configs and layers; layers that no registry may hand on stay where they are."""
        found = {one.digest: one for manifest in self.manifests.values() for one in (manifest.config, *manifest.layers)}
        return [self._blob(one) for one in found.values() if not _ELSEWHERE.search(one.media_type)]

    @property
    def images(self) -> list[Image]:
        """The images as values, for a registry's limits."""
        return [
            Image(
                UNKNOWN, {}, tuple(Layer(self._blob(layer), annotations=layer.annotations) for layer in manifest.layers)
            )
            for manifest in self.manifests.values()
        ]

    def _blob(self, descriptor: Descriptor) -> Blob:
        return Blob(
            descriptor.digest,
            descriptor.media_type,
            descriptor.size,
            lambda: self.store.fetch(descriptor),
            descriptor.digest,
            descriptor.annotations.get(_TITLE, descriptor.digest.short),
            self.origin,
        )


def read_source(image: str, named: str, world: World) -> Source:
    """Reads an image's manifests, never its layers; ``named`` is what the copy will be called, "" as the image is.

    Raises InvalidInput where it is not there, incomplete, or has no name.
    """
    opened = open_image(image, world)
    store, name = opened.store, opened.name
    if isinstance(store, Archived):
        hint = "what is copied is a reference or oci:DIR; unpack the archive first"
        raise InvalidInput(f"{image} cannot be copied", hint=hint)
    top = opened.document()
    manifests = {one.digest: Manifest.read(one) for one in _below(top, store)}
    if isinstance(store, Repository):
        repository = store.repository.rpartition("/")[2]
        given = Reference.parse(image)
        tag = given.tag or ("" if given.digest else "latest")
        return Source(store, top, manifests, repository, tag, store.reference)
    title = next((found for one in manifests.values() if (found := one.annotations.get(_TITLE))), "")
    if not (named or title):
        raise InvalidInput(f"{image} does not say what the image is called", hint="say it: --name NAME")
    return Source(store, top, manifests, title, name if is_tag(name) else _tag_in(store, top, name), None)


def _tag_in(store: Readable, top: Document, asked: str) -> str:
    """The tag that a layout gives an image, by preference in the name that it was asked for by."""
    if isinstance(store, Layout):
        named = [entry.annotations.get(REFERENCE_NAME, "") for entry in store.entries() if entry.digest == top.digest]
        named.sort(key=lambda name: name != asked)
        tags = [name.rpartition(":")[2] for name in named if is_tag(name.rpartition(":")[2])]
        return tags[0] if tags else "latest"
    return "latest"


def _below(top: Document, store: Readable) -> list[Document]:
    if not is_index(top):
        return [top]
    found = []
    for entry in Index.read(top).manifests:
        document = store.resolve(entry.digest)
        if document is None:
            raise InvalidInput(
                f"the index names {entry.digest}, which is not there",
                hint="it was copied without all of its platforms: copy one with its digest, NAME@sha256:...",
            )
        found.append(Document(entry.media_type, document.raw))
    return found


def converted(source: Source) -> dict[Digest, Manifest]:
    """The manifests that have a counterpart in another form: attestations have none."""
    if not is_index(source.top):
        return dict(source.manifests)
    kept = {one.digest for one in Index.read(source.top).manifests if one.platform != UNKNOWN}
    return {digest: manifest for digest, manifest in source.manifests.items() if digest in kept}
