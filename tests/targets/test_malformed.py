"""Images that nobody's tool writes: if these fail, a stranger's image ends a command as a fault of our own."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from buildkit.checks.examine import examine
from buildkit.errors import InvalidInput
from buildkit.inspect import look
from buildkit.judging.images import check_image
from tests.fakes.registry import Registry
from tests.targets.drafts import OVMS, VLLM, model, write
from tests.targets.test_examine import pushed, world

DEEP = b"[" * 100_000
"""JSON that is nested deeper than Python reads it."""


def test_an_index_of_shards_that_is_nested_without_end_is_a_finding(tmp_path: Path) -> None:
    """One file of a stranger's model keeps everything else of it from being judged."""
    image = write(VLLM.with_(model("model.safetensors.index.json", DEEP)), tmp_path)
    found, _ = check_image(image, world(tmp_path), ["kserve"])
    assert "KS-13" in {one.rule.id for one in found[0].findings}


@pytest.mark.parametrize("history", [["a"], {"a": 1}, 5])
def test_a_history_that_is_none_is_refused(tmp_path: Path, history: object) -> None:
    """An image with such a history cannot be looked at, and a build makes another one like it from it."""
    image = write(replace(OVMS, odd_config={"history": history}), tmp_path)
    for read in (look, examine):
        with pytest.raises(InvalidInput, match="no valid history"):
            read(image, world(tmp_path))


@pytest.mark.parametrize("size", [10**400, 1 << 61, -1, 1.5, True, "7", None], ids=range(7))
def test_a_size_that_no_file_has_is_refused(tmp_path: Path, size: object) -> None:
    """What a manifest says of a layer is added up and shown, and one huge number ends every command that looks at it."""
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": "sha256:" + "0" * 64, "size": size}
    image = write(replace(OVMS, odd_manifest={"layers": [layer]}), tmp_path)
    for read in (look, examine):
        with pytest.raises(InvalidInput, match="is not a blob's number of bytes"):
            read(image, world(tmp_path))


@pytest.mark.parametrize(
    ("value", "what"), [("\ud800", "text that is not Unicode"), (float("nan"), "a number that JSON cannot hold")]
)
def test_a_config_that_cannot_be_written_again_is_refused(tmp_path: Path, value: object, what: str) -> None:
    """A build upon such a base ends after the whole model was sent, or makes an image that no runtime reads."""
    image = write(replace(OVMS, odd_config={"x": value}), tmp_path)
    with pytest.raises(InvalidInput, match=f"the image config has {what}"):
        look(image, world(tmp_path))


def test_a_huge_config_is_refused_before_it_is_fetched(tmp_path: Path) -> None:
    """A manifest of a few bytes makes who looks at the image take a terabyte into memory."""
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", "size": 1 << 40}
    with Registry() as registry:
        config["digest"] = registry.put_blob("models/x", b"{}")
        image = pushed(registry, replace(OVMS, odd_manifest={"config": config}), tmp_path)
        for read in (look, examine):
            with pytest.raises(InvalidInput, match=r"the image config of .* has more than 4194304 bytes"):
                read(image, world(tmp_path))
        assert not [one for one in registry.requests if "/blobs/" in one.path]


def test_a_config_that_is_larger_than_it_is_said_to_be_is_left(tmp_path: Path) -> None:
    """The same in a folder, where a file may have any size whatever the manifest says."""
    image = write(OVMS, tmp_path)
    blobs = {path: path.stat().st_size for path in (tmp_path / "blobs" / "sha256").iterdir()}
    config = next(path for path in blobs if b"diff_ids" in path.read_bytes()[:1000])
    with config.open("r+b") as file:
        file.truncate(1 << 34)
    with pytest.raises(InvalidInput, match=r"the image config of .* has more than 4194304 bytes"):
        look(image, world(tmp_path))


LAYER = b"\0" * 1024
CONFIG = {"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": ["sha256:" + "0" * 64]}}
SAVED = {"Config": "c.json", "RepoTags": ["x:v1"], "Layers": ["l.tar"]}


def archive(path: Path, listed: object, config: object = CONFIG) -> str:
    """What ``docker save`` writes, but with this ``manifest.json`` and this config."""
    parts = {"manifest.json": listed, "c.json": config, "l.tar": LAYER}
    with tarfile.open(path / "x.tar", "w") as tar:
        for name, part in parts.items():
            raw = part if isinstance(part, bytes) else json.dumps(part).encode()
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            tar.addfile(info, io.BytesIO(raw))
    return f"docker-archive:{path / 'x.tar'}"


def rooted(diff_ids: object) -> Mapping[str, object]:
    return {**CONFIG, "rootfs": {"diff_ids": diff_ids}}


@pytest.mark.parametrize(
    ("listed", "config", "what"),
    [
        (b"{", CONFIG, "manifest.json is not JSON"),
        (DEEP, CONFIG, "manifest.json is not JSON"),
        ({"a": 1}, CONFIG, "manifest.json lists no image"),
        (["x"], CONFIG, "manifest.json: image 1 is not a JSON object"),
        ([{"Layers": []}], CONFIG, "manifest.json: image 1 has no valid Config"),
        ([SAVED, {**SAVED, "Layers": "l.tar"}], CONFIG, "manifest.json: image 2 has no valid Layers"),
        ([{**SAVED, "RepoTags": 5}], CONFIG, "manifest.json: image 1 has no valid RepoTags"),
        ([{**SAVED, "Config": "gone.json"}], CONFIG, "lacks gone.json"),
        ([{**SAVED, "Layers": ["gone.tar"]}], CONFIG, "lacks the layer gone.tar"),
        ([{**SAVED, "Layers": None}], CONFIG, "c.json names 1 layers, and manifest.json 0"),
        ([{**SAVED, "Layers": ["l.tar"] * 2}], CONFIG, "c.json names 1 layers, and manifest.json 2"),
        ([SAVED], [], "c.json is no config of an image: the image config is not a JSON object"),
        ([SAVED], DEEP, "c.json is no config of an image: the image config is not JSON"),
        ([SAVED], {"rootfs": "x"}, "c.json is no config of an image: the image config names no layers"),
        ([SAVED], rooted(5), "c.json is no config of an image: the image config names no layers"),
        ([SAVED], rooted(["x"]), "c.json is no config of an image: 'x' is not a digest"),
    ],
    ids=range(16),
)
def test_what_is_wrong_with_an_archive_is_told(tmp_path: Path, listed: object, config: object, what: str) -> None:
    """Whoever has half an archive, or one that another program wrote, reads of a fault of ours, and not what to mend."""
    with pytest.raises(InvalidInput) as raised:
        examine(archive(tmp_path, listed, config), world(tmp_path))
    assert what in str(raised.value)
    assert str(tmp_path / "x.tar") in str(raised.value)
    assert examine(archive(tmp_path, [SAVED]), world(tmp_path)).config.diff_ids
