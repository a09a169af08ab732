"""A fleet of recipes in a folder, with a hub and two registries on loopback that want their users and give short tokens."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from buildkit.cli.main import main
from tests.fakes.hub import Hub
from tests.fakes.registry import Account, Auth, Registry
from tests.place import put_base

WEIGHTS = 1_100_000
"""Bytes of each model's large file: more than the hub keeps in git itself."""


@dataclass
class Fleet:
    """``size`` recipes: every third on ``bases[1]``, every fourth a folder; all pushed to ``first``, every fifth to ``second`` as well."""

    folder: Path
    hub: Hub
    first: Registry
    second: Registry
    size: int = 10
    names: list[str] = field(default_factory=list)
    weights: dict[str, bytes] = field(default_factory=dict)

    def lay(self) -> None:
        """Writes the recipes, the models and the bases."""
        for name in ("base-one", "base-two"):
            put_base(self.first, name, name.encode())
        registries = {
            "first": {"host": self.first.address, "prefix": "models"},
            "second": {"host": self.second.address, "prefix": "copies"},
        }
        (self.folder / "modelpack.yaml").write_text(
            json.dumps({"hub": {"endpoint": self.hub.endpoint}, "registries": registries})
        )
        self.names = [f"model-{number:02}" for number in range(self.size)]
        for number, name in enumerate(self.names):
            self.write(name, **self.words(number, name))

    def words(self, number: int, name: str) -> dict[str, Any]:
        base = "base-two" if number % 3 == 0 else "base-one"
        words: dict[str, Any] = {"kind": "modelcar", "name": name, "tags": ["v1"]}
        words["base"] = f"{self.first.address}/{base}:latest"
        if number % 4 == 0:
            model = self.folder / name / "model"
            model.mkdir(parents=True)
            (model / "weights.bin").write_bytes(os.urandom(5000))
            return words | {"model": "./model"}
        self.move(name, b"{}", os.urandom(WEIGHTS))
        return words | {"model": {"hf": f"org/{name}", "exclude": ["*.md"]}}

    def write(self, place: str, /, **words: Any) -> Path:
        path = self.recipe(place)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(words))
        return path

    def recipe(self, name: str) -> Path:
        return self.folder / name / "recipe.yaml"

    def said(self, name: str) -> dict[str, Any]:
        return json.loads(self.recipe(name).read_text())  # type: ignore[no-any-return]

    def lock(self, name: str) -> dict[str, Any]:
        return json.loads((self.folder / name / "recipe.lock").read_text())  # type: ignore[no-any-return]

    def move(self, name: str, config: bytes, weights: bytes, readme: bytes = b"# A model") -> None:
        """The hub's model becomes another one."""
        self.weights[name] = weights
        self.hub.add(f"org/{name}", {"config.json": config, "weights.safetensors": weights, "README.md": readme})

    def digest(self, registry: Registry, prefix: str, name: str) -> str | None:
        return registry.tags.get(f"{prefix}/{name}", {}).get("v1")

    def lose(self, registry: Registry, repository: str, tag: str = "v1") -> None:
        """The registry forgets a manifest and its tag; the blobs stay, as they do until somebody collects them."""
        held = registry.storage.repositories[repository]
        held.manifests.pop(held.tags.pop(tag))

    def clear(self) -> None:
        for log in (self.hub.log, self.first.log, self.second.log):
            log.clear()

    @property
    def uploaded(self) -> int:
        """Bytes that were sent to both registries."""
        requests = (*self.first.requests, *self.second.requests)
        return sum(request.request_bytes for request in requests if request.method in ("PATCH", "PUT", "POST"))

    @property
    def downloaded(self) -> int:
        """Bytes of model files that the hub gave."""
        return sum(request.bytes_sent for request in self.hub.requests if "/api/" not in request.path)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "buildkit", *arguments]

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end, in this process: a new one takes longer to start than most commands to run."""
        out, err, code = io.StringIO(), io.StringIO(), 0
        taken = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        with (
            pytest.MonkeyPatch.context() as here,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            here.chdir(self.folder)
            here.setattr(sys, "argv", ["modelpack", *arguments])
            here.setattr(sys, "stdin", None)
            here.setattr(sys, "unraisablehook", sys.unraisablehook)
            for name, value in environment.items():
                here.setenv(name, value)
            try:
                main()
            except SystemExit as ended:
                code = int(ended.code or 0)
            finally:
                for number, handler in taken.items():
                    signal.signal(number, handler)
        assert code in (0, 1, 2, 3), err.getvalue()
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())

    def status(self, *arguments: str) -> dict[str, dict[str, Any]]:
        """What ``status --json`` says, by the image's name."""
        done = self.run("status", "--json", *arguments)
        return {image["name"]: image for image in json.loads(done.stdout)["images"]}

    def build_all(self) -> None:
        """Pushes every recipe to ``first``, and every fifth to ``second`` as well."""
        done = self.run("rebuild", "--registry", "first", "--jobs", "4")
        assert done.returncode == 0, done.stderr
        both = [str(self.recipe(name)) for name in self.names[::5]]
        done = self.run("rebuild", *both, "--registry", "second", "--jobs", "4")
        assert done.returncode == 0, done.stderr


@dataclass(frozen=True)
class Grown:
    """A fleet as it stood at one moment: what the hub and the registries had, the folder, and the machine's cache."""

    fleet: Fleet
    models: dict[str, Any]
    stored: tuple[tuple[dict[str, Any], dict[str, Any]], ...]
    cache: Path

    def restored(self, folder: Path, cache: Path) -> Fleet:
        """The fleet as it stood, in a folder of its own; hub and registries are the same, and forget what was since."""
        fleet = self.fleet
        shutil.copytree(fleet.folder, folder)
        shutil.copytree(self.cache, cache)
        fleet.hub.repositories.clear()
        fleet.hub.repositories.update(copy.deepcopy(self.models))
        for server in (fleet.hub, fleet.first, fleet.second):
            server.faults.clear()
            server.throttle(None)
        for registry, (blobs, repositories) in zip((fleet.first, fleet.second), self.stored, strict=True):
            storage = registry.storage
            with storage.lock:
                storage.sessions.clear()
                storage.blobs.clear()
                storage.blobs.update(blobs)
                storage.repositories.clear()
                storage.repositories.update(copy.deepcopy(repositories))
        fleet.clear()
        return replace(fleet, folder=folder, names=list(fleet.names), weights=dict(fleet.weights))


def grown(fleet: Fleet, cache: Path) -> Grown:
    """Keeps a fleet as it stands. Its folder and cache must not be worked in any more."""
    stored = tuple(
        (dict(one.storage.blobs), copy.deepcopy(one.storage.repositories)) for one in (fleet.first, fleet.second)
    )
    return Grown(fleet, copy.deepcopy(fleet.hub.repositories), stored, cache)


def accounts(registry: Registry, user: str) -> dict[str, str]:
    """The variables with which a user of the registry is logged in."""
    stem = "MODELPACK_" + registry.address.replace(".", "_").replace(":", "_")
    return {f"{stem}_USERNAME": user, f"{stem}_PASSWORD": f"{user}'s word"}


def secured(size: int, folder: Path) -> Iterator[tuple[Fleet, dict[str, str]]]:
    """A fleet whose first registry gives tokens of five seconds and whose second asks for a password each time."""
    tokens = Auth("token", {"ann": Account("ann's word")}, token_seconds=5, reported_seconds=5)
    basic = Auth("basic", {"bob": Account("bob's word")})
    with Hub() as hub, Registry(auth=tokens) as first, Registry(auth=basic) as second:
        fleet = Fleet(folder, hub, first, second, size)
        fleet.lay()
        yield fleet, accounts(first, "ann") | accounts(second, "bob")
