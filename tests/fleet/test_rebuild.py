"""``modelpack rebuild``: if these fail, a fleet is half old, built twice, or broken by a machine that was switched off."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from pathlib import Path

import pytest

from buildkit.machine.cache import cache_folder
from tests.fakes.faults import Status
from tests.fleet.ground import WEIGHTS, Fleet
from tests.place import put_base
from tests.waiting import wait_until


def check_right(fleet: Fleet) -> None:
    """Every image is what its recipe says now, served where it belongs, with a lock that says so and no litter."""
    assert fleet.run("status").returncode == 0
    for number, name in enumerate(fleet.names):
        lock = fleet.lock(name)
        digest = lock["images"]["linux/amd64"]["manifest"]["digest"]
        assert fleet.digest(fleet.first, "models", name) == digest, name
        if number % 5 == 0:
            assert fleet.digest(fleet.second, "copies", name) == digest, name
        assert sorted(path.name for path in (fleet.folder / name).iterdir() if path.name != "model") == [
            "recipe.lock",
            "recipe.yaml",
        ]


def test_just_what_moved_is_rebuilt_and_then_nothing(built: Fleet) -> None:
    """A nightly rebuild must push what moved to where each image was pushed, and the next one must push nothing."""
    built.move("model-01", b"{}", b"a" * WEIGHTS)
    built.move("model-05", b"{}", b"b" * WEIGHTS)
    put_base(built.first, "base-two", b"base two without the hole")
    built.lose(built.first, "models/model-07")
    before = {name: built.digest(built.first, "models", name) for name in built.names}
    done = built.run("rebuild", "--json", "--verify")
    assert all(json.loads(line)["event"] for line in done.stderr.splitlines()), "a line on stderr is no JSON"
    assert done.returncode == 0, done.stderr
    outcomes = {image["name"]: image["outcome"] for image in json.loads(done.stdout)["images"]}
    moved = {"model-00", "model-01", "model-03", "model-05", "model-06", "model-07", "model-09"}
    assert {name for name, outcome in outcomes.items() if outcome == "rebuilt"} == moved
    after = {name: built.digest(built.first, "models", name) for name in built.names}
    assert {name for name in built.names if before[name] != after[name]} == moved
    assert after["model-07"] == built.lock("model-07")["images"]["linux/amd64"]["manifest"]["digest"]
    # model-01 once, model-05 for both registries; bases are a few kilobytes.
    assert 3 * WEIGHTS < built.uploaded < 3 * WEIGHTS + 200_000
    check_right(built)
    built.clear()
    locks = {path: path.stat().st_mtime_ns for path in built.folder.rglob("recipe.lock")}
    again = built.run("rebuild")
    assert (again.returncode, again.stdout) == (0, "")
    assert "10 current" in again.stderr
    assert built.uploaded == 0 and built.downloaded == 0
    assert {path: path.stat().st_mtime_ns for path in locks} == locks
    assert len(built.first.requests) + len(built.second.requests) + len(built.hub.requests) < 12 * len(built.names)


def test_stdout_has_only_references(built: Fleet) -> None:
    """What a pipeline signs or deploys are the lines of stdout."""
    built.move("model-05", b"{}", b"c" * WEIGHTS)
    done = built.run("rebuild")
    digest = built.digest(built.first, "models", "model-05")
    assert set(done.stdout.splitlines()) == {
        f"{built.first.address}/models/model-05:v1@{digest}",
        f"{built.second.address}/copies/model-05:v1@{digest}",
    }


def test_one_that_fails_keeps_none_back(built: Fleet, tmp_path: Path) -> None:
    """The one model that is gone upstream must be told, and the other forty-nine be current."""
    for name in ("model-01", "model-02", "model-03"):
        built.move(name, b"{}", name.encode() * 200_000)
    built.first.faults.add(Status(507), method="POST", path="/models/model-02/blobs", times=None)
    (built.folder / "model-07" / "recipe.lock").write_text("{")
    report = tmp_path / "summary.md"
    done = built.run("rebuild", "--jobs", "1", "--summary", str(report))
    assert done.returncode == 1
    assert "no room left" in done.stderr and "model-07" in done.stderr
    assert "Traceback" not in done.stderr
    assert built.digest(built.first, "models", "model-03") == built.lock("model-03")["pushed"].popitem()[1]
    assert {line.split("@")[0].rpartition("/")[2] for line in done.stdout.splitlines()} == {
        "model-01:v1",
        "model-03:v1",
    }
    text = report.read_text()
    assert "| model-02 | failed | source |" in text and "| model-01 | rebuilt | source |" in text


def test_a_dry_run_moves_nothing(built: Fleet) -> None:
    """What would happen must be seen before it does."""
    built.move("model-01", b"{}", b"d" * WEIGHTS)
    done = built.run("rebuild", "--dry-run")
    assert done.returncode == 0
    assert "model-01" in done.stdout and "1 moved, 9 current" in done.stdout
    assert built.uploaded == 0


def test_force_rebuilds_without_sending(built: Fleet) -> None:
    """Who asks for everything gets it, and what the registry has is still not sent again."""
    done = built.run("rebuild", "--force", "--json", "model-01", "model-02")
    assert done.returncode == 0, done.stderr
    assert {image["outcome"] for image in json.loads(done.stdout)["images"]} == {"rebuilt"}
    assert {tuple(image["reasons"]) for image in json.loads(done.stdout)["images"]} == {("forced",)}
    assert built.uploaded == 0


def test_an_image_that_was_never_pushed_needs_a_registry(fleet: Fleet) -> None:
    """modelpack.yaml describes two registries: it must not guess."""
    done = fleet.run("rebuild", "model-04")
    assert done.returncode == 1
    assert "model-04 was never pushed" in done.stderr and "--registry" in done.stderr


def test_two_runs_at_once_do_the_work_once(built: Fleet) -> None:
    """A person's rebuild beside the scheduled one: neither fails, and nothing is sent twice."""
    for name in ("model-01", "model-02", "model-03"):
        built.move(name, b"{}", os.urandom(WEIGHTS))
    built.first.throttle(3_000_000)
    runs = [
        subprocess.Popen(
            built.command("rebuild", "--json"),
            cwd=built.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    results = [run.communicate(timeout=120) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], results
    assert 3 * WEIGHTS < built.uploaded < 3 * WEIGHTS + 200_000
    outcomes = [image["outcome"] for out, _ in results for image in json.loads(out)["images"]]
    assert outcomes.count("rebuilt") == 3
    built.first.throttle(None)
    check_right(built)


@pytest.mark.parametrize("seed", range(2))
def test_killed_five_times_and_still_right(built: Fleet, seed: int) -> None:
    """A machine may be switched off at any byte: what was done stays done, and nothing whole is sent twice."""
    chance = random.Random(seed)
    moved = ["model-01", "model-02", "model-03", "model-05", "model-06", "model-07", "model-09"]
    for name in moved:
        built.move(name, b"{}", chance.randbytes(WEIGHTS))
    put_base(built.first, "base-one", b"base one without the hole")
    built.first.throttle(4_000_000)
    before = pushes(built)
    lost: set[str] = set()
    for _ in range(5):
        at = received(built) + chance.randrange(2 * WEIGHTS)
        run = subprocess.Popen(
            built.command("rebuild", "--quiet"), cwd=built.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        wait_until(lambda at=at, run=run: received(built) >= at or run.poll() is not None)  # type: ignore[misc]
        run.send_signal(signal.SIGKILL)
        run.communicate()
        lost |= large(built) - noted()
    built.first.throttle(None)
    done = built.run("rebuild")
    assert done.returncode == 0, done.stderr
    check_right(built)
    # What arrived whole in the very moment of a kill, before it could be noted, may come once more.
    assert len(moved) + 1 <= pushes(built) - before <= len(moved) + 1 + len(lost)
    built.clear()
    assert built.run("rebuild").returncode == 0
    assert built.uploaded == 0


def test_a_recipe_that_was_renamed_goes_where_it_was_told_once(built: Fleet) -> None:
    """A new name, and every night fails over the old one, though somebody did what the hint says."""
    built.write("model-01", **{**built.said("model-01"), "name": "renamed"})
    refused = built.run("rebuild", "model-01")
    assert refused.returncode == 1 and "rebuild RECIPE --registry R" in refused.stderr
    told = built.run("rebuild", "model-01", "--registry", "first")
    assert told.returncode == 0, told.stderr
    assert list(built.lock("model-01")["pushed"]) == [f"{built.first.address}/models/renamed:v1"]
    assert built.run("status", "model-01").returncode == 0


def received(fleet: Fleet) -> int:
    """Bytes that arrived so far, those of uploads that go on included."""
    return sum(session.received for registry in (fleet.first, fleet.second) for session in registry.sessions)


def pushes(fleet: Fleet) -> int:
    """Large layers that were sent whole."""
    sessions = (*fleet.first.sessions, *fleet.second.sessions)
    return len([one for one in sessions if one.state == "finished" and one.received > WEIGHTS])


def large(fleet: Fleet) -> set[str]:
    return {digest for digest, content in fleet.first.blobs.items() if content.size > WEIGHTS}


def noted() -> set[str]:
    """Layers whose digests this machine knows."""
    return {path.read_text().strip() for path in (cache_folder() / "layers").iterdir() if path.is_file()}
