"""KServe's storage initializer reads layers itself: what it would stumble over is told without a cluster."""

from __future__ import annotations

import gzip
import io
import tarfile
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from buildkit.oci.image import Pieces
from buildkit.oci.manifest import (
    DOCKER_LAYER_GZIP,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    Descriptor,
    Manifest,
)
from buildkit.oci.reference import Digest
from buildkit.probe.containers import Engine, Served
from buildkit.probe.fetched import FetchedModel, tar_mode
from buildkit.probe.session import Session
from buildkit.probe.verdicts import Outcome

DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"


@dataclass
class Blobs:
    """A store that holds blobs and nothing else."""

    blobs: dict[Digest, bytes] = field(default_factory=dict)

    def fetch(self, descriptor: Descriptor) -> Pieces:
        content = self.blobs[descriptor.digest]
        yield from (content[index : index + 1000] for index in range(0, len(content), 1000))


def layer(*members: tarfile.TarInfo) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(bytes(member.size)))
    return stream.getvalue()


def member(name: str, *, type: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = type, link
    info.size = 5000 if type == tarfile.REGTYPE else 0
    return info


def outcomes(*layers: tuple[str, bytes]) -> dict[str, Outcome]:
    store = Blobs({Digest.of(content): content for _, content in layers})
    described = [Descriptor(media_type, Digest.of(content), len(content)) for media_type, content in layers]
    manifest = Manifest.write(Descriptor(OCI_CONFIG, Digest.of(b"{}"), 2), described, {})
    session = Session(cast(Engine, None), "image", Served(cast(Any, store), manifest))
    return {one.rule: one for one in FetchedModel().outcomes(session)}


def broken(found: dict[str, Outcome]) -> set[str]:
    return {rule for rule, one in found.items() if one.verdict == "failed"}


RIGHT = layer(member("models", type=tarfile.DIRTYPE), member("models/config.json"), member("models/1/model.onnx"))


@pytest.mark.parametrize(
    ("media_type", "content"),
    [(OCI_LAYER, RIGHT), (OCI_LAYER_GZIP, gzip.compress(RIGHT)), (DOCKER_LAYER_GZIP, gzip.compress(RIGHT))],
)
def test_what_the_initializer_reads_breaks_nothing(media_type: str, content: bytes) -> None:
    """The three forms that it knows must pass."""
    found = outcomes((media_type, content))
    assert broken(found) == set()
    assert found["KS-01"].answer == "2 files"


@pytest.mark.parametrize("media_type", [OCI_LAYER_ZSTD, DOCKER_LAYER])
def test_a_layer_that_it_does_not_read_is_told(media_type: str) -> None:
    """zstd ends the pod, and an uncompressed docker layer is left out without a word."""
    assert tar_mode(media_type) is None
    assert broken(outcomes((media_type, RIGHT))) == {"KS-08", "KS-01"}


def test_a_layer_that_is_not_what_it_says_is_told() -> None:
    """A damaged or mislabelled layer fails in the cluster with a traceback."""
    assert "KS-08" in broken(outcomes((OCI_LAYER_GZIP, RIGHT)))


def test_names_with_a_dot_are_told() -> None:
    """The initializer compares names as they are written: ./models/ is not models/."""
    assert broken(outcomes((OCI_LAYER, layer(member("./models/config.json"))))) == {"KS-07", "KS-01"}


@pytest.mark.parametrize(
    "wrong",
    [
        member("models/a", type=tarfile.SYMTYPE, link="/etc/passwd"),
        member("models/a", type=tarfile.SYMTYPE, link="../../outside"),
        member("models/a", type=tarfile.CHRTYPE),
    ],
)
def test_links_out_and_devices_are_told(wrong: tarfile.TarInfo) -> None:
    """tarfile's data filter raises in the initializer, and the pod never starts."""
    assert broken(outcomes((OCI_LAYER, layer(member("models/config.json"), wrong)))) == {"KS-09"}


def test_an_image_without_a_model_is_told() -> None:
    """Nothing under models/ is an empty folder in the pod."""
    assert broken(outcomes((OCI_LAYER, layer(member("etc/passwd"))))) == {"KS-01"}


def test_an_image_that_only_the_engine_has_is_not_judged() -> None:
    """Its layers' media types are not known, so that nothing may be claimed."""
    session = Session(cast(Engine, None), "image")
    assert {one.verdict for one in FetchedModel().outcomes(session)} == {"not asked"}
