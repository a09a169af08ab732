"""A batch job built by three engines and run as ModelArts runs it: if these fail, a job ends before it began."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from buildkit import flow
from buildkit.events import silent
from buildkit.oci.manifest import ImageConfig, Manifest
from buildkit.policy import Policy
from buildkit.recipe import load
from buildkit.settings import find
from buildkit.world import World
from tests.live.base_images import OFFICIAL_PYTHON, BaseImageError, push_bases
from tests.live.clean import unwanted
from tests.live.conftest import missing
from tests.live.filesystem import MOUNTED, process_of, tree
from tests.live.install import program
from tests.live.layers import entries_above
from tests.live.registry import LiveRegistry

pytestmark = [pytest.mark.live, pytest.mark.engine]

SAMPLE = Path(__file__).parents[2] / "samples" / "batch"


@pytest.fixture(scope="session")
def python_base(request: pytest.FixtureRequest, skopeo: str, live_registry: LiveRegistry) -> str:
    if os.geteuid() != 0 or program("debootstrap") is None:
        missing(request.config, "bases", "the stand-in for Python's image needs debootstrap, and root")
    try:
        return push_bases(live_registry, (OFFICIAL_PYTHON,))[OFFICIAL_PYTHON]
    except BaseImageError as error:
        missing(request.config, "bases", str(error))


def project(folder: Path, registry: LiveRegistry) -> Path:
    shutil.copytree(SAMPLE, folder, ignore=shutil.ignore_patterns("*.lock"))
    settings = {
        "mirrors": {"docker.io": registry.host},
        "registries": {"here": {"host": registry.host, "prefix": "models"}},
    }
    (folder / "modelpack.yaml").write_text(json.dumps(settings))
    return folder


def build(folder: Path, engine: str) -> str:
    delivered = flow.build(load(folder), World(find(folder), silent), flow.Wanted(engine, Policy.KEEP, "here"))
    return f"{find(folder).registry('here').repository(load(folder).spec.name)}@{delivered.sealing.digest}"


def run(engine: str, reference: str, *options: str, command: tuple[str, ...] = ()) -> str:
    """Runs a job to its end; what it printed."""
    pull = ["--tls-verify=false"] if engine == "podman" else []
    fixed = ["--rm", "--read-only", "--tmpfs=/tmp", "--network=none", "--user=12345:0"]
    done = subprocess.run(
        [engine, "run", *pull, *fixed, *options, reference, *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def image(folder: Path, reference: str) -> tuple[dict[str, Any], Manifest, World]:
    world = World(find(folder), silent)
    store = world.repository(find(folder).registry("here").repository(load(folder).spec.name))
    document = store.resolve(reference.partition("@")[2])
    assert document is not None
    manifest = Manifest.read(document)
    return dict(ImageConfig.read(b"".join(store.fetch(manifest.config))).process), manifest, world


def test_the_sample_runs_and_what_it_made_is_a_ready_base(
    live_registry: LiveRegistry,
    python_base: str,
    podman_environment: Mapping[str, str],
    docker_environment: Mapping[str, str],
    tmp_path: Path,
) -> None:
    """Python, Java and zip must be there; and with a base that has them, all engines build one image that runs."""
    whole = project(tmp_path / "whole", live_registry)
    other, ready = (build(whole, engine) for engine in ("buildx", "podman"))
    files, others = tree(find(whole), ready), tree(find(whole), other)
    differing = {name for name in files.keys() | others.keys() if files.get(name) != others.get(name)} - MOUNTED
    assert not differing, f"the engines differ in {sorted(differing)[:10]}"
    assert process_of(find(whole), ready) == process_of(find(whole), other)
    assert "etc/ssl/certs/java/cacerts" in files and not [name for name in files if name.startswith("tools")]
    assert not unwanted(files)
    said = run("podman", ready)
    assert "points: wrote /tmp/output/answers.zip" in said, said
    run(
        "podman",
        ready,
        "--entrypoint=sh",
        command=("-c", "command -v python java zip && java -version && test -r /home/run.sh"),
    )

    folder = project(tmp_path / "above", live_registry)
    recipe = {"kind": "batch", "name": "above", "base": ready.replace("@", ":v1@"), "packages": [], "model": "./model"}
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    references = {engine: build(folder, engine) for engine in ("embedded", "podman", "buildx")}
    found = {}
    for engine, reference in references.items():
        process, manifest, world = image(folder, reference)
        store = world.repository(find(folder).registry("here").repository("above"))
        below = len(image(whole, ready)[1].layers)
        process["Env"] = sorted(process["Env"])
        entries = entries_above(manifest, store, below)
        # Engines write the base's own directory above a new one again, or not.
        found[engine] = (process, {name: entry for name, entry in entries.items() if name != "home"})
        said = run("docker" if engine == "buildx" else "podman", reference)
        assert said.splitlines()[-1] == "points: wrote /tmp/output/answers.zip"
    assert found["embedded"][0]["Cmd"] == ["/bin/sh", "/home/run.sh"] and "Entrypoint" not in found["embedded"][0]
    assert found["podman"] == found["embedded"]
    assert found["buildx"] == found["embedded"]
