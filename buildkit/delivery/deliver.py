"""Where a built image goes: registries, a layout, an archive, or nowhere but into the lock."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from buildkit.delivery.destination import Wish, open_destinations
from buildkit.delivery.output import Output
from buildkit.delivery.push import Delivered, Recorder, push
from buildkit.delivery.tally import Tally, forecast_written
from buildkit.errors import InvalidInput
from buildkit.oci.archive import Archive
from buildkit.oci.copy import JOBS, place, publish, seal
from buildkit.oci.hashed import hashed
from buildkit.oci.image import Blob, Image, Pieces, Placed, Store
from buildkit.oci.layout import Layout
from buildkit.oci.manifest import Descriptor, Document
from buildkit.tags import with_digest
from buildkit.world import World


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
        written = export(images, going.output, going.wish, world, record.placed)
        images = written.images
    if destinations:
        return push(images, destinations, world, record)
    delivered = written or _stored(images, _Nowhere(), going.wish, world, record.placed)
    record.stage(delivered.sealing, delivered.images)
    return delivered


Settle = Callable[[Sequence[Image]], Sequence[Image]]
"""Makes of images whose layers are all in their place those that are to be published."""


def export(
    images: Sequence[Image], output: Output, wish: Wish, world: World, settle: Settle = lambda images: images
) -> Delivered:
    """Writes the images into a layout folder or an archive."""
    name, tally = f"{output.form}:{output.path}", Tally(world.emit)
    world.emit(forecast_written(name, [layer for image in images for layer in image.layers]))
    with _told_of_room(output):
        exported = _exported(images, output, wish, replace(world, emit=tally.emit), settle)
    world.emit(tally.summary(name))
    return exported


def _exported(images: Sequence[Image], output: Output, wish: Wish, world: World, settle: Settle) -> Delivered:
    if output.form == "oci":
        return _stored(images, Layout(output.path), wish, world, settle)
    if output.form == "docker-archive" and len(images) > 1:
        raise InvalidInput("a docker-archive holds one platform", hint="use --output oci-archive:FILE, or one platform")
    archive = Archive(output.path, output.form, wish.name)
    try:
        delivered = _stored(images, archive, wish, world, settle, jobs=1)
        archive.close()
    finally:
        archive.discard()
    return delivered


@contextmanager
def _told_of_room(output: Output) -> Iterator[None]:
    """A full disk, told with the place that is full: what the system says of it names none."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        hint = "make room there, or write the image to another disk"
        raise InvalidInput(f"the disk has no room for {output.path}", hint=hint) from None


def _stored(
    images: Sequence[Image], store: Store, wish: Wish, world: World, settle: Settle, jobs: int = JOBS
) -> Delivered:
    placed = settle(place(images, store, world.emit, world.stop, jobs))
    sealing = seal(placed)
    tags = with_digest(wish.tags, sealing.digest)
    publish(sealing, store, tags)
    return Delivered(tuple(f"{wish.name}:{tag}" for tag in tags), sealing, tuple(placed))


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
