"""Two recipes that go to one place: if these fail, each night one image takes the other's tag, and all is told as done."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from buildkit.cli.each_recipe import each_recipe
from buildkit.delivery.push import Delivered
from buildkit.errors import InvalidInput
from buildkit.recipe import Recipe, load
from buildkit.world import World
from tests.fleet.ground import Fleet

BOTH = "model-01/recipe.yaml and model-11/recipe.yaml would both be pushed as {}/models/model-01:v1"


def copied(fleet: Fleet, **changes: object) -> str:
    """Copies a recipe's folder, as somebody does for another model; returns what is wrong with that."""
    shutil.copytree(fleet.folder / "model-01", fleet.folder / "model-11")
    fleet.write("model-11", **{**fleet.said("model-01"), "labels": {"team": "other"}, **changes})
    return BOTH.format(fleet.first.address)


def test_a_fleet_says_which_recipes_go_to_one_place(built: Fleet) -> None:
    """A folder was copied and its name not changed: a rebuild pushes one image over the other, and ends with 0."""
    wrong = copied(built)
    before = built.digest(built.first, "models", "model-01")
    done = built.run("status", "--json")
    assert done.returncode == 1
    assert done.stderr.count(wrong) == 2
    told = [one for one in json.loads(done.stdout)["images"] if one["problems"]]
    assert [one["recipe"] for one in told] == ["model-01/recipe.yaml", "model-11/recipe.yaml"]
    assert json.loads(built.run("status", "--matrix", "github").stdout) == {"include": []}
    done = built.run("rebuild", "--force")
    assert (done.returncode, done.stderr.count(wrong)) == (1, 2)
    assert built.digest(built.first, "models", "model-01") == before
    assert "9 rebuilt, 2 failed" in done.stderr, "what is right is not brought up to date"


def test_other_tags_are_another_place(built: Fleet) -> None:
    """Two versions of a model under one name are what tags are for."""
    copied(built, tags=["v2", "{revision}-small"])
    (built.folder / "model-11" / "recipe.lock").unlink()
    assert built.run("rebuild", "--registry", "first", "model-01", "model-11").returncode == 0
    words = {**built.said("model-01"), "tags": ["{digest}"]}
    built.write("model-01", **words)
    built.write("model-11", **words, labels={"team": "other"})
    assert built.run("status", "model-01", "model-11").returncode == 3


def test_a_placeholder_that_means_the_same_is_one_place(built: Fleet) -> None:
    """The model's commit is no difference where both recipes have the same model."""
    copied(built, tags=["{revision}"])
    built.write("model-01", **{**built.said("model-01"), "tags": ["{revision}"]})
    done = built.run("status", "model-01", "model-11")
    assert done.returncode == 1
    assert "would both be pushed as" in done.stderr


def test_nothing_is_sent_of_recipes_that_go_to_one_place(built: Fleet) -> None:
    """The last of several recipes on a command line takes the tag, and the others' images are gone."""
    wrong = copied(built)
    built.clear()
    for command in ("build", "push"):
        options = ["--push"] if command == "build" else []
        done = built.run(command, "model-02", "model-01", "model-11", *options, "--registry", "first")
        assert (done.returncode, done.stdout) == (1, "")
        assert wrong in done.stderr
    assert built.uploaded == 0
    assert built.run("build", "model-01", "./model-01/recipe.yaml", "--push", "--registry", "first").returncode == 0


def test_a_recipe_that_is_alone_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every build would read its recipe and its lock, which may be large, once more for nothing."""
    read: list[Path] = []

    def loaded(path: Path) -> Recipe:
        read.append(path)
        return load(path)

    monkeypatch.setattr("buildkit.recipe.load", loaded)
    (tmp_path / "recipe.yaml").write_text("kind: modelcar\nname: lonely\nmodel: ./model\n")

    def ended(recipe: Recipe, world: World) -> Delivered:
        raise InvalidInput(recipe.spec.name)

    with pytest.raises(InvalidInput, match="lonely"):
        each_recipe([tmp_path], False, True, ended, ["quay.io/me"])
    assert read == [tmp_path]
