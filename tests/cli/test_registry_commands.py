"""Several registries and copies as a pipeline meets them: words, streams and exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.cli.test_cli import check_explained, modelpack
from tests.fakes.faults import Status
from tests.fakes.registry import Registry
from tests.place import Place


@pytest.fixture
def other() -> Iterator[Registry]:
    with Registry() as registry:
        yield registry


def test_one_registry_that_fails_ends_in_one_and_the_other_is_on_stdout(place: Place, other: Registry) -> None:
    """A pipeline must see that something failed, and still be able to use what did not."""
    other.faults.add(Status(507), method="PATCH", times=None)
    good, bad = f"{place.registry.address}/models", f"{other.address}/models"
    recipe = str(place.recipe().path)
    done = modelpack("build", recipe, "--push", "--registry", good, "--registry", bad)
    assert done.returncode == 1
    digest = place.registry.tags["models/granite"]["v1"]
    assert done.stdout == f"{good}/granite:v1@{digest}\n"
    assert done.stderr.count("error:") == 1
    assert other.address in done.stderr.partition("error:")[2]
    other.faults.clear()
    again = modelpack("push", recipe, "--registry", good, "--registry", bad, "--json")
    assert again.returncode == 0, again.stderr
    (shown,) = json.loads(again.stdout)
    assert shown["references"] == [f"{good}/granite:v1@{digest}", f"{bad}/granite:v1@{digest}"]
    assert shown["failed"] == {}


def test_a_copy_prints_references_alone(place: Place, other: Registry) -> None:
    """``$(modelpack copy …)`` must be usable as it is, and a failure be an exit code."""
    place.build()
    source = f"{place.registry.address}/models/granite:v1"
    digest = place.registry.tags["models/granite"]["v1"]
    done = modelpack("copy", source, f"{other.address}/a", f"{place.registry.address}/b", "--tag", "x", "--tag", "y")
    assert done.returncode == 0, done.stderr
    names = [f"{other.address}/a/granite", f"{place.registry.address}/b/granite"]
    assert done.stdout.splitlines() == [f"{name}:{tag}@{digest}" for name in names for tag in ("x", "y")]
    as_json = json.loads(modelpack("copy", source, f"{other.address}/a", "--tag", "x", "--json").stdout)
    assert as_json["unchanged"] is True
    other.faults.add(Status(507), method="POST", times=None)
    failing = modelpack("copy", source, f"{other.address}/z", f"{place.registry.address}/z")
    assert failing.returncode == 1
    assert failing.stdout == f"{place.registry.address}/z/granite:v1@{digest}\n"
    check_explained(modelpack("copy", source, f"{other.address}/z"), 1, "507")
    check_explained(modelpack("copy", source.replace("v1", "v9"), f"{other.address}/z"), 1, "there is no image")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--manifest-format", "docker"),
        ("--push", "--registry", "a.example/x", "--registry", "b.example/y", "--shard", "0/2"),
        ("--registry", "a.example/x"),
        ("--push",),
    ],
)
def test_options_that_contradict_each_other_are_wrong_usage(place: Place, arguments: tuple[str, ...]) -> None:
    """A slip on the command line ends in 2, before anything is asked."""
    done = modelpack("build", str(place.recipe().path), *arguments)
    assert done.returncode == 2, done.stderr


def test_the_seeds_mistake_is_told_with_its_cure(place: Place) -> None:
    """A login to kix.ocir.io and a push to ap-osaka-1.ocir.io, as a person would do after Oracle's page."""
    config = place.folder / "docker"
    config.mkdir()
    (config / "config.json").write_text('{"auths": {"kix.ocir.io": {"auth": "YS9iOnMzY3JldA=="}}}')
    arguments = ("build", str(place.recipe().path), "--push", "--registry", "ap-osaka-1.ocir.io/axabc")
    done = modelpack(*arguments, DOCKER_CONFIG=str(config))
    check_explained(done, 1, "logged in to kix.ocir.io", "modelpack login ap-osaka-1.ocir.io")
    assert "s3cret" not in done.stderr
