"""Where a built image goes: registries, a layout, an archive, or nowhere but into the lock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from buildkit.delivery.destination import Wish, open_destinations
from buildkit.delivery.output import Output
from buildkit.delivery.spread import Delivered, Recorder, push
from buildkit.errors import InvalidInput
from buildkit.oci.archive import Archive
from buildkit.oci.copy import Sealing, place, publish, seal
from buildkit.oci.hashed import hashed
from buildkit.oci.image import Blob, Image, Pieces, Placed, Store
from buildkit.oci.layout import Layout
from buildkit.oci.manifest import Descriptor, Document
from buildkit.tags import with_digest
from buildkit.world import World

__all__ = ["Delivered", "Going", "Output", "Recorder", "Wish", "deliver", "push"]


@dataclass(frozen=True)
class Going:
    """Where an image is wanted: any number of registries, an output, both or neither."""

    wish: Wish
    registries: tuple[str, ...] = ()
    output: Output | None = None


def deliver(images: Sequence[Image], going: Going, world: World, record: Recorder) -> Delivered:
    """Brings images where they are wanted, and has the result recorded."""
    record.expect(images)
    written = None
    destinations = open_destinations(going.registries, going.wish, images, world)
    if going.output:
        written = export(images, going.output, going.wish.name, going.wish.tags, world, record.placed)
        images = written.images
    if destinations:
        return push(images, destinations, world, record)
    delivered = written or _measured(images, going, world, record.placed)
    record.stage(delivered.sealing, delivered.images)
    return delivered


Settle = Callable[[Sequence[Image]], Sequence[Image]]
"""Makes of images whose layers are all in their place those that are to be published."""


def export(
    images: Sequence[Image],
    output: Output,
    name: str,
    tags: Sequence[str],
    world: World,
    settle: Settle = lambda images: images,
) -> Delivered:
    """Writes the images into a layout folder or an archive."""
    if output.form == "oci":
        layout = Layout(output.path)
        return _stored(settle(place(images, layout, world.emit, world.stop)), layout, name, tags)
    if output.form == "docker-archive" and len(images) > 1:
        raise InvalidInput("a docker-archive holds one platform", hint="use --output oci-archive:FILE, or one platform")
    archive = Archive(output.path, output.form, name)
    try:
        delivered = _stored(settle(place(images, archive, world.emit, world.stop, jobs=1)), archive, name, tags)
        archive.close()
    finally:
        archive.discard()
    return delivered


def _measured(images: Sequence[Image], going: Going, world: World, settle: Settle) -> Delivered:
    """Learns the digests of the images and puts them nowhere."""
    placed = settle(place(images, _Nowhere(), world.emit, world.stop))
    sealing = seal(placed)
    return Delivered(_named(going.wish.name, going.wish.tags, sealing), sealing, tuple(placed))


def _stored(placed: Sequence[Image], store: Store, name: str, tags: Sequence[str]) -> Delivered:
    """Publishes images whose layers the store has."""
    sealing = seal(placed)
    publish(sealing, store, with_digest(tags, sealing.digest))
    return Delivered(_named(name, tags, sealing), sealing, tuple(placed))


def _named(name: str, tags: Sequence[str], sealing: Sealing) -> tuple[str, ...]:
    return tuple(f"{name}:{tag}" for tag in with_digest(tags, sealing.digest))


class _Nowhere:
    """A store that keeps nothing: it only learns digests."""

    def resolve(self, name: str) -> Document | None:
        return None

    def fetch(self, descriptor: Descriptor) -> Pieces:
        raise NotImplementedError("nothing is kept here")

    def put(self, blob: Blob, moved: Callable[[int], None]) -> Placed:
        if blob.digest:
            return Placed(blob.digest, "exists")
        opened = hashed(blob.open())
        for piece in opened:
            moved(len(piece))
        return Placed(opened.digest, "hashed")

    def publish(self, document: Document, tag: str | None = None) -> None:
        return None
