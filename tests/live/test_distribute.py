"""Four machines and the real docker-registry, whose links are written by several at once: nothing twice, one digest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from buildkit import distributing, flow
from buildkit.events import silent
from buildkit.policy import Policy
from buildkit.recipe import load
from buildkit.settings import find
from buildkit.world import World
from tests.fakes.hub import Hub
from tests.live.registry import LiveRegistry

pytestmark = pytest.mark.live

SIZE = 1_100_000
SHARDS = [f"model-{number:05}-of-00016.safetensors" for number in range(1, 17)]


def blobs_sent(registry: LiveRegistry, repository: str) -> list[str]:
    """The digest of every blob that the registry took, each time it took it."""
    uploads = f"/v2/{repository}/blobs/uploads/"
    requests = [one for one in registry.requests() if one.path.startswith(uploads)]
    return [
        one.path.partition("digest=")[2].replace("%3A", ":")
        for one in requests
        if one.method == "PUT" and one.status == 201
    ]


@pytest.fixture
def project(tmp_path: Path, live_registry: LiveRegistry) -> Path:
    folder = tmp_path / "a project"
    folder.mkdir()
    recipe = {"kind": "modelcar", "name": "large", "model": "hf://org/large", "base": "scratch", "tags": ["v1"]}
    (folder / "recipe.yaml").write_text(json.dumps({**recipe, "layers": "per-file", "max_layer_size": "1200kB"}))
    return folder


def modelpack(folder: Path, *arguments: str, cache: str) -> subprocess.Popen[str]:
    """Begins a command on a machine of its own: nothing is shared but the folder with recipe and lock."""
    return subprocess.Popen(
        [sys.executable, "-m", "buildkit", *arguments],
        cwd=folder,
        env={**os.environ, "MODELPACK_CACHE_DIR": str(folder.parent / cache)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out


def test_four_processes_send_each_layer_once_and_assemble_what_one_would_have_made(
    project: Path, live_registry: LiveRegistry
) -> None:
    """A layer that two machines send costs an hour; a digest that depends on the number of machines proves nothing."""
    with Hub() as hub:
        hub.add("org/large", {name: os.urandom(SIZE) for name in SHARDS} | {"config.json": b"{}"})
        (project / "modelpack.yaml").write_text(json.dumps({"hub": {"endpoint": hub.endpoint}}))
        recipe, world = load(project), World(find(project), silent)
        flow.lock(recipe, world, Policy.KEEP)
        lock = (project / "recipe.lock").read_bytes()
        push = ["build", ".", "--push", "--registry", f"{live_registry.host}/many"]
        machines = [modelpack(project, *push, "--shard", f"{index}/4", cache=f"machine-{index}") for index in range(4)]
        pushed = [line for machine in machines for line in ended(machine).splitlines()]
        assert len(pushed) == len(set(pushed)) == len(SHARDS), "a layer belongs to two machines, or to none"
        assert (project / "recipe.lock").read_bytes() == lock
        hub.log.clear()
        many, alone = (flow.Wanted("embedded", registry=f"{live_registry.host}/{name}") for name in ("many", "alone"))
        done = distributing.assemble(recipe, world, many)
        done.forget()
        assembled = done.delivered.sealing.digest
        assert not [one for one in hub.requests if "/resolve/" in one.path], "assembling read the model"
        (project / "recipe.lock").write_bytes(lock)
        assert flow.build(recipe, world, alone).sealing.digest == assembled
    sent = Counter(blobs_sent(live_registry, "many/large"))
    assert [digest for digest, times in sent.items() if times > 1] == []
    digest = live_registry.manifest("many/large", "v1").digest
    assert digest == assembled
    layers = {one["digest"] for one in json.loads(live_registry.manifest("many/large", digest).content)["layers"]}
    assert len(layers) == len(SHARDS) and layers <= set(sent)
    assert live_registry.tags("many/large") == ["v1"], "a mark was left in the registry"
