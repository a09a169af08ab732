"""``modelpack status``: if these fail, an image is rebuilt for nothing, or stays old while everybody believes it current."""

from __future__ import annotations

import json

import pytest

from tests.fakes.faults import Status
from tests.fleet.ground import WEIGHTS, Fleet
from tests.place import put_base


def test_nothing_moved_and_it_costs_few_requests(built: Fleet) -> None:
    """A status every hour over two hundred images must be quick and must not use up anybody's rate limit."""
    done = built.run("status")
    assert done.returncode == 0, done.stderr
    assert "0 moved, 10 current, 0 unknown" in done.stdout
    bases = [
        request for request in built.first.requests if "/manifests/latest" in request.path and request.status == 200
    ]
    assert len(bases) == 2, "each base is asked for once, however many images stand on it"
    assert {request.method for request in built.first.requests if "/manifests/" in request.path} == {"HEAD"}
    on_hub = len([name for number, name in enumerate(built.names) if number % 4])
    assert len([request for request in built.hub.requests if "/revision/" in request.path]) == on_hub
    assert not [request for request in built.hub.requests if "/tree/" in request.path]
    assert built.downloaded == 0 and built.uploaded == 0


def test_every_reason_is_told_with_old_and_new(built: Fleet) -> None:
    """Whoever is asked to approve a rebuild must see why, and from what to what."""
    old_commit = built.lock("model-01")["pins"]["sources"]["model"]["commit"]
    built.move("model-01", b'{"new": true}', b"x" * WEIGHTS)
    built.move("model-02", b"{}", b"y" * WEIGHTS, readme=b"# Better words")
    words = built.said("model-03")
    built.write("model-03", **words, labels={"team": "ours"})
    (built.folder / "model-04" / "model" / "more.bin").write_bytes(b"more")
    digest = built.digest(built.first, "models", "model-05")
    built.lose(built.first, "models/model-05")
    (built.folder / "model-07" / "recipe.lock").unlink()
    old_base = built.lock("model-06")["pins"]["images"]["base"]["reference"]
    new_base = put_base(built.first, "base-two", b"base two without the hole")
    found = built.status()

    def only(name: str) -> dict[str, str]:
        (change,) = [change for change in found[name]["changes"] if change["reason"] != "base"]
        return change  # type: ignore[no-any-return]

    source = only("model-01")
    assert (source["reason"], source["old"]) == ("source", old_commit)
    assert source["new"] != old_commit and source["detail"] == "config.json, weights.safetensors"
    assert [change["detail"] for change in found["model-02"]["changes"]] == ["weights.safetensors"]
    said = only("model-03")
    lock = (built.folder / "model-03" / "recipe.lock").read_text()
    assert said["reason"] == "recipe" and said["old"] in lock
    assert said["new"].startswith("sha256:") and said["new"] not in lock
    assert (only("model-04")["reason"], only("model-04")["detail"]) == ("source", "more.bin")
    lost = only("model-05")
    assert (lost["reason"], lost["old"], lost["new"]) == ("missing", digest, "")
    assert lost["what"] == f"{built.first.address}/models/model-05:v1"
    assert found["model-07"]["reasons"] == ["new"]
    (base,) = found["model-06"]["changes"]
    assert (base["reason"], base["old"]) == ("base", old_base)
    assert base["new"].endswith(f"base-two:latest@{new_base}")
    assert {name for name in found if "base" in found[name]["reasons"]} == {
        "model-00",
        "model-03",
        "model-06",
        "model-09",
    }
    assert found["model-08"]["state"] == "current"
    assert built.uploaded == 0, "status moved something"


def test_a_readme_is_no_new_model(built: Fleet) -> None:
    """An edit upstream of a file that the recipe leaves out must not rebuild a hundred gigabytes."""
    built.move("model-01", b"{}", built.weights["model-01"], readme=b"# Better words")
    assert built.status()["model-01"]["state"] == "current"


def test_bytes_are_what_a_rebuild_moves(built: Fleet) -> None:
    """A forecast of a hundred gigabytes for a base of two megabytes would keep people from rebuilding."""
    put_base(built.first, "base-two", b"another base")
    built.move("model-01", b"{}", b"z" * WEIGHTS)
    built.lose(built.first, "models/model-02")
    found = built.status()
    assert found["model-06"]["bytes"] == {"down": 0, "up": 0}, "a base of the same registry is mounted"
    assert WEIGHTS < found["model-01"]["bytes"]["down"] < WEIGHTS + 10_000
    assert WEIGHTS < found["model-01"]["bytes"]["up"] < WEIGHTS + 20_000
    assert found["model-02"]["bytes"] == {"down": 0, "up": 0}, "its layers are still there"
    assert 0 < found["model-00"]["bytes"]["up"] < 20_000, "the second registry has to get the base"


def test_another_packing_or_plan_is_the_tool(built: Fleet) -> None:
    """A modelpack that makes other bytes must not take old images for its own."""
    script = (
        "import sys; from buildkit.oci import tar; tar.PACKING = '2'; sys.argv = ['modelpack', 'status', '--json']\n"
    )
    script += "from buildkit.cli.main import main; main()"
    found = json.loads(_python(built, script))["images"]
    assert {tuple(image["reasons"]) for image in found} == {("tool",)}
    assert {(change["old"], change["new"]) for image in found for change in image["changes"]} == {("1", "2")}
    script = "import sys; import recipes.modelcar.kind as kind; kind.USER = '1002'; sys.argv = ['modelpack', 'status', '--json']\n"
    script += "from buildkit.cli.main import main; main()"
    found = json.loads(_python(built, script))["images"]
    assert {tuple(image["reasons"]) for image in found} == {("tool",)}


def _python(fleet: Fleet, script: str) -> str:
    import subprocess
    import sys

    done = subprocess.run([sys.executable, "-c", script], cwd=fleet.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    return done.stdout


def test_a_registry_that_serves_something_else_is_told(built: Fleet) -> None:
    """A tag that somebody else moved is no image of ours any more."""
    other = built.digest(built.first, "models", "model-02")
    assert other
    manifest = built.first.manifest("models/model-02", "v1")
    built.first.put_manifest("models/model-01", manifest.data, manifest.media_type, "v1")
    (change,) = built.status()["model-01"]["changes"]
    assert (change["reason"], change["new"]) == ("missing", other)


def test_a_lock_that_was_upgraded_and_not_built_is_told(built: Fleet) -> None:
    """A pull request that takes a new model changes the lock alone: the image has yet to be built."""
    built.move("model-01", b"{}", b"w" * WEIGHTS)
    assert built.run("lock", "model-01", "--upgrade").returncode == 0
    (change,) = built.status()["model-01"]["changes"]
    assert change["reason"] == "source"
    assert built.run("lock", "--check", "model-01").returncode == 0


def test_what_cannot_be_asked_keeps_nothing_back(built: Fleet) -> None:
    """A hub that refuses one model, or a damaged lock, must not hide what moved under the others; exit code 1."""
    built.hub.faults.add(Status(500), path="/api/models/org/model-01", times=None)
    (built.folder / "model-02" / "recipe.lock").write_text("<<<<<<< HEAD\n")
    (built.folder / "model-03" / "recipe.yaml").write_text("kind: modelcra\n")
    built.move("model-05", b"{}", b"v" * WEIGHTS)
    done = built.run("status", "--json", MODELPACK_TEST="1")
    assert done.returncode == 1
    found = {image["name"]: image for image in json.loads(done.stdout)["images"]}
    assert found["model-05"]["reasons"] == ["source"]
    assert found["model-01"]["state"] == "unknown" and found["model-02"]["state"] == "unknown"
    assert found["recipe"]["state"] == "unknown", "a recipe with a mistyped kind is told, not passed over"
    assert "merge conflict" in done.stderr and "modelcra" in done.stderr
    assert [image["state"] for image in found.values()].count("current") == 6


def test_a_hub_that_asks_to_wait_is_waited_for(built: Fleet) -> None:
    """A rate limit is no failure."""
    before = len(built.hub.faults.fired)
    built.hub.faults.add(Status(429, {"Retry-After": "1"}), path="/api/models/", times=3)
    assert built.run("status").returncode == 0
    assert len(built.hub.faults.fired) - before == 3


@pytest.mark.parametrize("columns", ["80", "200"])
def test_the_table_fits(built: Fleet, columns: str) -> None:
    """A table that wraps in the middle of its words is not read, and colour alone must tell nothing."""
    built.move("model-01", b"{}", b"u" * WEIGHTS)
    put_base(built.first, "base-two", b"another base")
    done = built.run("status", COLUMNS=columns)
    assert done.returncode == 3
    assert max(map(len, done.stdout.splitlines())) <= int(columns)
    assert "\033" not in done.stdout
    for word in ("model-01", "moved", "source model", "base base", "weights.safetensors", "5 moved, 5 current"):
        assert word in done.stdout, done.stdout


def test_matrices_hold_just_what_needs_work(built: Fleet) -> None:
    """A job for an image that needs none costs money, and one that is left out stays old."""
    built.move("model-01", b"{}", b"t" * WEIGHTS)
    (built.folder / "model-04" / "model" / "more.bin").write_bytes(b"more")
    github = json.loads(built.run("status", "--matrix", "github").stdout)
    assert [entry["recipe"] for entry in github["include"]] == ["model-01/recipe.yaml", "model-04/recipe.yaml"]
    assert github["include"][0]["reasons"] == "source"
    gitlab = json.loads(built.run("status", "--matrix", "gitlab").stdout)
    assert gitlab == [
        {"RECIPE": "model-01/recipe.yaml", "IMAGE": "model-01", "LOCK": "model-01/recipe.lock"},
        {"RECIPE": "model-04/recipe.yaml", "IMAGE": "model-04", "LOCK": "model-04/recipe.lock"},
    ]
    assert len(json.loads(built.run("status", "--matrix", "github", "--force").stdout)["include"]) == 10


def test_the_lock_is_checked_without_network(built: Fleet) -> None:
    """CI must see at once, and offline, that somebody changed a recipe and forgot its lock."""
    assert built.run("lock", "--check", ".").returncode == 0
    built.write("model-01", **built.said("model-01"), labels={"a": "b"})
    (built.folder / "model-04" / "model" / "more.bin").write_bytes(b"more")
    lock = built.folder / "model-02" / "recipe.lock"
    digest = put_base(built.first, "base-one", b"base one without the hole")
    reference = built.lock("model-02")["pins"]["images"]["base"]["reference"]
    lock.write_text(lock.read_text().replace(reference, reference.partition("@")[0] + f"@{digest}"))
    built.clear()
    done = built.run("lock", "--check", ".")
    assert done.returncode == 3
    for word in ("model-01", "recipe recipe.yaml", "model-04", "more.bin", "model-02", digest):
        assert word in done.stderr, done.stderr
    assert not built.hub.requests and not built.first.requests
    (change,) = built.status()["model-02"]["changes"]
    assert (change["reason"], change["old"]) == ("base", reference)
    assert change["new"].endswith(f"@{digest}")


def test_two_hundred_recipes_are_told(fleet: Fleet) -> None:
    """Fleets are large: each input is asked once, and the answers are all there."""
    words = fleet.said("model-01")
    for number in range(190):
        fleet.write(f"copy-{number:03}", **{**words, "name": f"copy-{number:03}"})
    done = fleet.run("status", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["summary"] == {"moved": 200, "current": 0, "unknown": 0}
    assert len([request for request in fleet.hub.requests if "/org/model-01/revision/" in request.path]) == 1
