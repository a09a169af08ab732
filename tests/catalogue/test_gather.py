"""What the page about a fleet tells, gathered from recipes, locks, hub, registry and git."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from buildkit import flow
from buildkit.catalogue.gather import gather
from buildkit.catalogue.history import history
from buildkit.catalogue.page import page
from buildkit.policy import Policy
from buildkit.recipe import Recipe, load
from buildkit.world import World
from tests.fakes.faults import Status
from tests.place import FILES, Place


def commit(folder: Path, message: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", "add", "-A"], cwd=folder, check=True)
    subprocess.run(["git", *who, "commit", "-q", "-m", message], cwd=folder, check=True)


def test_everything_is_gathered(place: Place) -> None:
    """The page leaves out the license, the size, what drifted, or what the image once was."""
    subprocess.run(["git", "init", "-q"], cwd=place.folder, check=True)
    place.hub.add("org/granite", FILES, card={"license": ["mit", "cc-by-nc-4.0"]})
    recipe = place.recipe(targets=["kubernetes"])
    first = place.build(recipe)
    commit(place.folder, "First")
    place.hub.add("org/granite", {**FILES, "config.json": b"{}"}, card={"license": ["mit", "cc-by-nc-4.0"]})
    second = place.build(recipe, policy=Policy.UPGRADE)
    commit(place.folder, "Second")
    place.hub.add("org/granite", {**FILES, "config.json": b'{"by": "now"}'}, card={"license": ["mit", "cc-by-nc-4.0"]})

    def opened(path: Path) -> tuple[Recipe, World]:
        return load(path), place.world()

    (found,) = gather([recipe.path], opened, ask=True)
    assert (found.name, found.digest, found.state) == ("granite", second.sealing.digest, "needs a rebuild")
    assert found.licenses == ("mit, cc-by-nc-4.0 (non-commercial)",)
    assert [part.base for part in found.parts] == [True, False]
    assert found.size > sum(map(len, FILES.values()))
    assert [one.digest for one in found.history] == [second.sealing.digest, first.sealing.digest]
    assert [one.subject for one in found.history] == ["Second", "First"]
    assert found.verdicts[0].target == "kubernetes"
    text = page([found], "x", asked=True)
    assert "cc-by-nc-4.0 (non-commercial)" in text and str(second.sealing.digest) in text
    (calm,) = gather([recipe.path], opened, ask=False)
    assert (calm.state, calm.digest, calm.licenses) == ("not asked", found.digest, ())


def test_a_hub_that_fails_is_not_a_model_without_a_license(place: Place) -> None:
    """A hub is down for a night, and the page says of a model that may not be sold that no license is known."""
    place.hub.add("org/granite", FILES, card={"license": "cc-by-nc-4.0"})
    recipe = place.recipe()
    place.build(recipe)
    place.hub.faults.add(Status(503), times=None)

    def opened(path: Path) -> tuple[Recipe, World]:
        return load(path), place.world()

    (found,) = gather([recipe.path], opened, ask=True)
    assert [model.card for model in found.models] == [None]
    assert "503" in found.models[0].problem
    text = page([found], "x", asked=True)
    assert "Not every license is known" in text and "503" in text
    assert "no license known" not in text


@pytest.mark.parametrize("ask", [False, True])
def test_inputs_that_are_not_in_the_image_yet_are_told(place: Place, ask: bool) -> None:
    """The page shows a model beside the digest of an image that was made from another one."""
    recipe = place.recipe()
    place.build(recipe)
    place.hub.add("org/granite", {**FILES, "config.json": b"{}"})
    flow.lock(recipe, place.world(), Policy.UPGRADE)

    def opened(path: Path) -> tuple[Recipe, World]:
        return load(path), place.world()

    (found,) = gather([recipe.path], opened, ask=ask)
    assert (found.newer, found.state) == (("model",), "needs a rebuild")
    assert "newer inputs than this image: model" in page([found], "x", asked=ask)


def test_a_recipe_that_cannot_be_read_is_told_and_ends_nothing(place: Place) -> None:
    """One mistake in one recipe, and there is no page."""
    good = place.recipe()
    bad = place.folder / "bad.yaml"
    bad.write_text(json.dumps({"kind": "modelcar", "name": "bad", "wrong": 1}))

    def opened(path: Path) -> tuple[Recipe, World]:
        return load(path), place.world()

    found = gather([bad, good.path], opened, ask=False)
    assert [one.state for one in found] == ["unreadable", "never built"]
    assert "wrong" in found[0].problem and "is not a key here" in page(found, "x", asked=False)


def test_without_git_there_is_no_history(tmp_path: Path) -> None:
    """A page outside a repository ends in a traceback."""
    assert history(tmp_path / "recipe.lock") == ()
