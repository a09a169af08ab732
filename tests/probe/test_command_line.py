"""The words that engines are started with: what stands there is what a platform does."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit.errors import EngineFailed, InvalidInput
from buildkit.probe.command_line import Docker, Podman, engine_named
from buildkit.probe.containers import Container, Mount, NotStarted


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str, name: str = "podman") -> Path:
    """A program of the engine's name that notes its words and then does what the script says."""
    place = folder / "bin"
    place.mkdir(exist_ok=True)
    program = place / name
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {folder}/words\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:/usr/bin:/bin")
    return folder / "words"


CONTAINER = Container(
    "image",
    ("serve",),
    ports=(8080, 9090),
    host_port=18080,
    environment={"PORT": "8080"},
    passed=("API_KEY",),
    user="1010",
    memory="15m",
    read_only=True,
    temporary=("/tmp",),
    mounts=(Mount(Path("/model"), "/opt/ml/model"),),
    processes_of="other",
    entrypoint="sh",
)


def test_a_container_is_started_with_everything_that_was_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flag that is forgotten makes a probe that cannot fail; and no port may be open to the network."""
    monkeypatch.setenv("API_KEY", "not-to-be-shown")
    words = stand_in(tmp_path, monkeypatch, "exit 0")
    Podman().start("name", CONTAINER)
    said = words.read_text().split("\n")
    line = " ".join(said)
    for expected in (
        "run --detach --name name",
        "--publish 127.0.0.1:18080:8080 --publish 127.0.0.1::9090",
        "--env PORT=8080 --env API_KEY",
        "--user 1010 --memory 15m",
        "--read-only --read-only-tmpfs=false --tmpfs /tmp:rw,exec,mode=1777",
        "--mount type=bind,source=/model,target=/opt/ml/model,readonly",
        "--pid container:other --entrypoint sh image serve",
    ):
        assert expected in line
    assert "not-to-be-shown" not in line


def test_what_is_not_started_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine's own words are the explanation."""
    stand_in(tmp_path, monkeypatch, "echo 'no such program' >&2; exit 127", "docker")
    with pytest.raises(NotStarted, match="no such program") as raised:
        Docker().start("name", Container("image"))
    assert raised.value.code == 127


def test_without_an_engine_there_is_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has neither must know what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineFailed) as raised:
        engine_named(None)
    assert {problem.where for problem in raised.value.problems} == {"podman", "docker"}
    assert "install" in raised.value.hint


def test_another_engine_is_refused() -> None:
    """A name that is mistyped must not fall back to another engine."""
    with pytest.raises(InvalidInput, match="there is no container engine 'nerdctl'"):
        engine_named("nerdctl")


def test_folders_above_a_change_are_no_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written is told, and neither the folders on the way nor those that the engine itself mounts into."""
    stand_in(tmp_path, monkeypatch, "printf 'C /var\\nA /var/written.txt\\nC /etc\\nC /run\\nA /run/x.pid\\n'")
    assert Podman().changes("name") == ("/run/x.pid", "/var/written.txt")
