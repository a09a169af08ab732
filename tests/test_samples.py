"""The samples are the first thing that a newcomer runs: if these fail, they see an error or a digest that is not ours."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildkit import flow
from buildkit.events import silent
from buildkit.policy import Policy
from buildkit.recipe import load
from buildkit.settings import find
from buildkit.world import World
from tests.fakes.hub import Hub
from tests.fakes.registry import Registry
from tests.place import put_base

SAMPLES = Path(__file__).parent.parent / "samples"


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The samples somewhere else, as a clone has them."""
    shutil.copytree(SAMPLES, tmp_path / "samples")
    return tmp_path / "samples"


def world(folder: Path) -> World:
    return World(find(folder), silent, sleep=lambda seconds: None)


def test_quickstart_gives_the_digest_that_is_committed(copied: Path) -> None:
    """The README promises one digest everywhere; a clone must stay clean after its first command."""
    folder = copied / "quickstart"
    committed = json.loads((SAMPLES / "quickstart" / "recipe.lock").read_text(encoding="utf-8"))
    built = flow.build(load(folder), world(folder), flow.Wanted())
    assert committed["images"]["linux/amd64"]["manifest"]["digest"] == built.sealing.digest
    assert (folder / "recipe.lock").read_bytes() == (SAMPLES / "quickstart" / "recipe.lock").read_bytes()
    assert flow.render(load(folder), world(folder)).containerfile == (
        SAMPLES / "quickstart" / "Containerfile"
    ).read_text(encoding="utf-8")
    flow.build(load(folder), world(folder), flow.Wanted(policy=Policy.LOCKED))


@pytest.fixture
def stand_ins() -> Iterator[tuple[Hub, Registry]]:
    with Hub() as hub, Registry() as registry:
        hub.add(
            "ibm-granite/granite-3.0-2b-instruct",
            {"config.json": b"{}", "model.safetensors": b"weights", "README.md": b"#"},
        )
        hub.add("onnx/models", {"mobilenetv2-7.onnx": b"an onnx model"})
        put_base(registry)
        put_base(registry, "ubi9/python-312")
        yield hub, registry


@pytest.mark.parametrize(
    ("recipe", "files"),
    [
        ("granite/recipe.yaml", {"models/config.json", "models/model.safetensors"}),
        ("mobilenet/recipe.yaml", {"models/1/mobilenetv2-7.onnx"}),
        ("mobilenet/folder.yaml", {"models/1/mobilenetv2-7.onnx"}),
    ],
)
def test_every_sample_locks_renders_and_builds(
    copied: Path, stand_ins: tuple[Hub, Registry], recipe: str, files: set[str]
) -> None:
    """A sample that does not build teaches something wrong."""
    hub, registry = stand_ins
    path = copied / recipe
    (path.parent / "models" / "1").mkdir(parents=True, exist_ok=True)
    (path.parent / "models" / "1" / "mobilenetv2-7.onnx").write_bytes(b"an onnx model")
    text = path.read_text(encoding="utf-8")
    here = f"{hub.endpoint}/onnx/models/resolve/main/mobilenetv2-7.onnx"
    text = text.replace(
        "https://github.com/onnx/models/raw/main/validated/vision/classification/mobilenet/model/mobilenetv2-7.onnx",
        here,
    )
    assert "github" not in text
    path.write_text(text, encoding="utf-8")
    settings = {"hub": {"endpoint": hub.endpoint}, "mirrors": {"registry.access.redhat.com": registry.address}}
    (path.parent / "modelpack.yaml").write_text(json.dumps(settings))
    locked = flow.lock(load(path), world(path.parent), Policy.KEEP)
    assert {f"models/{file.path}" for file in locked.pins.sources["model"].files} == files
    containerfile = flow.render(load(path), world(path.parent)).containerfile
    assert "@sha256:" in containerfile and containerfile.rstrip().endswith("USER 1001")
    built = flow.build(load(path), world(path.parent), flow.Wanted(registry=f"{registry.address}/models"))
    assert registry.tags[f"models/{load(path).spec.name}"] == {"v1": built.sealing.digest}
