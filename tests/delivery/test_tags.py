"""The last step of a push: if these fail, a tag is missing, or nobody knows which of them moved."""

from __future__ import annotations

import pytest

from buildkit.errors import RegistryFailed
from tests.fakes.faults import Hangup, Status
from tests.place import Place

REPOSITORY = "models/granite"


@pytest.mark.parametrize("refusal", [403, 405, 412])
def test_a_tag_is_added_where_the_ones_that_are_there_are_locked(place: Place, refusal: int) -> None:
    """Who adds a tag to an image must get it also where the registry refuses to write the other one once more."""
    digest = place.build(place.recipe(tags=["v1"])).sealing.digest
    place.registry.faults.add(Status(refusal), method="PUT", path="/manifests/v1", times=None)
    place.build(place.recipe(tags=["v1", "latest"]))
    assert place.registry.tags[REPOSITORY] == {"v1": digest, "latest": digest}
    assert not place.registry.faults.fired, "a tag that is in its place was written again"


def test_a_tag_that_is_refused_is_told_with_those_that_moved(place: Place) -> None:
    """Half of the tags are on the new image then, and a person must know which."""
    place.registry.faults.add(Status(405), method="PUT", path="/manifests/latest", times=None)
    with pytest.raises(RegistryFailed) as raised:
        place.build(place.recipe(tags=["v1", "latest", "stable"]))
    name = f"{place.registry.address}/{REPOSITORY}"
    assert f"{name}:latest" in str(raised.value)
    assert str(raised.value).endswith(f"moved before that: {name}:v1")
    assert set(place.registry.tags[REPOSITORY]) == {"v1"}


def test_tags_that_moved_are_told_where_the_registry_fails_after_them(place: Place) -> None:
    """All of them are on the new image, and the command that says no more than that the registry failed hides it."""
    place.registry.faults.add(Status(503), method="HEAD", path="/manifests/v1", skip=1, times=None)
    with pytest.raises(RegistryFailed) as raised:
        place.build(place.recipe(tags=["v1"]))
    assert place.registry.tags[REPOSITORY].keys() == {"v1"}
    assert f"moved before that: {place.registry.address}/{REPOSITORY}:v1" in str(raised.value)


@pytest.mark.parametrize("answered", [True, False])
def test_a_tag_of_which_nobody_knows_whether_it_moved_is_told(place: Place, answered: bool) -> None:
    """The registry goes away while it moves a tag: it serves the new image, and the failure names the other tags alone."""
    digest = place.build(place.recipe(tags=["v1", "v2"])).sealing.digest
    place.registry.faults.add(Hangup(), method="PUT", path="/manifests/v2", times=None)
    place.registry.faults.add(
        Hangup(),
        method="HEAD",
        path="/manifests/v2",
        when=lambda asked: moved(place, digest) and not answered,
        times=None,
    )
    recipe = place.recipe(tags=["v1", "v2"], labels={"org.example.x": "y"})
    if answered:
        assert place.build(recipe).references
        return
    with pytest.raises(RegistryFailed) as raised:
        place.build(recipe)
    name, now = f"{place.registry.address}/{REPOSITORY}", place.registry.tags[REPOSITORY]["v2"]
    assert now != digest
    told = f"; {name}:v2 may serve {now}: the registry did not confirm it; moved before that: {name}:v1"
    assert str(raised.value).endswith(told)


def moved(place: Place, before: str) -> bool:
    """Whether the second tag is on another image than it was."""
    return place.registry.tags[REPOSITORY]["v2"] != before


def test_of_two_repositories_of_a_registry_the_one_that_failed_is_told(place: Place) -> None:
    """The registry's name alone tells nothing where it took the image under its other name."""
    other = f"{place.registry.address}/other"
    place.registry.faults.add(Status(503), method="PUT", path="/other/granite/manifests/v1", times=None)
    delivered = place.build(also=(other,))
    assert delivered.references == (f"{place.registry.address}/{REPOSITORY}:v1",)
    assert [failure.what.startswith(f"{other}/granite") for failure in delivered.failed.values()] == [True]
