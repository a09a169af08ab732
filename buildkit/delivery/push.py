"""One image into several registries: each layer read once, tags last, and a registry that fails stops no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from buildkit.delivery.destination import Destination, as_one, know_gzips, remember
from buildkit.delivery.recollection import remembered
from buildkit.delivery.tally import Tally, forecast
from buildkit.errors import RegistryFailed
from buildkit.events import Said
from buildkit.lockfile.known import KnownLayers
from buildkit.oci.copy import Sealing, in_form, place, publish_untagged, seal
from buildkit.oci.image import Image
from buildkit.oci.manifest import OCI_LAYER
from buildkit.oci.reference import Digest
from buildkit.world import World


@dataclass(frozen=True)
class Delivered:
    """An image where it was asked to be: every name it now has, its manifests, and whether it was there before.

    ``digests`` are those of names that are on another form of the image than ``sealing``; ``failed`` the registries, by
    their repositories, that did not take it while others did.
    """

    references: tuple[str, ...]
    sealing: Sealing
    images: tuple[Image, ...]
    unchanged: bool = False
    digests: Mapping[str, Digest] = field(default_factory=dict)
    failed: Mapping[str, RegistryFailed] = field(default_factory=dict)

    def digest_of(self, reference: str) -> Digest:
        """What a name is on."""
        return self.digests.get(reference, self.sealing.digest)


class Recorder(Protocol):
    """Takes down what is about to be true. What it raises ends a push before its first tag."""

    def expect(self, images: Sequence[Image], references: Sequence[str] = ()) -> None:
        """Called before anything moves."""

    def named(self, key: str) -> str:
        """What decides a layer that was sent a moment ago: its key, or what is known of it by now."""

    def placed(self, images: Sequence[Image]) -> Sequence[Image]:
        """Called when every layer is in its place; the images as they are to be published."""

    def stage(self, sealing: Sealing, images: Sequence[Image], references: Mapping[str, Digest] | None = None) -> None:
        """Called when everything but the tags is in place, and again where a registry fails after that.

        ``sealing`` is the image in OCI form, ``references`` what each name will be on.
        """


def push(images: Sequence[Image], destinations: Sequence[Destination], world: World, record: Recorder) -> Delivered:
    """Puts images into registries: blobs first, manifests then, tags last; and asks for what the tags serve.

    Every layer is read once. Where every tag already serves this very image nothing is sent. A registry that fails is told
    in ``failed`` while the others go on; where all of them do, it is raised.
    """
    record.expect(images, [reference for one in destinations for reference in one.references])
    return _Push(images, destinations, world, record).run()


class _Push:
    """One image on its way into its registries."""

    def __init__(
        self, images: Sequence[Image], destinations: Sequence[Destination], world: World, record: Recorder
    ) -> None:
        self._images = list(images)
        self._destinations = {one.name: one for one in destinations}
        self._world = world
        self._record = record
        self._several = as_one(destinations, world)
        self._known = KnownLayers.here()
        self._unchanged: list[Destination] = []

    def run(self) -> Delivered:
        self._recognise()
        self._settle_what_is_there()
        if self._moving:
            self._place()
        sealing = seal(self._images)
        sealings = self._in_forms(sealing)
        for one in self._moving:
            self._several.attempt(one.name, partial(self._publish, one, sealings[one.name]))
        self._stage(sealing, sealings)
        before = len(self._several.failed)
        for one in self._moving:
            self._several.attempt(one.name, partial(one.tag, sealings[one.name].document, self._world.done))
        if len(self._several.failed) > before:
            self._stage(sealing, sealings)
        return self._delivered(sealing, sealings)

    @property
    def _moving(self) -> list[Destination]:
        return [self._destinations[name] for name in self._several.alive]

    @property
    def _reached(self) -> list[Destination]:
        return [one for name, one in self._destinations.items() if name not in self._several.failed]

    def _recognise(self) -> None:
        """Takes the digests that this machine or a registry still knows, where the lock does not."""
        unknown = [layer.blob.key for image in self._images for layer in image.layers if not layer.blob.digest]
        learned: dict[str, Digest] = {}
        for one in self._moving if unknown else ():
            learned |= self._several.attempt(one.name, partial(remembered, one, unknown)) or {}
        if unknown:
            learned |= self._known.of(unknown)
            self._images = [image.knowing(learned) for image in self._images]
        self._images = [image.beside(self._known.homes) for image in self._images]
        blobs = [layer.blob for image in self._images for layer in image.layers]
        tars = {blob.digest: blob.size for blob in blobs if blob.digest and blob.media_type == OCI_LAYER}
        for one in self._moving:
            self._several.attempt(one.name, partial(know_gzips, one, tars, self._known))

    def _settle_what_is_there(self) -> None:
        """Leaves out the destinations whose tags all serve the image; refuses to begin where a tag may not move."""
        if not all(image.is_known for image in self._images):
            for one in self._moving:
                self._several.attempt(one.name, partial(one.keeps, self._images))
            return
        sealing = seal(self._images)
        for one in self._moving:
            try:
                digest = in_form(sealing, one.form, one.gzipped).digest
            except KeyError:
                continue
            if self._several.attempt(one.name, partial(one.serves, digest)):
                self._several.settle(one.name)
                self._unchanged.append(one)
                self._world.emit(Said(f"{one.name}: has this image already, nothing is sent"))

    def _place(self) -> None:
        names = ", ".join(one.name for one in self._moving)
        self._world.emit(forecast(names, [layer for image in self._images for layer in image.layers]))
        tally = Tally(self._world.emit)
        placed = place(self._images, self._several, tally.emit, self._world.stop, learned=self._learn)
        for name, outcomes in self._several.placed.items():
            self._world.emit(tally.summary(name, outcomes))
        self._images = list(self._record.placed(placed))
        own = {one.blob.digest for image in placed for one in image.layers if not one.blob.origin}
        for one in self._moving:
            remember(one, filter(None, own), self._known)

    def _learn(self, key: str, digest: Digest) -> None:
        self._known.learn(self._record.named(key), digest)

    def _in_forms(self, sealing: Sealing) -> dict[str, Sealing]:
        return {one.name: in_form(sealing, one.form, one.gzipped) for one in self._reached}

    def _publish(self, destination: Destination, sealing: Sealing) -> None:
        publish_untagged(sealing, destination.store)
        if destination.immutable:
            destination.serves(sealing.digest)

    def _stage(self, sealing: Sealing, sealings: Mapping[str, Sealing]) -> None:
        self._record.stage(sealing, self._images, self._references(sealings))

    def _references(self, sealings: Mapping[str, Sealing]) -> dict[str, Digest]:
        pairs = [(one, sealings[one.name].digest) for one in self._reached]
        return {f"{one.name}:{tag}": digest for one, digest in pairs for tag in one.tags_of(digest)}

    def _delivered(self, sealing: Sealing, sealings: Mapping[str, Sealing]) -> Delivered:
        forms = list({one.digest: one for one in sealings.values()}.values())
        shown = forms[0] if len(forms) == 1 else sealing
        digests = self._references(sealings)
        unchanged = len(self._unchanged) == len(self._reached)
        return Delivered(tuple(digests), shown, tuple(self._images), unchanged, digests, self._several.told)
