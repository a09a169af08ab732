"""``modelpack copy``: an image from a registry or a layout into registries, its layers read once, its digest kept."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from buildkit.destination import Destination, Wish, fits, open_destinations, served_gzips
from buildkit.errors import InvalidInput, RegistryFailed
from buildkit.inspect import open_image
from buildkit.oci.copy import put_all
from buildkit.oci.form import Form, form_of, index_in, is_index, manifest_in, needs_gzip
from buildkit.oci.image import Blob, Image, Layer, Store
from buildkit.oci.layout import REFERENCE_NAME, Layout
from buildkit.oci.manifest import DOCKER_CONFIG, OCI_CONFIG, Descriptor, Document, Index, Manifest
from buildkit.oci.reference import Digest, Platform, Reference, is_tag
from buildkit.oci.several import Several
from buildkit.registries.client import Repository
from buildkit.tally import Tally
from buildkit.world import World

_TITLE = "org.opencontainers.image.title"
_ELSEWHERE = re.compile(r"nondistributable|\.foreign\.")
"""image-spec layer.md, "Non-Distributable Layers", and Docker's foreign layers."""
_UNKNOWN = Platform("unknown", "unknown")
"""What attestations in an index say they are for."""


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


@dataclass(frozen=True)
class _Source:
    """An image with everything below it: manifests, and under an index each platform's."""

    store: Store
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
            Image(_UNKNOWN, {}, tuple(Layer(self._blob(layer)) for layer in manifest.layers))
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


def copy(wanted: Copy, world: World) -> Copied:
    """Copies an image. Raises InvalidInput, and RegistryFailed where no registry took it."""
    source = _read(wanted, world)
    wish = Wish(wanted.name or source.name, wanted.tags or ((source.tag,) if source.tag else ()), wanted.form)
    destinations = _destinations(wanted, wish, source, world)
    for one in destinations:
        _check_convertible(source, one)
    return _Run(source, destinations, world).run()


def _destinations(wanted: Copy, wish: Wish, source: _Source, world: World) -> list[Destination]:
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


def _read(wanted: Copy, world: World) -> _Source:
    store, name = open_image(wanted.source, world)
    top = store.resolve(name)
    if top is None:
        raise InvalidInput(f"there is no image {wanted.source}", hint="check the name, and that you may pull it")
    manifests = {one.digest: Manifest.read(one) for one in _below(top, store)}
    if isinstance(store, Repository):
        repository = store.repository.rpartition("/")[2]
        given = Reference.parse(wanted.source)
        tag = given.tag or ("" if given.digest else "latest")
        return _Source(store, top, manifests, repository, tag, store.reference)
    title = next((found for one in manifests.values() if (found := one.annotations.get(_TITLE))), "")
    if not (wanted.name or title):
        raise InvalidInput(f"{wanted.source} does not say what the image is called", hint="say it: --name NAME")
    return _Source(store, top, manifests, title, name if is_tag(name) else _tag_in(store, top), None)


def _tag_in(store: Store, top: Document) -> str:
    """The tag that a layout gives an image."""
    if isinstance(store, Layout):
        named = [entry.annotations.get(REFERENCE_NAME, "") for entry in store.entries() if entry.digest == top.digest]
        tags = [name.rpartition(":")[2] for name in named if is_tag(name.rpartition(":")[2])]
        return tags[0] if tags else "latest"
    return "latest"


def _below(top: Document, store: Store) -> list[Document]:
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


def _check_convertible(source: _Source, destination: Destination) -> None:
    if destination.form == form_of(source.top):
        return
    for manifest in _converted(source).values():
        if manifest.config.media_type not in (OCI_CONFIG, DOCKER_CONFIG):
            raise InvalidInput(
                f"{manifest.document.digest} is no container image, and only OCI manifests hold such",
                hint=f"{destination.name} takes the form {destination.form}: choose another registry",
            )
        for layer in manifest.layers:
            if destination.form == "docker":
                needs_gzip(layer.media_type)


def _converted(source: _Source) -> dict[Digest, Manifest]:
    """The manifests that have a counterpart in another form: attestations have none."""
    if not is_index(source.top):
        return dict(source.manifests)
    kept = {one.digest for one in Index.read(source.top).manifests if one.platform != _UNKNOWN}
    return {digest: manifest for digest, manifest in source.manifests.items() if digest in kept}


@dataclass
class _Run:
    """One copy under way."""

    source: _Source
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
        return replace(self.source, manifests=_converted(self.source)).blobs

    def _documents(self, destination: Destination) -> tuple[list[Document], Document]:
        """The manifests in a destination's form, and what its tags are on."""
        form = destination.form
        if form == form_of(self.source.top):
            return [one.document for one in self.source.manifests.values()], self.source.top
        manifests = {
            digest: manifest_in(form, manifest, destination.gzipped).document
            for digest, manifest in _converted(self.source).items()
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
