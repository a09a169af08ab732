"""``modelpack copy``: an image from a registry or a layout into registries, its layers read once, its digest kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from buildkit.delivery.copy_source import Source, converted, read_source
from buildkit.delivery.destination import Destination, Wish, as_one, know_gzips, open_destinations, remember
from buildkit.delivery.tally import Tally
from buildkit.errors import InvalidInput, Problem, RegistryFailed
from buildkit.events import Said, Warned
from buildkit.lockfile.known import KnownLayers
from buildkit.oci.copy import put_all
from buildkit.oci.form import Form, form_of, index_in, is_index, manifest_in, needs_gzip
from buildkit.oci.image import Blob
from buildkit.oci.manifest import DOCKER_CONFIG, OCI_CONFIG, OCI_LAYER, Descriptor, Document, Index, as_oci
from buildkit.oci.reference import Digest, is_tag
from buildkit.oci.several import Several
from buildkit.registries.client import Repository
from buildkit.tags import with_digest
from buildkit.trust.beside import Beside, copy_beside, found_beside
from buildkit.world import World


@dataclass(frozen=True)
class Copied:
    """An image in its new places. ``digests`` are by the name that was given; ``failed`` by repository."""

    digests: Mapping[str, Digest]
    unchanged: bool
    failed: Mapping[str, RegistryFailed]


@dataclass(frozen=True)
class Copy:
    """What is copied where. ``name`` and ``tags`` are the source's where they are empty.

    ``referrers``: with what lies beside the image, where it keeps its digest.
    """

    source: str
    registries: tuple[str, ...]
    name: str = ""
    tags: tuple[str, ...] = ()
    form: Form | None = None
    immutable: bool = False
    referrers: bool = True


def copy(wanted: Copy, world: World) -> Copied:
    """Copies an image. Raises InvalidInput, and RegistryFailed where no registry took it."""
    _check_tags(wanted.tags)
    source = read_source(wanted.source, wanted.name, world)
    wish = Wish(wanted.name or source.name, wanted.tags or ((source.tag,) if source.tag else ()), wanted.form)
    destinations = _destinations(wanted, wish, source, world)
    for one in destinations:
        _check_convertible(source, one)
    return _Run(source, destinations, world, _beside(source) if wanted.referrers else []).run()


def _beside(source: Source) -> list[Beside]:
    """A layout has no place for referrers that tools agree upon."""
    if not isinstance(source.store, Repository):
        return []
    return found_beside(
        source.store, [source.top.digest, *(one for one in source.manifests if one != source.top.digest)]
    )


def _destinations(wanted: Copy, wish: Wish, source: Source, world: World) -> list[Destination]:
    opened: dict[str, Destination] = {}
    for registry in wanted.registries:
        host = world.settings.registry(registry).host
        own = form_of(source.top)
        # The same digest wherever the registry takes it.
        form = wanted.form or (own if own in world.profile(host).forms else None)
        wished = replace(wish, form=form, immutable=wanted.immutable)
        for one in open_destinations([registry], wished, source.images, world):
            kept = replace(one, store=one.repository) if one.form == own else one
            opened.setdefault(one.name, kept)
    return list(opened.values())


def _check_tags(tags: Sequence[str]) -> None:
    """Nothing is sent for a tag that no registry takes: of placeholders there is the digest alone, without a lock."""
    problems = [
        Problem(f"--tag {tag}", "is not a tag", "letters, digits, '.', '_' and '-', at most 128; or {digest}")
        for tag, written in zip(tags, with_digest(tags, Digest.of(b"")), strict=True)
        if not is_tag(written)
    ]
    if problems:
        raise InvalidInput("the copy cannot be named so", problems)


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
    beside: Sequence[Beside] = ()
    _unchanged: list[str] = field(default_factory=list)
    _known: KnownLayers = field(default_factory=KnownLayers.here)

    def run(self) -> Copied:
        """Blobs, then manifests, then tags."""
        several = as_one(self.destinations, self.world)
        for one in self.destinations:
            several.attempt(one.name, partial(self._prepare, one, several))
        if several.alive:
            tally = Tally(self.world.emit)
            put_all(self._blobs(several), several, tally.emit, self.world.stop)
            for one in self.destinations:
                if one.name in several.alive:
                    self.world.emit(tally.summary(one.name, several.placed[one.name]))
                    remember(one, {layer.digest for layer in self._layers}, self._known)
        for one in self.destinations:
            if one.name in several.alive:
                several.attempt(one.name, partial(self._publish, one))
        for one in self.destinations:
            if one.name not in several.failed:
                several.attempt(one.name, partial(self._accompany, one))
        for one in self.destinations:
            if one.name in several.alive:
                several.attempt(one.name, partial(one.tag, self._top(one), self.world.done))
        reached = [one for one in self.destinations if one.name not in several.failed]
        digests = {name: self._top(one).digest for one in reached for name in self._names(one)}
        return Copied(digests, len(self._unchanged) == len(self.destinations), several.told)

    def _prepare(self, destination: Destination, several: Several) -> None:
        """Settles a destination that serves the image already; raises InvalidInput where a tag may not move."""
        tars = {one.digest: one.size for one in self._layers if as_oci(one.media_type) == OCI_LAYER}
        know_gzips(destination, tars, self._known)
        try:
            digest = self._top(destination).digest
        except KeyError:
            return
        there = destination.repository.digest(digest) is not None
        if destination.serves(digest) and there:
            several.settle(destination.name)
            self._unchanged.append(destination.name)

    def _blobs(self, several: Several) -> list[Blob]:
        """What moves: where nobody keeps the source's form, its attestations are left behind."""
        forms = {one.form for one in self.destinations if one.name in several.alive}
        kept = form_of(self.source.top) in forms
        moving = self.source if kept else replace(self.source, manifests=converted(self.source))
        return [replace(one, siblings=self._known.homes(Digest(one.key))) for one in moving.blobs]

    @property
    def _layers(self) -> list[Descriptor]:
        return [layer for manifest in self.source.manifests.values() for layer in manifest.layers]

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
        return list(manifests.values()), index_in(form, entries).document

    def _top(self, destination: Destination) -> Document:
        return self._documents(destination)[1]

    def _publish(self, destination: Destination) -> None:
        documents, top = self._documents(destination)
        for document in {one.digest: one for one in (*documents, top)}.values():
            destination.store.publish(document)
        if destination.immutable:
            destination.serves(top.digest)

    def _accompany(self, destination: Destination) -> None:
        """Before the tags: whoever finds the image there by its name finds its signature as well."""
        if not self.beside:
            return
        if destination.form != form_of(self.source.top):
            what = f"{destination.name} has the image in another form: nothing that was said or signed of it is copied"
            self.world.emit(Warned(what, "attest and sign it there"))
            return
        assert isinstance(self.source.store, Repository)
        try:
            left = copy_beside(self.beside, self.source.store, self.world.repository(destination.reference))
        except RegistryFailed as failure:
            what = f"what refers to the image could not be copied: {failure.what}"
            raise RegistryFailed(what, failure.problems, failure.hint or "leave it: --no-referrers") from None
        for one in left:
            what = f"{destination.name}:{one.tag} has signatures or documents of its own; they are kept"
            self.world.emit(Warned(what, "sign the image there again"))
        there = {one.document.digest for one in self.beside} - {one.document.digest for one in left}
        self.world.emit(Said(f"{destination.name}: {len(there)} documents beside the image"))

    def _names(self, destination: Destination) -> list[str]:
        """What the copy is called; only by its digest, where there is no tag."""
        tags = destination.tags_of(self._top(destination).digest)
        return [f"{destination.name}:{tag}" for tag in tags] or [destination.name]
