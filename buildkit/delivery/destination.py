"""Where an image goes: a repository with the form that its registry takes, the tags there, and whether they may move."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from buildkit.done import Done
from buildkit.errors import InvalidInput, Problem, RegistryFailed, TagUnconfirmed
from buildkit.lockfile.known import KnownLayers
from buildkit.oci.form import Form, form_of, stored_size
from buildkit.oci.gzipped import Gzipping
from buildkit.oci.image import Image, Store
from buildkit.oci.manifest import DOCKER_LAYER_GZIP, Descriptor, Document, Manifest, manifests_of
from buildkit.oci.reference import Digest, Reference
from buildkit.oci.several import Several
from buildkit.oci.whole import config_of
from buildkit.registries.client import Repository
from buildkit.registries.limits import check
from buildkit.tags import fixed, with_digest
from buildkit.world import World


@dataclass(frozen=True)
class Wish:
    """What is wanted of every destination: the repository's last part, tags, the form where one was asked for."""

    name: str
    tags: tuple[str, ...]
    form: Form | None = None
    immutable: bool = False


@dataclass(frozen=True)
class Destination:
    """A repository that an image goes to. ``tags`` may hold ``{digest}``; ``store`` takes layers as they are built."""

    reference: Reference
    form: Form
    tags: tuple[str, ...]
    immutable: bool
    repository: Repository
    store: Store
    gzipped: dict[Digest, Descriptor] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What the destination is called in messages, and told apart by."""
        return self.reference.name

    @property
    def references(self) -> tuple[str, ...]:
        """The names that are known before the image is."""
        return tuple(f"{self.name}:{tag}" for tag in fixed(self.tags))

    def tags_of(self, digest: Digest) -> tuple[str, ...]:
        """The tags for an image."""
        return with_digest(self.tags, digest)

    def serves(self, digest: Digest) -> bool:
        """Whether every tag is on this image already; raises InvalidInput where one is not and may not be moved.

        What the registry does not tell is another image: it is about to be replaced. Where it may not be, RegistryFailed.
        """
        found = {tag: self._served(tag) for tag in self.tags_of(digest)}
        moving = {tag: served for tag, served in found.items() if served != digest}
        if self.immutable:
            self._refuse({tag: served for tag, served in moving.items() if served}, digest)
        return not moving

    def keeps(self, images: Sequence[Image]) -> None:
        """Raises InvalidInput where a tag that may not move is on what these images cannot be, whatever they hash to.

        Told before a byte is sent. What only the bytes can tell, and what Docker's manifests do not, ``serves`` tells later.
        """
        for tag in fixed(self.tags) if self.immutable and self.form == "oci" else ():
            there = legible(self.store, tag)
            if there and not all(any(_may_be(image, manifest) for manifest in there) for image in images):
                raise _may_not_move([Problem(f"{self.name}:{tag}", "is an image with other layers")])

    def tag(self, document: Document, done: Done) -> None:
        """Moves every tag that is not on the image yet, notes each in ``done``, and asks what all of them serve.

        Raises RegistryFailed where one is refused, and says which moved before it, and whether this one may have.
        """
        moved: list[str] = []
        for name, tag in ((f"{self.name}:{tag}", tag) for tag in self.tags_of(document.digest)):
            try:
                # A registry whose tags never move may refuse even the manifest that a tag is on.
                if self._served(tag) == document.digest:
                    continue
                with done.tagging(name, document.digest):
                    self.store.publish(document, tag)
            except TagUnconfirmed as failure:
                raise _after(moved, failure, f"{name} {done.noted[name]}") from None
            except RegistryFailed as failure:
                raise _after(moved, failure) from None
            moved.append(name)
        try:
            self._check_served(document.digest)
        except RegistryFailed as failure:
            raise _after(moved, failure) from None

    def _check_served(self, digest: Digest) -> None:
        for tag in self.tags_of(digest):
            served = self.repository.digest(tag)
            if served != digest:
                found = served or "nothing"
                raise RegistryFailed(f"{self.name}:{tag} was pushed as {digest}, but the registry serves {found}")

    def _served(self, tag: str) -> Digest | None:
        """Asked by HEAD: Harbor gives nobody a vulnerable image (412), but tells its digest."""
        try:
            return self.repository.digest(tag)
        except RegistryFailed:
            if self.immutable:
                raise
            return None

    def _refuse(self, moving: dict[str, Digest], digest: Digest) -> None:
        if moving:
            raise _may_not_move(
                [Problem(f"{self.name}:{tag}", f"is {there}, not {digest}") for tag, there in moving.items()]
            )


def _may_not_move(problems: Sequence[Problem]) -> InvalidInput:
    hint = "push under another tag"
    return InvalidInput("a tag would move, and 'immutable: true' says that none may", problems, hint=hint)


def _may_be(image: Image, manifest: Manifest) -> bool:
    """Whether a manifest can be an image's, some digests of which are not known: what decided a layer stands beside it."""
    pairs = list(zip(image.layers, manifest.layers, strict=False))
    alike = all(layer.descriptor(layer.blob.digest or there.digest) == there for layer, there in pairs)
    return alike and len(image.layers) == len(manifest.layers)


def _after(moved: Sequence[str], failure: RegistryFailed, unsure: str = "") -> RegistryFailed:
    told = [failure.what, *([unsure] if unsure else []), *([f"moved before that: {', '.join(moved)}"] if moved else [])]
    return type(failure)("; ".join(told), failure.problems, failure.hint)


def open_destinations(
    registries: Sequence[str], wish: Wish, images: Sequence[Image], world: World
) -> list[Destination]:
    """The destinations that registries' names mean; raises InvalidInput with what any of them would refuse."""
    opened: dict[str, Destination] = {}
    for registry in registries:
        destination = _open(registry, wish, images, world)
        opened.setdefault(destination.name, destination)
    return list(opened.values())


def _open(registry: str, wish: Wish, images: Sequence[Image], world: World) -> Destination:
    target = world.settings.registry(registry)
    reference = target.repository(wish.name)
    form = check(images, world.profile(target.host), wish.form)
    world.check_login(reference)
    immutable = wish.immutable or target.immutable
    repository = world.repository(reference)
    if form == "oci":
        return Destination(reference, form, wish.tags, immutable, repository, repository)
    gzipping = Gzipping(repository)
    return Destination(reference, form, wish.tags, immutable, repository, gzipping, gzipping.gzipped)


def legible(store: Store, name: str) -> list[Manifest]:
    """The manifests of the image under a tag; none where there is no image, or the registry keeps it to itself.

    It only saves bytes to know them, and the push that is under way may be what replaces something that nobody can read.
    """
    try:
        document = store.resolve(name)
        return manifests_of(document, store.resolve) if document else []
    except (InvalidInput, RegistryFailed):
        return []


def served_gzips(destination: Destination) -> dict[Digest, Descriptor]:
    """The gzips of layers that a destination serves already, by the digest of their tar, as its image's config tells."""
    if destination.form == "oci" or not fixed(destination.tags):
        return {}
    found: dict[Digest, Descriptor] = {}
    for manifest in legible(destination.store, fixed(destination.tags)[0]):
        if form_of(manifest.document) == "docker":
            with contextlib.suppress(InvalidInput, RegistryFailed):
                config = config_of(manifest, destination.store, destination.name)
                found.update(zip(config.diff_ids, manifest.layers, strict=False))
    return found


def as_one(destinations: Sequence[Destination], world: World) -> Several:
    """The destinations as one place; where a registry mounts layers, each goes to the first of its repositories alone."""
    mounting = [one for one in destinations if world.profile(one.reference.host).mounts]
    return Several({one.name: one.store for one in destinations}, {one.name: one.reference for one in mounting})


def know_gzips(destination: Destination, tars: Mapping[Digest, int], known: KnownLayers) -> None:
    """Takes the gzips of layers, by digest and size of their tars, that the destination serves or this machine made once."""
    if destination.form == "oci" or not tars:
        return
    served = served_gzips(destination)
    for tar, size in tars.items():
        if tar in served and fits(served[tar], size):
            destination.gzipped[tar] = served[tar]
        elif digest := known.gzip(tar):
            destination.gzipped[tar] = Descriptor(DOCKER_LAYER_GZIP, digest, stored_size(size))


def remember(destination: Destination, layers: Iterable[Digest], known: KnownLayers) -> None:
    """Remembers on this machine that a destination took layers, and what became of them there."""
    for digest in layers:
        known.took(digest, destination.reference)
    for tar, gzip in destination.gzipped.items():
        known.learn_gzip(tar, gzip.digest)


def fits(descriptor: Descriptor, size: int) -> bool:
    """Whether a gzip can be ours of a tar with ``size`` bytes: another tool's would have another size."""
    return descriptor.size == stored_size(size)
