"""Ctrl-C and SIGTERM at every step: if these fail, an interrupted command leaves rubbish, or says of itself what is not so."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from buildkit import flow
from buildkit.policy import Policy
from tests.cli.test_cli import modelpack
from tests.fakes.faults import Side, Stall
from tests.place import FILES, Place, put_base
from tests.waiting import wait_until


def begun(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "buildkit", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts what it runs in the background with SIGINT ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - nothing else runs in it
    )


def interrupted(place: Place, *arguments: str, number: int = signal.SIGINT) -> tuple[int, str, str]:
    """Code, stdout and stderr of a command that is interrupted where the registry falls silent."""
    process = begun(*arguments)
    wait_until(lambda: bool(place.registry.faults.fired))
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert "Traceback" not in err
    return process.returncode, out, err


def silent_at(place: Place, method: str, path: str, skip: int = 0) -> None:
    side: Side = "response" if method == "GET" else "request"
    place.registry.faults.add(Stall(0, threading.Event(), side), method=method, path=path, skip=skip)


_AT_AN_IMPORT = """
import os, sys

first, again, number, lost = sys.argv[1], sys.argv[2] == "again", int(sys.argv[3]), sys.argv[4] == "lost"
came = []

class Late:
    def __del__(self):
        os.kill(os.getpid(), number)

def hook(event, arguments):
    if event == "import" and (again if came else arguments[0] == first):
        came.append(arguments[0])
        Late() if lost else os.kill(os.getpid(), number)

sys.argv[1:] = sys.argv[5:]
sys.addaudithook(hook)
from buildkit.cli.main import main
main()
"""
"""Sends itself a signal when a module is imported, and with each later one where that is wanted."""


def at_import(module: str, *arguments: str, again: str = "", number: int = signal.SIGINT, lost: str = "") -> list[str]:
    """The code, and the lines on stderr, of a command that a signal reaches when it imports a module."""
    command = [sys.executable, "-c", _AT_AN_IMPORT, module, again, str(int(number)), lost, *arguments]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    return [str(done.returncode), *done.stderr.splitlines()]


def pushing(place: Place, *recipes: Path) -> list[str]:
    return ["build", *map(str, recipes), "--push", "--registry", f"{place.registry.address}/models"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_nothing_is_tagged_and_the_lock_is_as_it_was(place: Place, number: int, code: int) -> None:
    """Ctrl-C, or a CI system's SIGTERM, in the middle of an upload: sessions deleted, lock untouched, and the next run works."""
    path = str(place.recipe().path)
    assert modelpack("lock", path).returncode == 0
    before = place.lock.read_bytes()
    place.registry.throttle(300_000)
    process = begun(*pushing(place, Path(path)))
    wait_until(lambda: any(session.received for session in place.registry.sessions))
    process.send_signal(number)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (code, "")
    assert "Traceback" not in err
    assert "interrupted: nothing was tagged, the lock is unchanged" in err
    assert not place.registry.tags.get("models/granite")
    assert place.lock.read_bytes() == before
    wait_until(lambda: not [session for session in place.registry.sessions if session.state == "open"])
    place.registry.throttle(None)
    assert modelpack("build", path, "--push", "--registry", f"{place.registry.address}/models").returncode == 0
    assert place.model_files() == FILES


def test_a_registry_that_takes_its_time_does_not_hold_who_presses_ctrl_c(place: Place) -> None:
    """A registry may take many minutes to finish a layer, and a person must not have to wait for them."""
    silent_at(place, "PUT", "uploads")
    code, _, err = interrupted(place, *pushing(place, place.recipe().path))
    assert code == 130 and "interrupted" in err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_between_two_tags_the_one_that_moved_is_told(place: Place, number: int, code: int) -> None:
    """Who reads that nothing was tagged would never look at the release that people pull by now."""
    silent_at(place, "PUT", "manifests/latest")
    command = pushing(place, place.recipe(tags=["v1", "latest"]).path)
    ended, out, err = interrupted(place, *command, number=number)
    name, digest = f"{place.registry.address}/models/granite", place.registry.tags["models/granite"]["v1"]
    assert (ended, out) == (code, "")
    assert "nothing was tagged, the lock" not in err
    assert f"{name}:v1 serves {digest}\n" in err
    assert f"{name}:latest may serve {digest}: the registry did not confirm it" in err
    assert not place.lock.exists() and "recipe.lock" not in err


@pytest.mark.parametrize("command", [("build", "--push"), ("push",)])
def test_in_the_second_recipe_the_first_ones_tags_and_lock_are_told(place: Place, command: tuple[str, ...]) -> None:
    """The first image is out: whoever is told otherwise pushes it again, or forgets to commit its lock."""
    first, second = place.recipe().path, place.folder / "second.yaml"
    second.write_text(first.read_text().replace('"granite"', '"second"'))
    if command == ("push",):
        assert modelpack("build", str(first), str(second)).returncode == 0
    silent_at(place, "PUT", "models/second/manifests")
    registry = f"{place.registry.address}/models"
    code, out, err = interrupted(place, *command, str(first), str(second), "--registry", registry)
    digest = place.registry.tags["models/granite"]["v1"]
    assert (code, out) == (130, f"{registry}/granite:v1@{digest}\n")
    assert f"{registry}/granite:v1 serves {digest}\n" in err
    assert f"{place.lock} is written\n" in err
    assert "models/second" not in err[err.index("interrupted") :]


def test_in_the_second_lock_the_first_is_told(place: Place) -> None:
    """A lock that moved has to be committed, also where the next one was not waited for."""
    first, second = place.recipe().path, place.folder / "second.yaml"
    second.write_text(first.read_text().replace("ubi-micro:latest", "another:latest"))
    put_base(place.registry, "ubi9/another")
    silent_at(place, "GET", "ubi9/another/manifests")
    code, _, err = interrupted(place, "lock", str(first), str(second))
    assert code == 130
    assert f"{place.lock} is written\n" in err


def test_in_the_second_tag_of_a_copy_the_first_is_told(place: Place) -> None:
    """A promotion that was half done must not be taken for one that was not begun."""
    digest = place.build().sealing.digest
    silent_at(place, "PUT", "manifests/t2")
    source, there = f"{place.registry.address}/models/granite:v1", f"{place.registry.address}/production"
    code, out, err = interrupted(place, "copy", source, there, "--tag", "t1", "--tag", "t2")
    assert (code, out) == (130, "")
    assert f"{there}/granite:t1 serves {digest}\n" in err


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_an_assembled_image_is_told_before_its_marks_are_taken_away(place: Place, form: tuple[str, ...]) -> None:
    """The image is done: its name must not be lost because the registry is slow to delete what nobody needs."""
    recipe = place.recipe(layers="per-file")
    flow.lock(recipe, place.world(), Policy.KEEP)
    command = [*pushing(place, recipe.path), *form]
    assert modelpack(*command, "--shard", "0/1").returncode == 0
    marks = place.registry.tags["models/granite"]
    silent_at(place, "GET", "manifests/modelpack-layer", skip=len(marks))
    code, out, err = interrupted(place, *command, "--assemble")
    digest = place.registry.tags["models/granite"]["v1"]
    assert code == 130
    assert f"{place.registry.address}/models/granite:v1" in out and digest in out
    told = json.dumps({"where": f"{place.registry.address}/models/granite:v1", "what": f"serves {digest}"})[:-1]
    assert (told if form else f"models/granite:v1 serves {digest}\n") in err
    assert str(place.lock) in err and "is written" in err
    assert place.registry.tags["models/granite"] == {"v1": digest, **marks}
    assert modelpack(*command, "--assemble").returncode == 0
    assert place.registry.tags["models/granite"] == {"v1": digest}, "marks of the run before stayed for ever"


def test_in_the_second_image_of_a_rebuild_the_first_is_told(place: Place) -> None:
    """A night that was stopped has released images, and whoever reads of none looks for them in vain."""
    first, second = place.recipe().path, place.folder / "second.yaml"
    second.write_text(first.read_text().replace('"granite"', '"second"'))
    registry = f"{place.registry.address}/models"
    assert modelpack(*pushing(place, first, second)).returncode == 0
    put_base(place.registry, content=b"another shell")
    silent_at(place, "PUT", "models/second/manifests")
    command = ["rebuild", str(place.folder), "--registry", registry, "--jobs", "1"]
    code, _, err = interrupted(place, *command)
    assert code == 130
    assert f"{registry}/granite:v1 serves {place.registry.tags['models/granite']['v1']}\n" in err
    assert f"{place.lock} is written\n" in err


def test_an_interruption_is_a_line_of_json_where_these_are_asked_for(place: Place) -> None:
    """A program that reads every line of stderr would fail at the last one, and at the only one that says what moved."""
    silent_at(place, "PUT", "manifests/latest")
    command = pushing(place, place.recipe(tags=["v1", "latest"]).path)
    code, _, err = interrupted(place, *command, "--json")
    last = [json.loads(line) for line in err.splitlines()][-1]
    assert code == 130
    assert last["event"] == "error" and last["what"].startswith("interrupted")
    assert [problem["where"] for problem in last["problems"]] == [
        f"{place.registry.address}/models/granite:{tag}" for tag in ("v1", "latest")
    ]


TOLD = "interrupted: nothing was tagged, the lock is unchanged"


@pytest.mark.parametrize(
    ("module", "again"),
    [
        ("signal", ""),
        *((module, again) for module in ("buildkit.errors", "typer", "buildkit.flow") for again in ("", "again")),
    ],
)
def test_a_command_that_only_begins_is_interrupted_as_tidily(place: Place, module: str, again: str) -> None:
    """Who sees at once that the command is wrong gets a screen of traceback, and a script a death that it takes for a crash."""
    assert at_import(module, "lock", str(place.recipe().path), again=again) == ["130", TOLD]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, "130"), (signal.SIGTERM, "143")])
def test_a_signal_that_python_swallows_still_ends_the_command(place: Place, number: int, code: str) -> None:
    """A destructor, or a callback of the import machinery, takes the exception for its own: the push would go on to its end."""
    place.registry.faults.add(Stall(0, threading.Event(), "response"), times=None)
    told = at_import("buildkit.flow", *pushing(place, place.recipe().path), number=number, lost="lost")
    assert told == [code, TOLD]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_who_insists_gets_the_same_end(place: Place, number: int, code: int) -> None:
    """A second Ctrl-C while the first is told ends in a traceback over it, and in another exit code."""
    silent_at(place, "PUT", "manifests/latest")
    process = begun(*pushing(place, place.recipe(tags=["v1", "latest"]).path))
    wait_until(lambda: bool(place.registry.faults.fired))
    while process.poll() is None:
        process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (code, "")
    assert f"{place.registry.address}/models/granite:v1 serves" in err
    assert "Traceback" not in err and "Exception ignored" not in err
