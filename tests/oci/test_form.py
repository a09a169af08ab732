"""Docker's form: if these fail, an image that podman reads in one form is another, or none, in the other."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit.errors import InvalidInput, ModelpackError
from buildkit.oci.form import form_of, manifest_in, needs_gzip, stored, stored_size
from buildkit.oci.gzipped import Gzipping
from buildkit.oci.image import Blob, Image, Layer
from buildkit.oci.layout import Layout
from buildkit.oci.manifest import (
    DOCKER_CONFIG,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    ImageConfig,
    Manifest,
)
from buildkit.oci.reference import Digest, Platform

AMD64 = Platform("linux", "amd64")
BLOCK = 65535


def cut(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    at = 0
    for size in sizes:
        yield data[at : at + size]
        at += size
    yield data[at:]


@given(
    st.sampled_from([0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK + 7, 400_000]),
    st.lists(st.integers(0, 100_000), max_size=8),
)
def test_a_stored_gzip_is_a_gzip_whatever_the_pieces_are(size: int, sizes: list[int]) -> None:
    """A layer's digest would depend on how a network cut its pieces, or its announced size would be wrong."""
    data = bytes(index * 7 % 251 for index in range(1000)) * (size // 1000 + 1)
    data = data[:size]
    packed = b"".join(stored(cut(data, sizes)))
    assert gzip.decompress(packed) == data
    assert len(packed) == stored_size(size)
    assert packed == b"".join(stored(iter([data])))
    assert packed[3:10] == b"\0\0\0\0\0\0\xff", "a name or a clock is in the header"


def put(gzipping: Gzipping, data: bytes, media_type: str = OCI_LAYER, known: bytes | None = None) -> Digest:
    blob = Blob("layer", media_type, len(data), lambda: iter((data,)), Digest.of(known) if known else None, "a layer")
    return gzipping.put(blob, lambda amount: None).digest


def test_a_layer_is_hashed_both_ways(tmp_path: Path) -> None:
    """The config names the tar, the manifest the gzip: mixed up, no runtime unpacks the image."""
    layout = Layout(tmp_path / "layout")
    gzipping = Gzipping(layout)
    data = b"a tar" * 50_000
    assert put(gzipping, data) == Digest.of(data)
    described = gzipping.gzipped[Digest.of(data)]
    assert gzip.decompress(layout.path(described.digest).read_bytes()) == data
    assert described.size == layout.path(described.digest).stat().st_size
    assert put(gzipping, data, OCI_LAYER_GZIP) == Digest.of(data), "what is a gzip already is not packed again"


def test_a_known_gzip_is_not_read_again(tmp_path: Path) -> None:
    """A second push of a large model in Docker's form would download it all."""
    layout = Layout(tmp_path / "layout")
    gzipping = Gzipping(layout)
    data = b"a tar" * 1000
    put(gzipping, data)

    def forbidden() -> Iterator[bytes]:
        raise AssertionError("the source was read")

    known = Blob("layer", OCI_LAYER, len(data), forbidden, Digest.of(data), "a layer")
    assert gzipping.put(known, lambda amount: None).outcome == "exists"


def test_other_bytes_than_the_lock_says_are_refused(tmp_path: Path) -> None:
    """A wrong layer must not slip in because it is packed."""
    with pytest.raises(ModelpackError, match="but the lock says"):
        put(Gzipping(Layout(tmp_path / "layout")), b"these", known=b"those")


def test_both_forms_are_one_image(tmp_path: Path) -> None:
    """The two forms must share their config, and going there and back must lose no layer."""
    data = b"a tar" * 1000
    gzipping = Gzipping(Layout(tmp_path / "layout"))
    digest = put(gzipping, data)
    base = gzip.compress(b"base", mtime=0)
    config = {key: value for key, value in ImageConfig.empty(AMD64).content.items() if key != "rootfs"}
    layers = (
        Layer(Blob("base", OCI_LAYER_GZIP, len(base), lambda: iter((base,)), Digest.of(base)), Digest.of(b"base")),
        Layer(Blob("own", OCI_LAYER, len(data), lambda: iter((data,)), digest), annotations={"a": "b"}),
    )
    sealed = Image(AMD64, config, layers, {"title": "x"}).seal()
    docker = manifest_in("docker", sealed.manifest, gzipping.gzipped)
    assert form_of(docker.document) == "docker"
    assert docker.document.media_type == DOCKER_MANIFEST
    assert b"annotations" not in docker.document.raw
    assert [one.media_type for one in docker.layers] == [DOCKER_LAYER_GZIP] * 2
    assert (docker.config.media_type, docker.config.digest) == (DOCKER_CONFIG, sealed.manifest.config.digest)
    assert Manifest.read(docker.document).layers == docker.layers
    back = manifest_in("oci", docker, {})
    assert [one.media_type for one in back.layers] == [OCI_LAYER_GZIP] * 2
    assert [one.digest for one in back.layers] == [one.digest for one in docker.layers]
    assert manifest_in("oci", sealed.manifest, {}) is sealed.manifest


def test_a_layer_without_a_name_in_dockers_form_is_refused() -> None:
    """A zstd layer under gzip's name breaks the pull, not the push."""
    with pytest.raises(InvalidInput, match="v2s2"):
        needs_gzip(OCI_LAYER_ZSTD)
