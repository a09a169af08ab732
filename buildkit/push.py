"""Where a built image goes: a registry, a layout, an archive, or nowhere but into the lock."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Protocol, cast

from buildkit.cache import cache_folder
from buildkit.errors import InvalidInput, Problem, RegistryFailed
from buildkit.known import KnownLayers
from buildkit.oci.archive import Archive
from buildkit.oci.copy import JOBS, Sealing, place, publish, seal
from buildkit.oci.image import Blob, Image, Pieces, Placed, Store
from buildkit.oci.layout import Layout
from buildkit.oci.manifest import INDEXES, Descriptor, Document, Index, Manifest
from buildkit.oci.reference import Digest, Reference
from buildkit.plan import KEY
from buildkit.registries.profiles import check, profile_of
from buildkit.spec import Spec
from buildkit.tally import Tally, forecast
from buildkit.world import World

Form = Literal["oci", "oci-archive", "docker-archive"]


@dataclass(frozen=True)
class Delivered:
    """An image where it was asked to be: every name it now has, its manifests, and whether it was there before."""

    references: tuple[str, ...]
    sealing: Sealing
    images: tuple[Image, ...]
    unchanged: bool = False


class Recorder(Protocol):
    """Takes down what is about to be true. What it raises ends a push before its first tag."""

    def expect(self, images: Sequence[Image], references: Sequence[str] = ()) -> None:
        """Called before anything moves."""

    def stage(self, sealing: Sealing, images: Sequence[Image], references: Sequence[str] = ()) -> None:
        """Called when everything but the tags is in place."""


def deliver(
    images: Sequence[Image], spec: Spec, registry: str | None, output: Output | None, world: World, record: Recorder
) -> Delivered:
    """Brings images to an output, a registry, both, or neither, and has the result recorded."""
    record.expect(images)
    written = None
    if output:
        written = export(images, output, spec.name, spec.tags, world)
        images = written.images
    if registry is not None:
        target = world.settings.registry(registry)
        check(images, profile_of(target.host, target.type))
        return push(images, target.repository(spec.name), spec.tags, world, record)
    delivered = written or measure(images, spec.name, spec.tags, world)
    record.stage(delivered.sealing, delivered.images)
    return delivered


def push(
    images: Sequence[Image], repository: Reference, tags: Sequence[str], world: World, record: Recorder
) -> Delivered:
    """Puts images into a registry: blobs first, manifests then, tags last; and asks for what the tags serve.

    Where every tag already serves this very image nothing is sent.
    """
    store = world.repository(repository)
    references = tuple(f"{repository.name}:{tag}" for tag in tags)
    record.expect(images, references)
    known = KnownLayers(cache_folder() / "layers")
    images = _recognised(images, known, store, tags[0])
    if all(image.is_known for image in images):
        sealing = seal(images)
        if all((served := store.resolve(tag)) and served.digest == sealing.digest for tag in tags):
            record.stage(sealing, images, references)
            return Delivered(references, sealing, tuple(images), unchanged=True)
    world.emit(forecast(repository.name, images))
    tally = Tally(world.emit)
    placed = place(images, store, tally.emit, world.stop, learned=known.learn)
    world.emit(tally.summary(repository.name))
    sealing = seal(placed)
    publish(sealing, store, tags, lambda: record.stage(sealing, placed, references))
    _check_served(store, repository, tags, sealing.digest)
    return Delivered(references, sealing, tuple(placed))


def _recognised(images: Sequence[Image], known: KnownLayers, store: Store, tag: str) -> list[Image]:
    """Images with the digests that this machine or the registry still knows, where the lock does not."""
    unknown = [layer.blob.key for image in images for layer in image.layers if not layer.blob.digest]
    if not unknown:
        return list(images)
    learned = {**remembered(store, tag), **known.of(unknown)}
    return [image.knowing(learned) for image in images]


def remembered(store: Store, tag: str) -> dict[str, Digest]:
    """Layers by what decided them, as a pushed image's manifest tells: a lock that was lost costs no upload.

    Whoever can write to the repository could put another image there as well, so that this trusts nobody anew.
    """
    document = store.resolve(tag)
    manifests = _manifests(document, store) if document else []
    layers = [layer for manifest in manifests for layer in manifest.layers]
    return {layer.annotations[KEY]: layer.digest for layer in layers if KEY in layer.annotations}


def _manifests(document: Document, store: Store) -> list[Manifest]:
    if document.media_type not in INDEXES:
        return [Manifest.read(document)]
    found = [store.resolve(entry.digest) for entry in Index.read(document).manifests]
    return [Manifest.read(one) for one in found if one]


def export(images: Sequence[Image], output: Output, name: str, tags: Sequence[str], world: World) -> Delivered:
    """Writes the images into a layout folder or an archive."""
    if output.form == "oci":
        return _stored(images, Layout(output.path), name, tags, world, JOBS)
    if output.form == "docker-archive" and len(images) > 1:
        raise InvalidInput("a docker-archive holds one platform", hint="use --output oci-archive:FILE, or one platform")
    archive = Archive(output.path, output.form, name)
    try:
        delivered = _stored(images, archive, name, tags, world, jobs=1)
        archive.close()
    finally:
        archive.discard()
    return delivered


def measure(images: Sequence[Image], name: str, tags: Sequence[str], world: World) -> Delivered:
    """Learns the digests of the images and puts them nowhere."""
    placed = place(images, _Nowhere(), world.emit, world.stop)
    return Delivered(tuple(f"{name}:{tag}" for tag in tags), seal(placed), tuple(placed))


@dataclass(frozen=True)
class Output:
    """Where ``--output`` writes: ``oci:DIR``, ``oci-archive:FILE`` or ``docker-archive:FILE``."""

    form: Form
    path: Path

    FORMS: ClassVar = ("oci", "oci-archive", "docker-archive")

    @classmethod
    def parse(cls, text: str) -> Output:
        """Reads the option; raises InvalidInput."""
        form, colon, name = text.partition(":")
        if form not in cls.FORMS or not colon or not name:
            raise InvalidInput(
                f"{text!r} is no output",
                [Problem("--output", "it must say what is written and where")],
                hint="oci:DIR, oci-archive:FILE or docker-archive:FILE",
            )
        path = Path(name)
        if form == "oci" and path.exists() and not path.is_dir():
            raise InvalidInput(
                f"{path} is not a folder", hint="an OCI layout is a folder; for a file use oci-archive:FILE"
            )
        if form != "oci" and path.exists() and not path.is_file():
            raise InvalidInput(f"{path} is not a file", hint=f"name a file that {form} may write")
        # A link is written through, and never replaced.
        return cls(cast(Form, form), path.resolve())


def _stored(
    images: Sequence[Image], store: Store, name: str, tags: Sequence[str], world: World, jobs: int
) -> Delivered:
    placed = place(images, store, world.emit, world.stop, jobs)
    sealing = seal(placed)
    publish(sealing, store, tags)
    return Delivered(tuple(f"{name}:{tag}" for tag in tags), sealing, tuple(placed))


def _check_served(store: Store, repository: Reference, tags: Sequence[str], digest: Digest) -> None:
    for tag in tags:
        served = store.resolve(tag)
        if served is None or served.digest != digest:
            found = served.digest if served else "nothing"
            raise RegistryFailed(f"{repository.name}:{tag} was pushed as {digest}, but the registry serves {found}")


class _Nowhere:
    """A store that keeps nothing: it only learns digests."""

    def resolve(self, name: str) -> Document | None:
        return None

    def fetch(self, descriptor: Descriptor) -> Pieces:
        raise NotImplementedError("nothing is kept here")

    def put(self, blob: Blob, moved: Callable[[int], None]) -> Placed:
        if blob.digest:
            return Placed(blob.digest, "exists")
        hashed = hashlib.sha256()
        for piece in blob.open():
            hashed.update(piece)
            moved(len(piece))
        return Placed(Digest(f"sha256:{hashed.hexdigest()}"), "hashed")

    def publish(self, document: Document, tag: str | None = None) -> None:
        return None
