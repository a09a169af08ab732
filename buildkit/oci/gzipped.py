"""A store whose layers are gzips: what is put in as a tar arrives in Docker's form, read once and hashed both ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from buildkit.errors import ModelpackError
from buildkit.oci.form import needs_gzip, stored, stored_size
from buildkit.oci.hashed import hashed
from buildkit.oci.image import Blob, Pieces, Placed, Store
from buildkit.oci.manifest import DOCKER_LAYER_GZIP, LAYERS, Descriptor, Document
from buildkit.oci.reference import Digest


class Gzipping:
    """A Store in front of another. ``gzipped`` are the layers' gzips by the digest of their tar; it grows with every put."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.gzipped: dict[Digest, Descriptor] = {}

    def know(self, tar: Digest, gzipped: Mapping[Digest, Descriptor]) -> None:
        """Takes the gzip of a tar from another store of the same registry, unless one is known here."""
        if tar in gzipped:
            self.gzipped.setdefault(tar, gzipped[tar])

    def resolve(self, name: str) -> Document | None:
        """What the store behind has."""
        return self._store.resolve(name)

    def fetch(self, descriptor: Descriptor) -> Pieces:
        """A blob of the store behind, as it is there."""
        return self._store.fetch(descriptor)

    def put(self, blob: Blob, moved: Callable[[int], None]) -> Placed:
        """Puts a layer's gzip, anything else as it is; the digest that is returned is the tar's."""
        if blob.media_type not in LAYERS or not needs_gzip(blob.media_type):
            return self._store.put(blob, moved)
        size, passing = stored_size(blob.size), _Passing(blob)
        known = self.gzipped.get(blob.digest) if blob.digest else None
        digest = known.digest if known and known.size == size else None
        gzip = Blob(f"{blob.key} gzip", DOCKER_LAYER_GZIP, size, passing.open, digest, blob.title)
        # The origin has the tar. A sibling in this registry took the layer in the form that the registry takes.
        placed = self._store.put(replace(gzip, siblings=blob.siblings), moved)
        tar = passing.digest or blob.digest
        if tar is None:
            raise ModelpackError(f"{blob.title} was not read", hint="this is a fault of modelpack: please report it")
        self.gzipped[tar] = Descriptor(DOCKER_LAYER_GZIP, placed.digest, size)
        return Placed(tar, placed.outcome)

    def publish(self, document: Document, tag: str | None = None) -> None:
        """Publishes in the store behind."""
        self._store.publish(document, tag)


class _Passing:
    """A tar on its way into a gzip: its digest is known when all of it has passed."""

    def __init__(self, blob: Blob) -> None:
        self._blob = blob
        self.digest: Digest | None = None

    def open(self) -> Pieces:
        return stored(self._hashed())

    def _hashed(self) -> Pieces:
        opened = hashed(self._blob.open())
        try:
            yield from opened
        finally:
            opened.close()
        self._blob.prove(opened.digest)
        self.digest = opened.digest
