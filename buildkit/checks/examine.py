"""Reads an image as it was pushed: its manifests, its config, and the names, modes and sizes of its files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from buildkit.checks.subject import Pushed
from buildkit.oci.files import Files
from buildkit.oci.image import Pieces
from buildkit.oci.layer_files import STREAMED, read_files
from buildkit.oci.manifest import INDEXES, Descriptor, Document, ImageConfig, Index, Manifest
from buildkit.oci.platforms import manifest_for, no_image
from buildkit.oci.reference import Platform, Reference
from buildkit.oci.stored import Readable
from buildkit.oci.whole import NotAnImage, config_of
from buildkit.opening import open_image
from buildkit.world import World

STREAMED_HERE = 4 * 1024**3
"""Bytes of compressed layers that are read of an image on this disk, without being asked to."""
AMD64 = Platform("linux", "amd64")


@dataclass(frozen=True)
class Examined:
    """An image as it was pushed. ``reference`` is None for one on this disk; ``read`` tells the bytes that were moved.

    ``artifact`` says of a manifest that it is no image's: then config and files are empty, and nothing is known of them.
    """

    name: str
    reference: Reference | None
    pushed: Pushed
    config: ImageConfig
    files: Files
    read: Callable[[], int]
    artifact: NotAnImage | None = None

    @property
    def size(self) -> int:
        """Bytes of the layers as they are stored."""
        return sum(layer.size for layer in self.pushed.manifest.layers)


def examine(image: str, world: World, *, platform: Platform | None = None, whole: bool = False) -> Examined:
    """Reads an image: a reference, ``oci:DIR[:TAG]``, ``oci-archive:FILE`` or ``docker-archive:FILE``.

    Of an index the image for ``platform`` is taken, by default linux/amd64, else the only one. ``whole`` reads compressed
    layers however large they are. Raises InvalidInput or RegistryFailed.
    """
    opened = open_image(image, world)
    counted, reference = _Counted(opened.store), opened.reference
    top = replace(opened, store=counted).document()
    document = chosen(top, counted, platform, image)
    manifest = Manifest.read(document)
    pushed = Pushed(top, manifest, exact=opened.exact)
    try:
        config = config_of(manifest, counted, image)
    except NotAnImage as artifact:
        return Examined(image, reference, pushed, ImageConfig({}), Files(()), lambda: counted.moved, artifact)
    most = STREAMED if reference else STREAMED_HERE
    files = read_files(counted, manifest, 1 << 62 if whole else most, " (--whole reads it all the same)")
    return Examined(image, reference, pushed, config, files, lambda: counted.moved)


def chosen(top: Document, store: Readable, platform: Platform | None, image: str) -> Document:
    """The one manifest that is looked at: of an index that for the platform, by default linux/amd64, else the first."""
    if top.media_type not in INDEXES:
        return top
    index = Index.read(top)
    images = [entry for entry in index.images if entry.media_type not in INDEXES]
    entry = manifest_for(index, platform or AMD64, store) or (images[0] if images and platform is None else None)
    found = store.resolve(entry.digest) if entry else None
    if found is None:
        raise no_image(image, platform or AMD64, index)
    return found


class _Counted:
    """A store that counts what is read from it."""

    def __init__(self, store: Readable) -> None:
        self._store = store
        self.moved = 0

    def resolve(self, name: str) -> Document | None:
        document = self._store.resolve(name)
        self.moved += len(document.raw) if document else 0
        return document

    def fetch(self, descriptor: Descriptor) -> Pieces:
        for piece in self._store.fetch(descriptor):
            self.moved += len(piece)
            yield piece

    def span(self, descriptor: Descriptor, start: int, length: int) -> bytes:
        found = self._store.span(descriptor, start, length)
        self.moved += len(found)
        return found
