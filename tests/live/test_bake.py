"""The real docker buildx: takes the bake file, and builds on a builder that was named."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from buildkit import flow
from buildkit.errors import EngineFailed
from tests.place import Place

pytestmark = [pytest.mark.engine, pytest.mark.live]


def test_bake_takes_the_fleet(place: Place, docker_environment: Mapping[str, str], tmp_path: Path) -> None:
    """Who drives BuildKit by hand must get a file that it reads, with every target and its Containerfile."""
    from tests.cli.test_cli import modelpack

    first = place.recipe(builder=f"{place.registry.address}/ubi9/ubi-micro:latest").path
    (place.folder / "second.yaml").write_text(first.read_text().replace('"granite"', '"team/second.model"'))
    done = modelpack("render", "--bake", str(place.folder), "--output", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    inline = modelpack("render", "--bake", str(place.folder))
    for text in (done.stdout, inline.stdout):
        file = tmp_path / "docker-bake.json"
        file.write_text(text)
        command = ["docker", "buildx", "bake", "--file", str(file), "--print"]
        printed = subprocess.run(command, capture_output=True, text=True, check=False)
        assert printed.returncode == 0, printed.stderr
        targets = json.loads(printed.stdout)["target"]
        assert set(targets) == {"granite", "team-second-model"}
        assert targets["granite"]["tags"] == ["granite:v1"]
        assert targets["granite"]["platforms"] == ["linux/amd64"]
    assert (tmp_path / "out" / "granite" / "Containerfile").read_text().count("FROM") >= 1


def test_a_named_builder_builds(place: Place, docker_environment: Mapping[str, str]) -> None:
    """A team's builder must be the one that builds, and one that is not there must be an error and not another builder."""
    model = place.folder / "models"
    model.mkdir()
    (model / "weights.bin").write_bytes(b"weights" * 1000)
    recipe = place.recipe(model="./models", base="scratch")
    built = flow.build(recipe, place.world(), flow.Wanted(builder="default"))
    assert built.sealing.digest
    assert json.loads(place.lock.read_text())["images"]["linux/amd64"]["engine"] == "buildx"
    with pytest.raises(EngineFailed):
        flow.build(recipe, place.world(), flow.Wanted(builder="nowhere"))
