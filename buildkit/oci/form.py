"""The two forms of a manifest: OCI, and Docker's image manifest version 2, schema 2. Configs and files are the same in both.

In Docker's form a layer is a gzip. Weights do not shrink, so that it is written with stored blocks (RFC 1951, 3.2.4): no
compressor decides the bytes, a layer's size is known before its first byte, and its digest is the same on every machine.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from buildkit.errors import InvalidInput
from buildkit.oci.manifest import (
    DOCKER_CONFIG,
    DOCKER_INDEX,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    INDEXES,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    Descriptor,
    Document,
    Index,
    Manifest,
    as_oci,
    canonical,
)
from buildkit.oci.reference import Digest

Form = Literal["oci", "docker"]
FORMS: tuple[Form, ...] = ("oci", "docker")

_STORED = 65535
"""Bytes of a stored block at most (RFC 1951, 3.2.4)."""
_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""RFC 1952: deflate, no name, no time, unknown system."""


def form_of(document: Document) -> Form:
    """The form that a manifest or index is written in."""
    return "docker" if document.media_type in (DOCKER_MANIFEST, DOCKER_INDEX) else "oci"


def stored_size(size: int) -> int:
    """Bytes of the gzip that :func:`stored` makes of ``size`` bytes."""
    blocks = max(1, -(-size // _STORED))
    return len(_HEADER) + size + 5 * blocks + 8


def stored(pieces: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    """Yields a gzip of the pieces, in stored blocks: a pure function of their bytes, however they are cut."""
    yield _HEADER
    checksum, size, waiting = 0, 0, bytearray()
    for piece in pieces:
        checksum, size = zlib.crc32(piece, checksum), size + len(piece)
        waiting += piece
        # One block always waits: only at the end it is known which is the last.
        full = (len(waiting) - 1) // _STORED * _STORED if waiting else 0
        if full > 0:
            with memoryview(waiting) as view:
                yield b"".join(_block(view[at : at + _STORED], False) for at in range(0, full, _STORED))
            del waiting[:full]
    yield _block(waiting, True) + checksum.to_bytes(4, "little") + (size % 2**32).to_bytes(4, "little")


def _block(data: bytes | bytearray | memoryview, last: bool) -> bytes:
    length = len(data)
    return b"".join(
        (b"\x01" if last else b"\x00", length.to_bytes(2, "little"), (length ^ 0xFFFF).to_bytes(2, "little"), data)
    )


def needs_gzip(media_type: str) -> bool:
    """Whether a layer has to be put into a gzip for Docker's form; raises InvalidInput where there is no name for it."""
    kind = as_oci(media_type)
    if kind not in (OCI_LAYER, OCI_LAYER_GZIP):
        raise InvalidInput(
            f"a layer of the type {media_type[:100]} cannot stand in a Docker manifest (v2s2)",
            hint="use --manifest-format oci, or a base whose layers are gzip or not compressed",
        )
    return kind == OCI_LAYER


def manifest_in(form: Form, manifest: Manifest, gzipped: Mapping[Digest, Descriptor]) -> Manifest:
    """The same image with its manifest in another form; the manifest itself where it is in that form already.

    ``gzipped`` are the layers that became a gzip, by the digest of their tar. Docker's form holds no annotations.
    """
    if form_of(manifest.document) == form:
        return manifest
    if form == "oci":
        config = Descriptor(OCI_CONFIG, manifest.config.digest, manifest.config.size)
        layers = [Descriptor(as_oci(one.media_type), one.digest, one.size, one.annotations) for one in manifest.layers]
        return Manifest.write(config, layers, manifest.annotations)
    config = Descriptor(DOCKER_CONFIG, manifest.config.digest, manifest.config.size)
    layers = [
        gzipped[one.digest] if needs_gzip(one.media_type) else Descriptor(DOCKER_LAYER_GZIP, one.digest, one.size)
        for one in manifest.layers
    ]
    written = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": config.document(),
        "layers": [layer.document() for layer in layers],
    }
    return Manifest(Document(DOCKER_MANIFEST, canonical(written)), config, tuple(layers), {})


def index_in(form: Form, manifests: Iterable[Descriptor]) -> Index:
    """An index (Docker: manifest list) over manifests of one form."""
    if form == "oci":
        return Index.write(manifests)
    manifests = tuple(manifests)
    content: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": DOCKER_INDEX,
        "manifests": [manifest.document() for manifest in manifests],
    }
    return Index(Document(DOCKER_INDEX, canonical(content)), manifests)


def is_index(document: Document) -> bool:
    """Whether a document is an index or a manifest list."""
    return document.media_type in INDEXES
