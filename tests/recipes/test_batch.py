"""The kind batch: if these fail, ModelArts starts a job that has no boot file, or one that no shell can read."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit import flow
from buildkit.engines import choose
from buildkit.errors import EngineFailed, InvalidInput
from buildkit.events import silent
from buildkit.kinds import kind_named
from buildkit.plan import Plan
from buildkit.recipe import load
from buildkit.settings import find
from buildkit.world import World
from recipes.batch import keystore
from recipes.batch.kind import batch
from tests.fakes.registry import Registry
from tests.place import put_base

SAMPLE = Path(__file__).parents[2] / "samples" / "batch"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The sample beside a registry with a base."""
    with Registry() as registry:
        put_base(registry, "library/python")
        shutil.copytree(SAMPLE, tmp_path / "batch", ignore=shutil.ignore_patterns("*.lock"))
        (tmp_path / "batch/modelpack.yaml").write_text(json.dumps({"mirrors": {"docker.io": registry.address}}))
        yield tmp_path / "batch"


def write(folder: Path, **changes: Any) -> Path:
    recipe = {"kind": "batch", "name": "points", "base": "docker.io/library/python:latest", "packages": [], **changes}
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(recipe))
    return path


def plan(folder: Path, **changes: Any) -> Plan:
    return flow.render(load(write(folder, **changes)), World(find(folder), silent, sleep=lambda seconds: None))


def test_it_is_a_kind_like_any_other() -> None:
    """The machinery cannot find it."""
    assert kind_named("batch") is batch


def test_the_boot_file_is_where_the_platform_looks(folder: Path) -> None:
    """ModelArts runs /home/run.sh by the image's CMD, and an ENTRYPOINT of the base would get it as arguments."""
    made = plan(folder, model="./model")
    names = {layer.title: [entry.name for entry in layer.entries] for layer in made.layers}
    assert names["model"] == ["home/model", "home/model/weights.json"]
    assert {"home/run.sh", "home/app/predict.py", "home/app/points/first.csv"} <= set(names["code"])
    assert not [name for name in names["code"] if "model" in name or "recipe" in name], "what is no part of the code"
    boot = next(entry for entry in made.layers[-1].entries if entry.name == "home/run.sh")
    assert (boot.mode, boot.uid) == (0o755, 0)
    assert (made.process["Cmd"], made.process["Entrypoint"]) == (["/bin/sh", "/home/run.sh"], [])
    assert "MODEL_DIR=/home/model" in made.process["Env"]
    lines = made.containerfile.splitlines()
    assert lines[-3:] == ["USER 1000", "ENTRYPOINT []", 'CMD ["/bin/sh", "/home/run.sh"]']


def test_only_what_must_run_needs_an_engine_that_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a base that has Java and zip the image is built anywhere; else it is said which line is in the way."""
    monkeypatch.setenv("PATH", str(folder))
    assert choose("auto", plan(folder)).name == "embedded"
    with pytest.raises(EngineFailed, match="cannot run: apt-get install default-jre-headless zip"):
        choose("embedded", plan(folder, packages=["default-jre-headless", "zip"]))
    (folder / "requirements.txt").write_text("tabulate==0.9.0\n")
    made = plan(folder, requirements="requirements.txt")
    assert "--requirement requirements.txt" in made.containerfile and "ADD requirements.tar /" in made.containerfile
    with pytest.raises(EngineFailed, match="pip install --requirement"):
        choose("embedded", made)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "is not there"),
        (b" \n", "is empty"),
        (b"#!/bin/sh\r\necho\r\n", "has the line ends of Windows"),
        (b"\xef\xbb\xbfecho\n", "begins with a byte order mark"),
    ],
)
def test_a_boot_file_that_no_shell_can_read_is_refused(folder: Path, content: bytes | None, expected: str) -> None:
    """It would only fail on the platform, as a command that is not found."""
    (folder / "run.sh").unlink()
    if content is not None:
        (folder / "run.sh").write_bytes(content)
    with pytest.raises(InvalidInput, match=expected):
        load(write(folder))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"packages": ["--allow"]}, "is not a package of Debian"),
        ({"packages": ["zip; rm -rf /"]}, "is not a package of Debian"),
        ({"user": "root"}, "is not a numeric user"),
        ({"script": "../run.sh"}, "must not leave its folder"),
    ],
)
def test_what_a_recipe_may_not_say(folder: Path, changes: dict[str, Any], expected: str) -> None:
    """Each would become a command, or a user that a platform refuses."""
    with pytest.raises(InvalidInput, match=expected):
        load(write(folder, **changes))


def test_init_writes_a_project_that_passes_its_checks(tmp_path: Path) -> None:
    """The first thing that somebody tries must not be refused."""
    for name, text in batch.starter("mine").items():
        (tmp_path / name).write_text(text)
    assert load(tmp_path).spec.name == "mine"


def store(entries: list[tuple[str, int, bytes]], tag: int = 2) -> bytes:
    """A store of Java's as the JDK writes one."""
    body = struct.pack(">III", 0xFEEDFEED, 2, len(entries))
    for alias, added, certificate in entries:
        body += struct.pack(">IH", tag, len(alias)) + alias.encode() + struct.pack(">Q", added)
        body += struct.pack(">H", 5) + b"X.509" + struct.pack(">I", len(certificate)) + certificate
    return body + hashlib.sha1("changeit".encode("utf-16-be") + b"Mighty Aphrodite" + body).digest()


def test_two_machines_write_one_store_of_authorities() -> None:
    """Java's packages note when they were installed: no two builds are the same, and ``--locked`` proves nothing."""
    one = keystore.settled(store([("b", 1795281240616, b"second"), ("a", 1795281240617, b"first")]))
    other = keystore.settled(store([("a", 1795281299999, b"first"), ("b", 1795281240616, b"second")]))
    assert one == other == store([("a", 0, b"first"), ("b", 0, b"second")])


@given(st.binary(max_size=80))
def test_what_is_no_store_of_authorities_stays(content: bytes) -> None:
    """A build fails, or a key is lost, where a base has a store of another form."""
    assert keystore.settled(content) == content
    private = store([("mine", 7, content)], tag=1)
    assert keystore.settled(private) == private
    assert keystore.settled(store([])[:-20] + content) in (store([])[:-20] + content, store([]))
