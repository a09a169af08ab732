"""The one loop that moves blobs: what an image consists of is put into a store, then its manifests are published."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from buildkit.events import Began, Emit, Ended, Moved
from buildkit.machine.parallel import Stop, each
from buildkit.oci.form import Form, index_in, manifest_in
from buildkit.oci.image import Blob, Image, Sealed, Store, Taking
from buildkit.oci.manifest import Descriptor, Document
from buildkit.oci.reference import Digest, Platform

JOBS = 4
"""Blobs that move at the same time."""


@dataclass(frozen=True)
class Sealing:
    """An image with all its digests, for every platform: one manifest, or an index over several."""

    images: Mapping[Platform, Sealed]
    document: Document

    @property
    def digest(self) -> Digest:
        """What a tag points to."""
        return self.document.digest


Learned = Callable[[str, Digest], None]
"""Told a blob's key and digest as soon as the blob is in its place."""


def place(
    images: Sequence[Image],
    store: Taking,
    emit: Emit,
    stop: Stop,
    jobs: int = JOBS,
    learned: Learned = lambda key, digest: None,
) -> list[Image]:
    """Puts every layer into the store, each once, and returns the images with all their digests known."""
    placed = put_all([layer.blob for image in images for layer in image.layers], store, emit, stop, jobs, learned)
    return [image.knowing(placed) for image in images]


def put_all(
    blobs: Sequence[Blob],
    store: Taking,
    emit: Emit,
    stop: Stop,
    jobs: int = JOBS,
    learned: Learned = lambda key, digest: None,
) -> dict[str, Digest]:
    """Puts blobs, several at a time and each once; returns their digests by key. Large ones begin first."""
    distinct = sorted({blob.key: blob for blob in blobs}.values(), key=lambda blob: -blob.size)

    def put(blob: Blob) -> tuple[str, Digest]:
        digest = put_watched(blob, store, emit, stop)
        if blob.digest is None:
            learned(blob.key, digest)
        return blob.key, digest

    return dict(each(distinct, put, jobs, stop))


def put_watched(blob: Blob, store: Taking, emit: Emit, stop: Stop) -> Digest:
    """Puts one blob, telling ``emit`` how it goes, and gives up between two pieces when ``stop`` says so."""
    stop.check()
    emit(Began(blob.key, blob.title or blob.key[:19], blob.size))

    def moved(amount: int) -> None:
        stop.check()
        emit(Moved(blob.key, amount))

    try:
        placed = store.put(blob, moved)
    except BaseException:
        emit(Ended(blob.key, "failed"))
        raise
    emit(Ended(blob.key, placed.outcome))
    return placed.digest


def seal(images: Sequence[Image]) -> Sealing:
    """Writes the manifests of images whose digests are all known, and the index where there are several platforms."""
    return _sealing({image.platform: image.seal() for image in images}, "oci")


def in_form(sealing: Sealing, form: Form, gzipped: Mapping[Digest, Descriptor]) -> Sealing:
    """The same image with its manifests in a form; ``gzipped`` as for :func:`buildkit.oci.form.manifest_in`, or KeyError."""
    if form == "oci":
        return sealing
    sealed = {
        platform: Sealed(manifest_in(form, one.manifest, gzipped), one.config)
        for platform, one in sealing.images.items()
    }
    return _sealing(sealed, form)


def _sealing(sealed: Mapping[Platform, Sealed], form: Form) -> Sealing:
    if len(sealed) == 1:
        return Sealing(sealed, next(iter(sealed.values())).manifest.document)
    descriptors = [one.manifest.document.descriptor(platform) for platform, one in sorted(sealed.items())]
    return Sealing(sealed, index_in(form, descriptors).document)


def publish(
    sealing: Sealing, store: Store, tags: Sequence[str], before_tags: Callable[[], None] = lambda: None
) -> None:
    """Stores configs, then manifests by digest, then moves the tags: a run that ends early leaves no tag."""
    publish_untagged(sealing, store)
    before_tags()
    for tag in tags:
        store.publish(sealing.document, tag)


def publish_untagged(sealing: Sealing, store: Store) -> None:
    """Stores configs, then manifests by digest: everything but the tags."""
    for sealed in sealing.images.values():
        store.put(sealed.config, lambda amount: None)
    manifests = [sealed.manifest.document for sealed in sealing.images.values()]
    for document in manifests if sealing.document in manifests else (*manifests, sealing.document):
        store.publish(document)
