"""Many machines for one image: if these fail, a layer is sent twice, is missing, or the digest depends on who pushed."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from buildkit import distributing, flow
from buildkit.delivery.shard import MARK, Shard, share
from buildkit.errors import InvalidInput, ModelpackError
from buildkit.events import Event, Forecast, Summary
from buildkit.oci.manifest import OCI_MANIFEST
from buildkit.policy import Policy
from tests.fakes.faults import Status
from tests.place import FILES, Place, uploads

SHARDS = {
    f"model-{number:05}-of-00008.safetensors": bytes([number]) * (65 * 1024 * 1024 + number) for number in range(3)
}


def wanted(place: Place) -> flow.Wanted:
    return flow.Wanted("embedded", registry=f"{place.registry.address}/models")


def test_processes_push_each_layer_once_and_one_of_them_assembles(place: Place) -> None:
    """Four processes with one lock: every byte once, and the digest that a single process gives."""
    place.hub.add("org/large", {**SHARDS, "config.json": b"{}"})
    recipe = place.recipe(model="hf://org/large", layers="per-file")
    flow.lock(recipe, place.world(), Policy.KEEP)
    before = place.lock.read_bytes()
    command = [
        sys.executable,
        "-m",
        "buildkit",
        "build",
        str(recipe.path),
        "--push",
        "--registry",
        wanted(place).registry or "",
    ]
    processes = [
        subprocess.Popen([*command, "--shard", f"{index}/4"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for index in range(4)
    ]
    titles = []
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        titles += out.split("\n")[:-1]
    assert sorted(title for title in titles if title) == sorted([*SHARDS, "base ubi-micro", "small files"])
    assert place.lock.read_bytes() == before
    sent = uploads(place.registry)
    assert sum(map(len, SHARDS.values())) < sent < sum(map(len, SHARDS.values())) + 1_000_000
    assembled = distributing.assemble(recipe, place.world(), wanted(place))
    assembled.forget()
    assert uploads(place.registry) - sent < 10_000, "assembling sent a layer again"
    alone = flow.build(recipe, place.world(), flow.Wanted("embedded"))
    assert alone.sealing.digest == assembled.delivered.sealing.digest
    assert set(place.registry.tags["models/granite"]) == {"v1"}, "a mark was left in the registry"
    assert set(place.model_files()) == {*SHARDS, "config.json"}


def test_what_is_missing_is_named(place: Place) -> None:
    """Who assembles too early must learn which machines to wait for, and no tag may move."""
    recipe = place.recipe(layers="per-file")
    flow.lock(recipe, place.world(), Policy.KEEP)
    with pytest.raises(InvalidInput) as raised:
        distributing.assemble(recipe, place.world(), wanted(place))
    assert "small files" in {problem.where for problem in raised.value.problems}
    assert not place.registry.tags.get("models/granite")


@pytest.mark.parametrize("layers", [None, []])
def test_rubbish_under_a_mark_is_no_mark(place: Place, layers: object) -> None:
    """What somebody left under a mark's tag would stop every machine, and be told as a slip in what a person wrote."""
    recipe = place.recipe(layers="per-file")
    flow.lock(recipe, place.world(), Policy.KEEP)
    distributing.push_shard(recipe, place.world(), wanted(place), Shard(0, 1))
    mark, digest = next(one for one in place.registry.tags["models/granite"].items() if one[0].startswith(MARK))
    there = json.loads(place.registry.storage.create("models/granite").manifests[digest].data)
    raw = json.dumps({**there, "layers": layers}).encode()
    place.registry.put_manifest("models/granite", raw, OCI_MANIFEST, mark)
    distributing.push_shard(recipe, place.world(), wanted(place), Shard(0, 1))
    assert distributing.assemble(recipe, place.world(), wanted(place)).delivered.references


def test_without_a_lock_machines_cannot_agree(place: Place) -> None:
    """A branch that moves between two machines would mix two models."""
    with pytest.raises(InvalidInput, match="could not agree"):
        distributing.push_shard(place.recipe(), place.world(), wanted(place), Shard(0, 2))


@pytest.mark.parametrize(
    ("text", "environment", "shard"), [("1/4", {}, Shard(1, 4)), ("4", {"JOB_COMPLETION_INDEX": "3"}, Shard(3, 4))]
)
def test_shards_are_read(text: str, environment: dict[str, str], shard: Shard) -> None:
    """A CI matrix counts itself, a Kubernetes job is told its index."""
    assert Shard.parse(text, environment) == shard


@pytest.mark.parametrize("text", ["", "4", "4/4", "x", "-1/4", "1/0", "1/4/4"])
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    """A shard too many would push nothing and say that all is well."""
    with pytest.raises(InvalidInput):
        Shard.parse(text, {})


def test_shares_are_all_layers_and_none_twice(place: Place) -> None:
    """Every layer belongs to exactly one machine."""
    made = flow.make(place.recipe(layers="per-file"), place.world(), flow.Wanted("embedded"))
    layers = list(made.images[0].layers)
    for count in (1, 2, 5):
        shares = [share(layers, Shard(index, count)) for index in range(count)]
        assert sorted(layer.blob.key for one in shares for layer in one) == sorted(layer.blob.key for layer in layers)


def test_a_shard_says_what_it_will_send_and_what_it_did(place: Place) -> None:
    """A pod of a job that runs for an hour is watched by its log alone."""
    recipe = place.recipe(layers="per-file")
    flow.lock(recipe, place.world(), Policy.KEEP)
    events: list[Event] = []
    world = replace(place.world(), emit=events.append)
    wanted = flow.Wanted("embedded", registry=f"{place.registry.address}/models")
    layers = distributing.push_shard(recipe, world, wanted, Shard(0, 1))
    (before,) = [one for one in events if isinstance(one, Forecast)]
    (after,) = [one for one in events if isinstance(one, Summary)]
    own = sum(layer.blob.size for layer in layers if layer.blob.digest is None)
    assert (before.unknown, after.outcomes["sent"]) == (own, own) and own > 0


def test_a_shard_whose_mark_was_refused_sends_its_layer_once(place: Place) -> None:
    """A registry that fails between a layer of hours and the small manifest that remembers it would get it again."""
    recipe = place.recipe(layers="per-file")
    flow.lock(recipe, place.world(), Policy.KEEP)
    place.registry.faults.add(Status(403), method="PUT", path="/manifests/modelpack-layer", times=None)
    with pytest.raises(ModelpackError):
        distributing.push_shard(recipe, place.world(), wanted(place), Shard(0, 1))
    sent = uploads(place.registry)
    assert sent > sum(map(len, FILES.values()))
    place.registry.faults.clear()
    distributing.push_shard(recipe, place.world(), wanted(place), Shard(0, 1))
    assert uploads(place.registry) - sent < 10_000
    assert distributing.assemble(recipe, place.world(), wanted(place)).delivered.references


def test_the_shipped_job_is_an_indexed_job() -> None:
    """The manifest that we ship must give each pod its index, and the assembling one none."""
    text = (Path(__file__).parents[2] / "samples" / "kubernetes" / "job.yaml").read_text(encoding="utf-8")
    assert "completionMode: Indexed" in text
    assert "--assemble" in text
