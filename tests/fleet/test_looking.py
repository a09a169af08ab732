"""``rebuild --verify`` with targets: if these fail, a fleet gives its tags to images that their platforms refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from buildkit.errors import CheckFailed
from buildkit.fleet.looking import looking
from buildkit.oci.reference import Digest
from buildkit.recipe import load
from buildkit.settings import find
from buildkit.world import World
from tests.fleet.ground import Fleet
from tests.place import put_base


@pytest.fixture
def aimed(built: Fleet, tmp_path: Path) -> Fleet:
    """A fleet of which two images are meant for KServe, one of them on a base that has no more than a shell."""
    put_base(built.first, "whole", programs=("bin/sh", "bin/ln", "bin/sleep", "bin/ls"))
    for name, base in (("model-01", "whole"), ("model-02", "base-one")):
        words = built.said(name) | {"targets": ["kserve"], "base": f"{built.first.address}/{base}:latest"}
        built.write(name, **words)
    return built


def test_what_its_target_refuses_gets_no_tag(aimed: Fleet, tmp_path: Path) -> None:
    """Only the pushed image shows that its base lacks what the sidecar runs: the old image must stay in service."""
    before = aimed.digest(aimed.first, "models", "model-02")
    lock = (aimed.folder / "model-02" / "recipe.lock").read_bytes()
    done = aimed.run("rebuild", "--verify", "--json", PATH=str(tmp_path / "no engines"))
    assert done.returncode == 1
    outcomes = {image["name"]: image["outcome"] for image in json.loads(done.stdout)["images"]}
    assert (outcomes["model-01"], outcomes["model-02"]) == ("rebuilt", "failed"), done.stderr
    assert "KS-02" in done.stderr and "has no ln, sleep, ls" in done.stderr, done.stderr
    assert aimed.digest(aimed.first, "models", "model-02") == before
    assert (aimed.folder / "model-02" / "recipe.lock").read_bytes() == lock
    assert aimed.digest(aimed.first, "models", "model-01") != before


def test_who_cannot_run_it_is_told(aimed: Fleet, tmp_path: Path) -> None:
    """A runner of CI without podman or docker rebuilds all the same, and says what it left out."""
    done = aimed.run("rebuild", "--verify", "model-01", PATH=str(tmp_path / "no engines"))
    assert done.returncode == 0, done.stderr
    assert "model-01 is not run as its targets do: nothing is here that can run an image" in done.stderr


def test_without_verify_only_the_recipe_is_judged(aimed: Fleet) -> None:
    """Who reads no base again in every rebuild does not want to."""
    done = aimed.run("rebuild", "model-02")
    assert done.returncode == 0, done.stderr


def test_what_the_recipe_itself_breaks_is_never_sent(aimed: Fleet) -> None:
    """With or without --verify: nothing of an image that would be refused is pushed."""
    aimed.clear()
    aimed.write("model-03", **aimed.said("model-03") | {"targets": ["kserve"], "entrypoint": ["/bin/sh"], "user": "x"})
    aimed.write("model-01", **aimed.said("model-01") | {"labels": {"token": "hf_" + "abcdefgh" * 5}})
    done = aimed.run("rebuild", "model-01")
    assert done.returncode == 1
    assert "UNI-01" in done.stderr
    assert aimed.uploaded == 0


def test_a_model_that_is_too_large_is_not_pulled(aimed: Fleet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A runner that rebuilds fifty language models cannot hold one of them."""
    assert aimed.run("rebuild", "model-01").returncode == 0
    monkeypatch.setattr("buildkit.fleet.looking.LARGEST_RUN", 1000)
    monkeypatch.setenv("PATH", str(tmp_path / "no engines"))
    told: list[str] = []
    recipe = load(aimed.recipe("model-01"))
    digest = Digest(aimed.digest(aimed.first, "models", "model-01") or "")
    world = World(find(aimed.folder), lambda event: told.append(str(event)))
    with looking() as look:
        look(recipe, world, {f"{aimed.first.address}/models/model-01:v1": digest})
        assert "is not run: it has 1.1 MB" in told[-1]
        aimed.write("model-01", **aimed.said("model-01") | {"targets": ["modelarts:batch"]})
        with pytest.raises(CheckFailed, match="would be refused"):
            look(load(aimed.recipe("model-01")), world, {f"{aimed.first.address}/models/model-01:v1": digest})
