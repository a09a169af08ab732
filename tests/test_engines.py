"""Which engine builds a plan, and what is said where none can."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from buildkit.engines import choose
from buildkit.engines.program import failed
from buildkit.errors import EngineFailed
from buildkit.oci.reference import Platform
from buildkit.plan import Plan

DOWN = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
DOCKER_DOWN = f'test "$1" = buildx || {{ echo "{DOWN}" >&2; exit 1; }}'
Install = Callable[[str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts programs of the engines' names onto a machine that has none."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def put(name: str, script: str) -> None:
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)

    return put


def plan(*runs: str, **blocked: str) -> Plan:
    platforms = (Platform.parse("linux/amd64"),)
    return Plan("line", None, platforms, {}, (), {}, lambda: "FROM scratch\n", runs=runs, blocked=blocked)


def refusal(name: str, made: Plan) -> EngineFailed:
    with pytest.raises(EngineFailed) as raised:
        choose(name, made)
    return raised.value


def told(error: EngineFailed) -> str:
    return "\n".join([error.hint, *(f"{problem.what} {problem.hint}" for problem in error.problems)])


def test_a_docker_whose_daemon_is_down_is_passed_over(install: Install) -> None:
    """Docker's command is left on many machines that build with podman: a build fails, though podman would do it."""
    install("docker", DOCKER_DOWN)
    install("podman", "exit 0")
    assert choose("auto", plan("apt-get install zip")).name == "podman"
    install("docker", "exit 0")
    assert choose("auto", plan("apt-get install zip")).name == "buildx"


@pytest.mark.parametrize("name", ["auto", "buildx", "embedded"])
def test_no_engine_is_offered_that_cannot_build_it_either(install: Install, name: str) -> None:
    """Whoever follows the hint ends at the next refusal, and at the one after that."""
    install("docker", DOCKER_DOWN)
    error = refusal(name, plan("apt-get install zip"))
    assert "--engine" not in told(error)
    assert DOWN in told(error) and "start docker" in told(error) and "install podman" in told(error)


def test_an_engine_that_can_is_offered(install: Install) -> None:
    """A user who asked for docker, and has none, is not told that this model needs no engine at all."""
    assert refusal("buildx", plan()).hint == "use --engine embedded"
    install("podman", "exit 0")
    assert refusal("embedded", plan("apt-get install zip")).hint == "use --engine podman"
    assert refusal("podman", plan(podman="there is no Containerfile")).hint == "use --engine embedded"


def test_nothing_is_installed_in_vain(install: Install) -> None:
    """Docker is installed for a recipe that it cannot build."""
    blocked = dict.fromkeys(("embedded", "buildx", "podman"), "there is no Containerfile")
    assert "install" not in told(refusal("auto", plan(**blocked)))


@pytest.mark.parametrize("said", [DOWN, "no space left on device"])
def test_a_build_that_failed_offers_no_engine_unasked(said: str) -> None:
    """The hint of a failed build names an engine that nobody has asked whether it can build this recipe."""
    assert "--engine" not in failed("podman", said).hint
