"""Fifty images, two real registries over TLS (one with tokens of five seconds, one with htpasswd), and a hub that moves."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.hub import Hub
from tests.fakes.registry import Registry
from tests.live.registry import LiveRegistry, start_registry
from tests.live.token_server import start_token_server
from tests.place import put_base
from tests.waiting import wait_until

pytestmark = [pytest.mark.live, pytest.mark.engine]
COUNT = 50
WEIGHTS = 1_050_000


@dataclass
class World:
    """A fleet, its hub, the registry of its bases, and the two that its images go to."""

    folder: Path
    hub: Hub
    bases: Registry
    tokens: LiveRegistry
    basic: LiveRegistry

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "buildkit", *arguments]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False, timeout=500)

    def status(self) -> dict[str, dict[str, Any]]:
        done = self.run("status", "--json")
        assert "Traceback" not in done.stderr
        return {image["name"]: image for image in json.loads(done.stdout)["images"]}

    def move(self, number: int, weights: bytes) -> None:
        self.hub.add(f"org/m{number:02}", {"config.json": b"{}", "weights.safetensors": weights})

    def sent(self) -> list[tuple[str, str, str]]:
        """Every blob that was taken: the registry, the repository, the digest."""
        found = []
        for registry in (self.tokens, self.basic):
            for request in registry.requests():
                repository, uploads, rest = request.path.removeprefix("/v2/").partition("/blobs/uploads/")
                if request.method == "PUT" and uploads and request.status == 201:
                    found.append((registry.host, repository, rest.partition("digest=")[2]))
        return found

    def taken(self) -> int:
        """About how many blobs were taken: the logs as they are, without a request of our own, for whoever waits."""
        logs = [registry.log_path.read_text("utf-8", "replace") for registry in (self.tokens, self.basic)]
        return sum(len(re.findall(r'"PUT /v2/[^ ]+/blobs/uploads/[^ ]+ HTTP', log)) for log in logs)


@pytest.fixture
def world(registry_program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with start_token_server(tmp_path / "tokens") as server, Hub() as hub, Registry() as bases:
        server.lifetime = 5
        one = start_registry(tmp_path / "one", token=server, tls=True)
        two = start_registry(tmp_path / "two", htpasswd=("bob", "bob's word"), tls=True)
        with one as tokens, two as basic:
            bundle = tmp_path / "authorities.pem"
            bundle.write_text("".join(one.ca_file.read_text() for one in (tokens, basic) if one.ca_file))
            monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
            for registry in (tokens, basic):
                assert registry.credentials
                stem = "MODELPACK_" + registry.host.replace(".", "_").replace(":", "_")
                monkeypatch.setenv(f"{stem}_USERNAME", registry.credentials[0])
                monkeypatch.setenv(f"{stem}_PASSWORD", registry.credentials[1])
            folder = tmp_path / "fleet"
            folder.mkdir()
            yield laid(World(folder, hub, bases, tokens, basic))


def laid(world: World) -> World:
    put_base(world.bases, "base", b"base")
    registries = {"tokens": {"host": world.tokens.host}, "basic": {"host": world.basic.host}}
    settings = {"hub": {"endpoint": world.hub.endpoint}, "registries": registries}
    (world.folder / "modelpack.yaml").write_text(json.dumps(settings))
    for number in range(COUNT):
        world.move(number, os.urandom(WEIGHTS))
        base = f"{world.bases.address}/base:latest" if number % 2 else "scratch"
        recipe = {"kind": "modelcar", "name": f"m{number:02}", "model": f"hf://org/m{number:02}", "base": base}
        path = world.folder / f"m{number:02}" / "recipe.yaml"
        path.parent.mkdir()
        path.write_text(json.dumps({**recipe, "tags": ["v1"]}))
    return world


def check_readers(world: World, skopeo: str, podman: Mapping[str, str]) -> None:
    """Independent readers take what was pushed: skopeo every image, podman one of each registry."""
    places = [*((world.tokens, f"m{number:02}") for number in range(COUNT)), (world.basic, "m00")]
    with ThreadPoolExecutor(4) as pool:
        for _ in pool.map(lambda place: check_read(world, place[0], place[1], skopeo), places):
            pass
    for registry in (world.tokens, world.basic):
        command = ["podman", "pull", "--quiet", *login_of(registry), f"{registry.host}/m00:v1"]
        subprocess.run(command, env={**os.environ, **podman}, capture_output=True, check=True)


def check_read(world: World, registry: LiveRegistry, name: str, skopeo: str) -> None:
    command = [skopeo, "inspect", *login_of(registry), f"docker://{registry.host}/{name}:v1"]
    inspected = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    lock = json.loads((world.folder / name / "recipe.lock").read_text())
    assert inspected["Digest"] == lock["images"]["linux/amd64"]["manifest"]["digest"]


def login_of(registry: LiveRegistry) -> list[str]:
    """The options with which skopeo and podman trust a registry and log in to it."""
    assert registry.ca_file and registry.credentials
    certificates = registry.ca_file.parent / "trusted"
    certificates.mkdir(exist_ok=True)
    (certificates / "ca.crt").write_bytes(registry.ca_file.read_bytes())
    return ["--cert-dir", str(certificates), "--creds", ":".join(registry.credentials)]


def test_fifty_images_stay_current(world: World, skopeo: str, podman: Mapping[str, str]) -> None:
    """What the fleet is for: told right, moved once, killed five times and still right, read by everybody."""
    done = world.run("rebuild", "--registry", "tokens", "--jobs", "4", "--quiet")
    assert done.returncode == 0, done.stderr
    both = [f"m{number:02}" for number in range(0, COUNT, 10)]
    done = world.run("rebuild", *both, "--registry", "basic", "--quiet")
    assert done.returncode == 0, done.stderr
    assert {image["state"] for image in world.status().values()} == {"current"}

    chance = random.Random(6)
    moved = sorted(chance.sample(range(COUNT), 12))
    for number in moved:
        world.move(number, chance.randbytes(WEIGHTS))
    put_base(world.bases, "base", b"base without the hole")
    found = world.status()
    for number in range(COUNT):
        expected = [reason for reason, there in (("source", number in moved), ("base", number % 2)) if there]
        assert found[f"m{number:02}"]["reasons"] == expected

    for _ in range(5):
        until = world.taken() + chance.randrange(1, 8)
        run = subprocess.Popen(
            [sys.executable, "-m", "buildkit", "rebuild", "--quiet"],
            cwd=world.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(lambda until=until, run=run: world.taken() >= until or run.poll() is not None)  # type: ignore[misc]
        run.send_signal(signal.SIGKILL)
        run.wait()
    done = world.run("rebuild", "--verify")
    assert done.returncode == 0, done.stderr
    assert {image["state"] for image in world.status().values()} == {"current"}
    sent = world.sent()
    assert len({place for place in sent if place[2]}) >= len(moved)
    # What arrived in the very moment of a kill, before it could be noted, may come once more.
    assert len(sent) - len(set(sent)) <= 5, "blobs were sent twice"
    check_readers(world, skopeo, podman)
    quiet = len(world.sent())
    again = world.run("rebuild", "--json")
    assert again.returncode == 0
    assert json.loads(again.stdout)["summary"]["current"] == COUNT
    assert len(world.sent()) == quiet, "the second rebuild sent something"
    assert not list(world.folder.rglob(".*partial*"))
