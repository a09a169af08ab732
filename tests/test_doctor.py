"""What a machine has and lacks, told so that a person can mend it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from buildkit.doctor import Finding, examine
from buildkit.doctor.machine import machine
from buildkit.oci import hashing
from tests.fakes.registry import Registry
from tests.place import Place


def found(place: Place, *, ask: bool = True) -> dict[tuple[str, str], Finding]:
    return {(one.part, one.name): one for one in examine(place.world(), ask=ask)}


def script(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    return programs


def test_a_machine_with_nothing_can_still_build(place: Place, bare: Path) -> None:
    """A newcomer is told to install docker, though the embedded engine needs nothing."""
    everything = found(place)
    assert everything["engine", "embedded"].state == "ok"
    assert {everything["engine", name].state for name in ("buildx", "podman")} == {"missing"}
    assert everything["target", "kserve:modelcar"].mend == "install podman or docker"
    assert everything["program", "cosign"].state == "missing"
    assert all(one.mend for one in everything.values() if one.state != "ok"), "nobody is told what to do"


@pytest.mark.parametrize(
    ("paired", "machine", "state"), [(True, "x86_64", "ok"), (False, "x86_64", "missing"), (False, "aarch64", "ok")]
)
def test_it_is_told_how_hashes_are_made(
    place: Place, bare: Path, monkeypatch: pytest.MonkeyPatch, paired: bool, machine: str, state: str
) -> None:
    """A tool that was installed without a compiler is slow for ever, and nobody knows why."""
    monkeypatch.setattr(hashing, "PAIRED", paired)
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr("platform.system", lambda: "Linux")
    told = found(place, ask=False)["tool", "hashing"]
    assert told.state == state and (told.state == "ok" or "C compiler" in told.mend)


def test_a_home_that_may_not_be_entered_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container with another user's HOME the one command that would tell what is wrong ends with an error."""
    home = tmp_path / "home"
    home.mkdir(mode=0)
    monkeypatch.setenv("MODELPACK_CACHE_DIR", str(home / ".cache" / "modelpack"))
    is_root = os.geteuid() == 0
    if is_root:
        os.setresuid(65534, 65534, 0)
    try:
        (cache,) = [one for one in machine() if one.name == "cache"]
    finally:
        if is_root:
            os.setresuid(0, 0, 0)
    assert (cache.state, cache.mend) == ("broken", "set MODELPACK_CACHE_DIR to a folder that may")


def test_an_engine_that_is_there_and_does_not_answer_is_broken(place: Place, bare: Path) -> None:
    """A daemon that is down counts as an engine, and the build fails instead."""
    script(
        bare,
        "docker",
        'test "$1" = buildx && echo github.com/docker/buildx 0.13 && exit 0; echo cannot connect >&2; exit 1',
    )
    script(bare, "podman", "echo 4.9.0 true /store")
    everything = found(place)
    assert (everything["engine", "buildx"].state, everything["engine", "buildx"].what) == (
        "broken",
        "docker does not answer: cannot connect",
    )
    assert "install" not in everything["target", "oci-genai"].mend or everything["engine", "podman"].state == "broken"


def test_the_hub_is_asked_whether_it_takes_the_token(place: Place, bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that expired is found at the first gated model, or is printed."""
    token = "hf_" + "t" * 34
    place.hub.token = token
    monkeypatch.setenv("HF_TOKEN", token)
    good = found(place)["hub", place.hub.endpoint]
    place.hub.token = "hf_" + "u" * 34
    bad = found(place)["hub", place.hub.endpoint]
    assert (good.state, bad.state) == ("ok", "broken"), (good, bad)
    assert token not in f"{good}{bad}"


def test_a_registry_is_asked_whether_it_takes_the_login(
    place: Place, bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong password is found after an hour of download."""
    with Registry() as registry:
        settings = json.loads((place.folder / "modelpack.yaml").read_text())
        settings["registries"] = {"here": {"host": registry.address}, "gone": {"host": "127.0.0.1:9"}}
        (place.folder / "modelpack.yaml").write_text(json.dumps(settings))
        everything = found(place)
        assert everything["registry", "here"].state == "ok"
        assert everything["registry", "gone"].state == "broken"
        assert "modelpack login" in found(place, ask=False)["registry", "gone"].mend


def test_the_command_says_it_for_people_and_for_machines(place: Place, bare: Path) -> None:
    """A CI system cannot read the table, or a broken part is no failure."""
    command = [sys.executable, "-m", "buildkit", "doctor", "--offline"]
    people = subprocess.run(command, cwd=place.folder, capture_output=True, text=True, check=False)
    machines = subprocess.run([*command, "--json"], cwd=place.folder, capture_output=True, text=True, check=False)
    assert (people.returncode, machines.returncode) == (0, 0), people.stdout + people.stderr
    assert {"embedded", "podman"} <= {one["name"] for one in json.loads(machines.stdout)}
    assert max(map(len, people.stdout.splitlines())) <= 80
    assert people.stdout.count("kserve:native") == 1


def test_a_registry_by_its_number_is_named_whole(place: Place, bare: Path) -> None:
    """The brackets of an IPv6 address are taken for markup, and nobody knows which registry is meant."""
    command = [sys.executable, "-m", "buildkit", "doctor", "--offline", "--registry", "[fe80::1]:5000/models"]
    done = subprocess.run(command, cwd=place.folder, capture_output=True, text=True, check=False)
    assert "[fe80::1]:5000/models  " in done.stdout, done.stdout + done.stderr
