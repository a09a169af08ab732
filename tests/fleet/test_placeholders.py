"""Tags with placeholders from the first push to the hundredth night: if these fail, names pile up, vanish or move."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildkit import flow
from buildkit.delivery.copying import Copy, copy
from buildkit.deploying import Wish as Deployment
from buildkit.deploying import deploy
from buildkit.errors import InvalidInput
from buildkit.fleet.asking import Questions
from buildkit.fleet.rebuild import Rebuilt, Wish, rebuild
from buildkit.fleet.state import State
from buildkit.fleet.status import state_of
from buildkit.lockfile import lock as locks
from buildkit.policy import Policy
from buildkit.recipe import Recipe
from tests.fakes.registry import Registry
from tests.place import FILES, Place, put_base

TAGS = ["{revision}", "{date}-{base}", "x-{digest}", "stable"]
FIRST, SECOND = "1767225600", "1767312000"
"""1 and 2 January 2026."""
REPOSITORY = "models/granite"


@pytest.fixture(autouse=True)
def first_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", FIRST)


@pytest.fixture
def other() -> Iterator[Registry]:
    with Registry() as registry:
        yield registry


def recipe(place: Place, **changes: object) -> Recipe:
    base = f"{place.registry.address}/ubi9/ubi-micro:9.6"
    return place.recipe(**{"tags": TAGS, "targets": ["kserve"], "base": base, **changes})


@pytest.fixture
def pushed(place: Place) -> Place:
    put_base(place.registry, tag="9.6")
    place.build(recipe(place))
    return place


def state(place: Place, written: Recipe | None = None) -> State:
    return state_of(written or recipe(place), place.world(), Questions(), ())


def rebuilt(place: Place, written: Recipe | None = None) -> Rebuilt:
    (done,) = rebuild([state(place, written)], lambda state: place.world(), Wish(verify=True))
    return done


def commit(place: Place) -> str:
    lock = locks.read(place.lock)
    assert lock is not None
    return (lock.pins.sources["model"].commit or "")[:12]


def names(place: Place) -> set[str]:
    """The tags in the lock."""
    lock = locks.read(place.lock)
    assert lock is not None
    return {name.rpartition(":")[2] for name in lock.pushed}


def test_another_day_is_no_drift(pushed: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every image with a date in a tag would be rebuilt every night."""
    digest = pushed.registry.tags[REPOSITORY]["stable"]
    assert names(pushed) == {commit(pushed), "20260101-9.6", f"x-{digest[7:19]}", "stable"}
    monkeypatch.setenv("SOURCE_DATE_EPOCH", SECOND)
    assert state(pushed).changes == ()
    assert rebuilt(pushed).outcome == "current"
    assert set(pushed.registry.tags[REPOSITORY]) == names(pushed)


def test_an_image_that_was_not_pushed_is_told_by_the_names_it_will_have(
    pushed: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Status says that a tag moved from a digest to the same, and names tags of an old commit that are right as they are."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", SECOND)
    old = pushed.registry.tags[REPOSITORY]["stable"]
    pushed.hub.add("org/granite", {**FILES, "config.json": b"{}"})
    new = pushed.build(recipe(pushed), push=False, policy=Policy.UPGRADE).sealing.digest
    told = {change.what.rpartition(":")[2]: (change.old, change.new, change.detail) for change in state(pushed).changes}
    absent = (new, "", "there is no such tag")
    assert told == {
        **dict.fromkeys((commit(pushed), "20260102-9.6", f"x-{new[7:19]}"), absent),
        "stable": (old, new, "it still serves the image before"),
    }
    assert rebuilt(pushed).outcome == "rebuilt"
    assert state(pushed).changes == ()


def test_a_new_model_gets_new_names_and_the_old_one_keeps_its_own(
    pushed: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deployment that names yesterday's tag must get yesterday's image, and the lock name today's alone."""
    old, before = pushed.registry.tags[REPOSITORY]["stable"], names(pushed)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", SECOND)
    pushed.hub.add("org/granite", {**FILES, "config.json": b'{"new": 1}'})
    done = rebuilt(pushed)
    assert done.outcome == "rebuilt"
    new = pushed.registry.tags[REPOSITORY]["stable"]
    assert names(pushed) == {commit(pushed), "20260102-9.6", f"x-{new[7:19]}", "stable"}
    assert {line.rpartition("@")[0].rpartition(":")[2] for line in done.references} == names(pushed)
    served = pushed.registry.tags[REPOSITORY]
    assert {served[tag] for tag in names(pushed)} == {new}
    assert {served[tag] for tag in before - {"stable"}} == {old}
    assert state(pushed).changes == ()
    assert rebuilt(pushed).outcome == "current"


def test_a_lost_name_is_told_and_comes_back(pushed: Place) -> None:
    """A registry's clean-up takes tags by their age: the one that is deployed must come back under its name."""
    tag = commit(pushed)
    del pushed.registry.storage.repositories[REPOSITORY].tags[tag]
    (change,) = state(pushed).changes
    assert (change.reason, change.what) == ("missing", f"{pushed.registry.address}/{REPOSITORY}:{tag}")
    assert rebuilt(pushed).outcome == "rebuilt"
    assert tag in pushed.registry.tags[REPOSITORY]
    assert state(pushed).changes == ()


def test_another_registry_gets_the_same_names(pushed: Place, other: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """A push to one more registry, and a night later all of them are current."""
    flow.push(recipe(pushed), pushed.world(), f"{other.address}/models")
    assert other.tags[REPOSITORY] == pushed.registry.tags[REPOSITORY]
    monkeypatch.setenv("SOURCE_DATE_EPOCH", SECOND)
    assert state(pushed).changes == ()
    put_base(pushed.registry, content=b"another shell", tag="9.6")
    assert rebuilt(pushed).outcome == "rebuilt"
    digest = other.tags[REPOSITORY]["stable"]
    assert {tag for tag, one in other.tags[REPOSITORY].items() if one == digest} == names(pushed)
    assert state(pushed).changes == ()


def test_a_deployment_and_a_copy_take_the_names_that_were_made(
    pushed: Place, other: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest names a tag with a brace in it, or the image of another day."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", SECOND)
    digest = pushed.registry.tags[REPOSITORY]["stable"]
    (written,) = deploy(recipe(pushed), pushed.world(), [], tmp_path / "out", Deployment())
    text = "".join(path.read_text() for path in written.files)
    assert digest in text and "{" not in text.replace("{}", "")
    source = f"{pushed.registry.address}/{REPOSITORY}:{commit(pushed)}"
    done = copy(Copy(source, (f"{other.address}/a",), tags=("v-{digest}",)), pushed.world())
    assert done.digests == {f"{other.address}/a/granite:v-{digest[7:19]}": digest}
    copy(Copy(source, (f"{other.address}/b",)), pushed.world())
    assert other.tags["b/granite"] == {commit(pushed): digest}
    with pytest.raises(InvalidInput, match="revision"):
        copy(Copy(source, (f"{other.address}/c",), tags=("{revision}",)), pushed.world())
    assert "c/granite" not in other.tags


def test_names_that_must_not_move_are_new_ones(place: Place) -> None:
    """With 'immutable', a night that would move a tag fails by name, and one that makes a new tag goes well."""
    put_base(place.registry, tag="9.6")
    fixed, free = ({"tags": tags, "immutable": True} for tags in (["v1"], ["{revision}"]))
    place.build(recipe(place, **fixed))
    first = place.registry.tags[REPOSITORY]["v1"]
    place.hub.add("org/granite", {**FILES, "config.json": b'{"new": 1}'})
    done = rebuilt(place, recipe(place, **fixed))
    assert done.outcome == "failed" and "a tag would move" in str(done.error)
    assert place.registry.tags[REPOSITORY] == {"v1": first}
    lock = json.loads(place.lock.read_text())
    assert list(lock["pushed"].values()) == [first], "the lock names an image that was not pushed"
    for content in (b'{"new": 2}', b'{"new": 3}'):
        place.hub.add("org/granite", {**FILES, "config.json": content})
        assert rebuilt(place, recipe(place, **free)).outcome == "rebuilt"
        assert rebuilt(place, recipe(place, **free)).outcome == "current"
        assert names(place) == {commit(place)}
    tags = place.registry.tags[REPOSITORY]
    assert len(tags) == len(set(tags.values())) == 3
    assert tags["v1"] == first
