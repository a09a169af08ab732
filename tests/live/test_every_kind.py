"""Every kind's first project with every engine that can build it: the same files, modes and config, clean, and the same again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from buildkit import flow
from buildkit.engines import engine_named
from buildkit.events import silent
from buildkit.kinds import kind_named, kinds
from buildkit.oci.reference import Reference
from buildkit.policy import Policy
from buildkit.recipe import load
from buildkit.settings import find
from buildkit.world import World
from tests.fakes.hub import Hub
from tests.live.base_images import CACHE, ROOTFS, push_bases
from tests.live.clean import unwanted
from tests.live.filesystem import MOUNTED, process_of, tree
from tests.live.registry import LiveRegistry

pytestmark = [pytest.mark.live, pytest.mark.engine]
HOSTS = ("docker.io", "registry.access.redhat.com", "nvcr.io", "quay.io")
ELSEWHERE = {
    "azureml": "needs a stand-in for its installer: tests/live/test_azureml.py does all of this",
    "batch": "asks for a Python that the stand-ins have not: its own tests do all of this with its sample",
    "triton": "needs a stand-in with a server, which its own tests have",
}


@pytest.fixture(scope="module")
def stand_ins(live_registry: LiveRegistry) -> Mapping[str, str]:
    return push_bases(live_registry, tuple(ROOTFS))


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        hub.add("ibm-granite/granite-3.0-2b-instruct", {"config.json": b"{}", "model.safetensors": b"weights"})
        yield hub


def started(kind: str, folder: Path, registry: LiveRegistry, hub: Hub) -> Path:
    """The first project of a kind, whose images and hub are here, and which a developer has worked in."""
    for path, text in kind_named(kind).starter("first").items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    for path, text in {".git/config": "x", ".env": "SECRET=x", ".cache/x": "x"}.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text)
    settings = {
        "hub": {"endpoint": hub.endpoint},
        "mirrors": dict.fromkeys(HOSTS, registry.host),
        "registries": {"here": {"host": registry.host, "prefix": f"every/{kind}"}},
    }
    (folder / "modelpack.yaml").write_text(json.dumps(settings))
    return folder / "recipe.yaml"


def build(recipe: Path, engine: str, policy: Policy = Policy.KEEP) -> tuple[str, Callable[[], int]]:
    world = World(find(recipe.parent), silent)
    delivered = flow.build(load(recipe), world, flow.Wanted(engine, policy, "here"))
    base = flow.render(load(recipe), world).base

    def below() -> int:
        """How many layers are the base's."""
        if base is None:
            return 0
        from buildkit.oci.manifest import Manifest

        document = world.base(base.reference).resolve(next(iter(base.platforms.values())))
        assert document
        return len(Manifest.read(document).layers)

    reference = Reference.parse(delivered.references[0])
    return f"{reference.name}@{delivered.sealing.digest}", below


@pytest.mark.parametrize("kind", sorted(set(kinds()) - set(ELSEWHERE)))
def test_the_first_project_is_one_image(
    kind: str,
    stand_ins: Mapping[str, str],
    live_registry: LiveRegistry,
    hub: Hub,
    podman_environment: Mapping[str, str],
    docker_environment: Mapping[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What ``modelpack init`` writes does not build, is another image on another machine, or holds what no image should."""
    monkeypatch.setenv("UV_CACHE_DIR", str(CACHE / "uv"))  # what another test downloaded, this one need not
    recipe = started(kind, tmp_path, live_registry, hub)
    plan = flow.render(load(recipe), World(find(tmp_path), silent))
    seen = {}
    for engine in ("embedded", "podman", "buildx"):
        if engine_named(engine).lacks(plan):
            continue
        reference, below = build(recipe, engine)
        settings = find(tmp_path)
        above = tree(settings, reference, skip=below())
        assert not unwanted(above), engine
        seen[engine] = (tree(settings, reference), process_of(settings, reference))
        lock = (tmp_path / "recipe.lock").read_bytes()
        assert build(recipe, engine, Policy.LOCKED)[0] == reference, f"{engine}: a second build is another image"
        assert (tmp_path / "recipe.lock").read_bytes() == lock
    assert {"podman", "buildx"} <= set(seen)
    for engine, (files, process) in seen.items():
        assert process == seen["podman"][1], engine
        others = seen["podman"][0]
        differing = {name for name in files.keys() | others.keys() if files.get(name) != others.get(name)} - MOUNTED
        assert not differing, f"{engine} and podman differ in {sorted(differing)[:10]}"
