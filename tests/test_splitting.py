"""What a registry takes in one layer decides the split: if these fail, a large model is refused, or its digest wanders."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from buildkit import flow
from buildkit.errors import Drifted, InvalidInput
from buildkit.events import Said
from buildkit.oci.form import stored_size
from buildkit.policy import Policy
from buildkit.registries.limits import largest_layer
from buildkit.registries.profile import Profile
from buildkit.registries.profiles import BY_NAME
from tests.place import FILES, Place

LIMIT = 1_600_000
"""Bytes: each of the model's shards fits, both do not."""


@pytest.fixture
def limited(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A registry of a type that takes little in a layer."""
    monkeypatch.setitem(BY_NAME, "harbor", replace(BY_NAME["harbor"], largest_layer=LIMIT, source="a test"))
    _is_of_type(place, "harbor")
    return place


def _is_of_type(place: Place, name: str) -> None:
    entry = {"host": place.registry.address, "prefix": "models", "type": name, "insecure": True}
    settings = {"hub": {"endpoint": place.hub.endpoint}, "registries": {"here": entry}}
    (place.folder / "modelpack.yaml").write_text(json.dumps(settings))


def _sizes(place: Place) -> list[int]:
    return [layer.size for layer in place.served()[0].layers[1:]]


def test_a_model_is_split_as_its_registry_needs_it(limited: Place) -> None:
    """A model of 12 GB would be refused by a registry that takes 10 in a layer, for want of a number in the recipe."""
    limited.build()
    assert limited.model_files() == FILES
    assert len(_sizes(limited)) == 2 and max(_sizes(limited)) <= LIMIT
    assert json.loads(limited.lock.read_text())["pins"]["max_layer_size"] == LIMIT
    said = [event.text for event in limited.events if isinstance(event, Said)]
    assert [text for text in said if "split" in text] == [
        "granite: its layers are split, as harbor takes at most 1.6 MB in one"
    ]


def test_the_lock_keeps_the_split_wherever_the_image_goes(limited: Place) -> None:
    """The same lock would give another digest in another registry."""
    first = limited.build()
    _is_of_type(limited, "distribution")
    for policy in (Policy.KEEP, Policy.CHECK, Policy.LOCKED):
        assert limited.build(policy=policy).sealing.digest == first.sealing.digest
    flow.lock(limited.recipe(), limited.world(), Policy.KEEP)
    assert limited.build(push=False).sealing.digest == first.sealing.digest


def test_a_locked_image_is_not_split_anew(limited: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another image than the one that was reviewed would get its tags, and the lock would be written anew."""
    limited.build()
    before, sizes = limited.lock.read_bytes(), _sizes(limited)
    stricter = replace(BY_NAME["harbor"], largest_layer=max(sizes) - 1, source="a test")
    monkeypatch.setitem(BY_NAME, "harbor", stricter)
    with pytest.raises(Drifted, match="cannot go there") as drifted:
        limited.build(policy=Policy.LOCKED)
    assert "at most 1.6 MB each" in str(drifted.value.problems[0])
    assert limited.lock.read_bytes() == before and _sizes(limited) == sizes


def test_an_upgrade_decides_the_split_anew(limited: Place) -> None:
    """A split that no registry needs any more would stay for ever."""
    limited.build()
    _is_of_type(limited, "distribution")
    limited.build(policy=Policy.UPGRADE)
    assert len(_sizes(limited)) == 1
    assert "max_layer_size" not in json.loads(limited.lock.read_text())["pins"]


def test_a_file_that_no_split_makes_small_enough_is_refused_with_its_numbers(
    limited: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The registry would refuse it after the upload."""
    monkeypatch.setitem(BY_NAME, "harbor", replace(BY_NAME["harbor"], largest_layer=1_300_000, source="a test"))
    with pytest.raises(InvalidInput, match="would refuse") as refused:
        limited.build()
    assert any("1300000" in str(problem) for problem in refused.value.problems)
    assert not limited.registry.tags.get("models/granite") and not limited.lock.exists()


def test_an_image_that_was_built_for_no_registry_is_refused_with_a_way_out(limited: Place) -> None:
    """A push builds nothing: who built without a registry is told that building for it splits the layers."""
    limited.build(push=False)
    with pytest.raises(InvalidInput, match="would refuse") as refused:
        flow.push(limited.recipe(), limited.world(), "here")
    assert "a build for this registry" in str(refused.value.problems[0].hint)
    limited.build()
    assert max(_sizes(limited)) <= LIMIT


def test_what_the_recipe_says_holds_where_it_is_stricter(limited: Place) -> None:
    """A limit that somebody wrote down would be passed."""
    with pytest.raises(InvalidInput, match="cannot be split"):
        limited.build(limited.recipe(max_layer_size=1_400_000))
    limited.build(limited.recipe(max_layer_size=3_000_000))
    assert max(_sizes(limited)) <= LIMIT


@pytest.mark.parametrize("limit", [1, 70_000, 10 * 1024**3])
def test_a_layer_in_dockers_form_is_a_gzip_and_that_has_to_fit(limit: int) -> None:
    """The gzip of stored blocks is a little larger than the tar: a layer at the limit would be refused."""
    profile = Profile("a", largest_layer=limit, forms=("docker",))
    largest = largest_layer(profile)
    assert largest is not None and stored_size(max(0, largest)) <= max(limit, stored_size(0))
    assert largest_layer(profile, "oci") == limit
    assert largest_layer(Profile("b"), "docker") is None
