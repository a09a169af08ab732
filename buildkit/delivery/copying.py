"""``modelpack copy``: an image from a registry or a layout into registries, its layers read once, its digest kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from buildkit.delivery.copy_source import Source, converted, read_source
from buildkit.delivery.destination import Destination, Wish, fits, open_destinations, served_gzips
from buildkit.delivery.tally import Tally
from buildkit.errors import InvalidInput, RegistryFailed
from buildkit.oci.copy import put_all
from buildkit.oci.form import Form, form_of, index_in, is_index, manifest_in, needs_gzip
from buildkit.oci.image import Blob
from buildkit.oci.manifest import DOCKER_CONFIG, OCI_CONFIG, Document, Index
from buildkit.oci.reference import Digest
from buildkit.oci.several import Several
from buildkit.world import World


@dataclass(frozen=True)
class Copied:
    """An image in its new places. ``digests`` are by the name that was given; ``failed`` by repository."""

    digests: Mapping[str, Digest]
    unchanged: bool
    failed: Mapping[str, RegistryFailed]


@dataclass(frozen=True)
class Copy:
    """What is copied where. ``name`` and ``tags`` are the source's where they are empty."""

    source: str
    registries: tuple[str, ...]
    name: str = ""
    tags: tuple[str, ...] = ()
    form: Form | None = None
    immutable: bool = False


def copy(wanted: Copy, world: World) -> Copied:
    """Copies an image. Raises InvalidInput, and RegistryFailed where no registry took it."""
    source = read_source(wanted.source, wanted.name, world)
    wish = Wish(wanted.name or source.name, wanted.tags or ((source.tag,) if source.tag else ()), wanted.form)
    destinations = _destinations(wanted, wish, source, world)
    for one in destinations:
        _check_convertible(source, one)
    return _Run(source, destinations, world).run()


def _destinations(wanted: Copy, wish: Wish, source: Source, world: World) -> list[Destination]:
    opened: dict[str, Destination] = {}
    for registry in wanted.registries:
        host = world.settings.registry(registry).host
        own = form_of(source.top)
        # The same digest wherever the registry takes it.
        form = wanted.form or (own if own in world.profile(host).forms else None)
        wished = replace(wish, form=form, immutable=wanted.immutable)
        for one in open_destinations([registry], wished, source.images, world):
            kept = replace(one, store=world.repository(one.reference)) if one.form == own else one
            opened.setdefault(one.name, kept)
    return list(opened.values())


def _check_convertible(source: Source, destination: Destination) -> None:
    if destination.form == form_of(source.top):
        return
    for manifest in converted(source).values():
        if manifest.config.media_type not in (OCI_CONFIG, DOCKER_CONFIG):
            raise InvalidInput(
                f"{manifest.document.digest} is no container image, and only OCI manifests hold such",
                hint=f"{destination.name} takes the form {destination.form}: choose another registry",
            )
        for layer in manifest.layers:
            if destination.form == "docker":
                needs_gzip(layer.media_type)


@dataclass
class _Run:
    """One copy under way."""

    source: Source
    destinations: Sequence[Destination]
    world: World
    _unchanged: list[str] = field(default_factory=list)

    def run(self) -> Copied:
        """Blobs, then manifests, then tags."""
        several = Several({one.name: one.store for one in self.destinations})
        for one in self.destinations:
            several.attempt(one.name, partial(self._prepare, one, several))
        if several.alive:
            tally = Tally(self.world.emit)
            put_all(self._blobs(several), several, tally.emit, self.world.stop)
            self.world.emit(tally.summary(", ".join(several.alive)))
        for work in (self._publish, self._tag):
            for one in self.destinations:
                if one.name in several.alive:
                    several.attempt(one.name, partial(work, one))
        reached = [one for one in self.destinations if one.name not in several.failed]
        digests = {name: self._top(one).digest for one in reached for name in self._names(one)}
        return Copied(digests, len(self._unchanged) == len(self.destinations), dict(several.failed))

    def _prepare(self, destination: Destination, several: Several) -> None:
        """Settles a destination that serves the image already; raises InvalidInput where a tag may not move."""
        sizes = {one.digest: one.size for manifest in self.source.manifests.values() for one in manifest.layers}
        for tar, gzip in served_gzips(destination).items():
            if tar in sizes and fits(gzip, sizes[tar]):
                destination.gzipped[tar] = gzip
        try:
            digest = self._top(destination).digest
        except KeyError:
            return
        there = destination.store.resolve(digest) is not None
        if destination.serves(digest) and there:
            several.settle(destination.name)
            self._unchanged.append(destination.name)

    def _blobs(self, several: Several) -> list[Blob]:
        """What moves: where nobody keeps the source's form, its attestations are left behind."""
        forms = {one.form for one in self.destinations if one.name in several.alive}
        if form_of(self.source.top) in forms:
            return self.source.blobs
        return replace(self.source, manifests=converted(self.source)).blobs

    def _documents(self, destination: Destination) -> tuple[list[Document], Document]:
        """The manifests in a destination's form, and what its tags are on."""
        form = destination.form
        if form == form_of(self.source.top):
            return [one.document for one in self.source.manifests.values()], self.source.top
        manifests = {
            digest: manifest_in(form, manifest, destination.gzipped).document
            for digest, manifest in converted(self.source).items()
        }
        if not is_index(self.source.top):
            (top,) = manifests.values()
            return [], top
        entries = [
            manifests[entry.digest].descriptor(entry.platform)
            for entry in Index.read(self.source.top).manifests
            if entry.digest in manifests
        ]
        return list(manifests.values()), index_in(form, entries, {}).document

    def _top(self, destination: Destination) -> Document:
        return self._documents(destination)[1]

    def _publish(self, destination: Destination) -> None:
        documents, top = self._documents(destination)
        for document in (*documents, top):
            destination.store.publish(document)
        if destination.immutable:
            destination.serves(top.digest)

    def _tag(self, destination: Destination) -> None:
        top = self._top(destination)
        for tag in destination.tags_of(top.digest):
            destination.store.publish(top, tag)
        destination.check_served(top.digest)

    def _names(self, destination: Destination) -> list[str]:
        """What the copy is called; only by its digest, where there is no tag."""
        tags = destination.tags_of(self._top(destination).digest)
        return [f"{destination.name}:{tag}" for tag in tags] or [destination.name]
