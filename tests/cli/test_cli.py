"""The command as a person or a pipeline meets it: its words, streams and exit codes."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from buildkit.alone import alone
from tests.place import FILES, Place, uploads


def modelpack(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "buildkit", *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )


def check_explained(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """One error, said in words, with nothing on stdout and no traceback."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error:") == 1, done.stderr
    for word in words:
        assert word in done.stderr, f"{word!r} is not in:\n{done.stderr}"


def test_help_imports_nothing_heavy() -> None:
    """Completion and help must answer at once: no engine, hub or registry library may be imported for them."""
    script = "import sys; sys.argv = ['modelpack', '--help']\nfrom buildkit.cli.main import main\ntry: main()\nexcept SystemExit: pass\n"
    script += "heavy = {'huggingface_hub', 'python_on_whales', 'oras', 'pydantic', 'ruamel', 'urllib3', 'jinja2'} & set(sys.modules)\n"
    done = subprocess.run(
        [sys.executable, "-c", script + "assert not heavy, heavy"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "inspect oci:nowhere",
        "targets nope",
        "verify-signature quay.io/you/granite@sha256:" + "0" * 64,
        "build --output foo:bar",
        "build nowhere --quiet",
        "check nowhere",
        "status nowhere",
    ],
)
def test_every_error_is_json_where_that_is_asked(tmp_path: Path, command: str) -> None:
    """A program that reads the lines on stderr ends at the first that is none, and nobody learns what was wrong."""
    done = modelpack(*command.split(), "--json", cwd=tmp_path, PATH="")
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    (error,) = map(json.loads, done.stderr.splitlines())
    assert error["event"] == "error" and error["what"]


def test_what_does_not_fit_on_the_disk_leaves_no_empty_file(place: Place, tmp_path: Path) -> None:
    """An empty recipe keeps the next init from writing one, and a later step takes an empty report for a good one."""
    recipe = place.recipe(builder=f"{place.registry.address}/ubi9/ubi-micro:latest")
    path, out = str(recipe.path), tmp_path / "out"
    place.build(recipe)
    assert modelpack("render", path).returncode == 0
    limited = "import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
    limited += "runpy.run_module('buildkit', run_name='__main__')"
    for command, written in (
        (["init", "modelcar", str(out)], out / "recipe.yaml"),
        (["sbom", path, "-o", str(out / "bom.json")], out / "bom.json"),
        (["render", path, "--output", str(out / "image")], out / "image" / "Containerfile"),
        (["check", path, "--target", "kubernetes", "--sarif", str(out / "report")], out / "report"),
        (["rebuild", path, "--summary", str(out / "summary")], out / "summary"),
    ):
        full = subprocess.run([sys.executable, "-c", limited, *command], capture_output=True, text=True, check=False)
        assert full.returncode == 1, full.stderr
        assert str(written) in full.stderr, "nobody is told which file it is"
        assert not written.exists()
        done = modelpack(*command)
        assert done.returncode == 0 and written.stat().st_size, done.stderr


def test_stdout_is_only_references(place: Place) -> None:
    """``$(modelpack build …)`` must be usable as it is."""
    path = str(place.recipe(tags=["v1", "v2"]).path)
    registry = f"{place.registry.address}/models"
    done = modelpack("build", path, "--push", "--registry", registry)
    assert done.returncode == 0, done.stderr
    digest = place.registry.tags["models/granite"]["v1"]
    assert done.stdout == f"{registry}/granite:v1@{digest}\n{registry}/granite:v2@{digest}\n"
    assert "error" not in done.stderr
    quiet = modelpack("build", path, "--push", "--registry", registry, "--quiet")
    assert (quiet.stdout, quiet.stderr) == (done.stdout, "")


def test_json_is_json_on_both_streams(place: Place) -> None:
    """A pipeline parses the result from stdout and the progress from stderr."""
    done = modelpack(
        "build", str(place.recipe().path), "--push", "--registry", f"{place.registry.address}/models", "--json"
    )
    (result,) = json.loads(done.stdout)
    assert result["digest"] == place.registry.tags["models/granite"]["v1"]
    assert result["references"] == [f"{place.registry.address}/models/granite:v1@{result['digest']}"]
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert {"began", "moved", "ended"} <= {event["event"] for event in events}
    (forecast,) = [event for event in events if event["event"] == "forecast"]
    (summary,) = [event for event in events if event["event"] == "summary"]
    assert forecast["unknown"] > 2_700_000 and forecast["disk"] == 0 < forecast["memory"], (
        "what it will cost is not told"
    )
    assert summary["outcomes"]["sent"] >= forecast["unknown"], "what it cost is not told"


def test_drift_is_exit_code_three(place: Place) -> None:
    """A pipeline tells drift from failure by the exit code, and a person reads what moved."""
    path = str(place.recipe().path)
    unlocked = (["lock", "--check"], ["lock", "--check", "--upgrade"], ["lock", "--locked"], ["build", "--locked"])
    for command in unlocked:
        check_explained(modelpack(*command, path), 3, "recipe.lock")
    assert modelpack("lock", path).returncode == 0
    place.hub.add("org/granite", {**FILES, "config.json": b"{}", "new.txt": b"new"})
    done = modelpack("build", path, "--locked")
    check_explained(
        done, 3, "config.json changed", "new.txt is new", "hint: take what moved with: modelpack lock --upgrade"
    )
    told = modelpack("lock", path)
    assert told.returncode == 0
    assert "warning: granite: model: config.json changed" in told.stderr


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ({"model": "hf://org/absent"}, ["org/absent"]),
        ({"model": "hf://org/granite@nothing"}, ["nothing", "hint:"]),
        ({"base": "127.0.0.1:9/base:latest"}, ["127.0.0.1:9", "hint:"]),
        ({"platforms": ["linux/s390x"]}, ["linux/s390x", "it has linux/amd64"]),
        ({"model": "./nowhere"}, ["nowhere", "hint:"]),
    ],
)
def test_what_is_not_there_is_one_error_with_a_hint(
    place: Place, recipe: Mapping[str, object], words: list[str]
) -> None:
    """The person must see which of the names in the recipe is the wrong one."""
    path = str(place.recipe(**recipe).path)
    check_explained(modelpack("build", path), 1, *words)
    assert not place.lock.exists()


def test_all_problems_of_a_recipe_at_once(place: Place) -> None:
    """Whoever mends a recipe wants to mend it once."""
    path = place.folder / "recipe.yaml"
    path.write_text("kind: modelcar\r\nname: Granite\r\nmodle: ./models\r\ntags: [1.0]\r\n")
    done = modelpack("build", str(path))
    check_explained(done, 1, "recipe.yaml:2", "recipe.yaml:3", "recipe.yaml:4", "model")
    assert not place.lock.exists()


def test_wrong_usage_is_exit_code_two(place: Place) -> None:
    """A typing mistake must not look like a failed build."""
    path = str(place.recipe().path)
    for arguments in (
        ["build", path, "--push"],
        ["build", path, "--locked", "--upgrade"],
        ["inspect"],
        ["nothing"],
        ["push"],
    ):
        assert modelpack(*arguments).returncode == 2, arguments


def test_one_recipe_that_fails_does_not_keep_the_others_back(place: Place, tmp_path: Path) -> None:
    """A fleet of fifty must not wait for the one with a typing mistake."""
    good = str(place.recipe().path)
    bad = tmp_path / "bad.yaml"
    bad.write_text("kind: nothing\n")
    missing = str(tmp_path / "nope")
    locked = modelpack("lock", missing, str(bad), good)
    assert (locked.returncode, locked.stdout) == (1, f"{place.lock}\n")
    assert "there is no kind" in locked.stderr and f"there is no recipe {missing}" in locked.stderr
    done = modelpack("build", str(bad), good)
    assert done.returncode == 1
    assert done.stdout.startswith("granite:v1@sha256:")
    assert "there is no kind" in done.stderr
    checked = modelpack("lock", "--check", missing, str(bad), good)
    assert checked.returncode == 1
    assert "there is no kind" in checked.stderr and f"there is no recipe {missing}" in checked.stderr
    place.lock.unlink()
    stale = modelpack("lock", "--check", missing, good)
    assert stale.returncode == 3 and "there is no lock" in stale.stderr and "there is no recipe" in stale.stderr


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_is_explained_and_nothing_is_tagged(place: Place, tmp_path: Path) -> None:
    """What cannot be locked is not published, and half a file is not left."""
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(small)], check=True)
    try:
        path = place.recipe().path
        for file in (path, place.folder / "modelpack.yaml"):
            shutil.copy(file, small)
        filled = subprocess.run(["dd", "if=/dev/zero", f"of={small}/rest"], capture_output=True, check=False)
        assert filled.returncode, "the disk is not full, so that this proves nothing"
        done = modelpack("build", str(small / path.name), "--push", "--registry", f"{place.registry.address}/models")
        check_explained(done, 1, "No space left on device")
        assert not place.registry.tags.get("models/granite")
        assert sorted(file.name for file in small.iterdir()) == ["modelpack.yaml", "recipe.yaml", "rest"]
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_init_writes_what_builds_and_replaces_nothing(tmp_path: Path) -> None:
    """The first file must be right, and a second ``init`` must not eat the first one's changes."""
    done = modelpack("init", "modelcar", "my model", cwd=tmp_path)
    assert done.stdout.strip() == str(Path("my model") / "recipe.yaml")
    recipe = tmp_path / "my model" / "recipe.yaml"
    assert "name: my-model" in recipe.read_text()
    recipe.write_text("changed")
    check_explained(modelpack("init", "modelcar", "my model", cwd=tmp_path), 1, "is there already")
    assert recipe.read_text() == "changed"


def test_inspect_says_what_is_inside(place: Place, tmp_path: Path) -> None:
    """Layers, sizes, user and where each part came from, at any width and as JSON."""
    path = str(place.recipe().path)
    out = str(tmp_path / "out")
    assert modelpack("build", path, "--output", f"oci:{out}").returncode == 0
    for columns in ("80", "200"):
        done = modelpack("inspect", f"oci:{out}", COLUMNS=columns)
        for word in ("linux/amd64", "model", "User: 1001", "org.opencontainers.image.base.name"):
            assert word in done.stdout, done.stdout + done.stderr
    document = json.loads(modelpack("inspect", f"oci:{out}", "--json").stdout)
    assert [layer["origin"] for layer in document["images"][0]["layers"]] == ["base", "model"]
    check_explained(modelpack("inspect", f"oci:{tmp_path}"), 1, "not an OCI layout")


@pytest.mark.parametrize(
    "command",
    [
        "push --registry quay.io/you",
        "sbom",
        "deploy --target kserve",
        "lock --locked",
        "build --shard 0/2 --push --registry quay.io/you",
    ],
)
def test_a_hint_that_is_a_command_can_be_typed(place: Place, command: str) -> None:
    """Who copies a hint into a shell, and has a space in a folder's name, is told of two recipes that are not there."""
    path = str(place.recipe().path)
    assert " " in path
    done = modelpack(*command.split(), path)
    hint = done.stderr.partition("hint: ")[2]
    told = hint[hint.index("modelpack ") :].partition(";")[0]
    assert path in shlex.split(told), done.stderr


def test_push_without_a_recipe_takes_what_is_here(place: Place) -> None:
    """In a folder of locked recipes ``modelpack push`` means all of them."""
    recipe = place.recipe().path
    (place.folder / "second.yaml").write_text(recipe.read_text().replace('"granite"', '"second"'))
    (place.folder / "first.yaml").write_text(recipe.read_text().replace('"granite"', '"first"'))
    recipe.unlink()
    assert modelpack("build", "first.yaml", "second.yaml", cwd=place.folder).returncode == 0
    done = modelpack("push", "--registry", f"{place.registry.address}/models", cwd=place.folder)
    assert done.returncode == 0, done.stderr
    assert set(place.registry.tags) >= {"models/first", "models/second"}


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo terminals")
def test_results_are_on_stdout_when_stderr_is_a_terminal(place: Place) -> None:
    """``X=$(modelpack build .)`` typed into a terminal: the bars are on it, the result in the variable."""
    import pty

    path = str(place.recipe().path)
    terminal, other = pty.openpty()
    try:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "buildkit",
                "build",
                path,
                "--push",
                "--registry",
                f"{place.registry.address}/models",
            ],
            env={key: value for key, value in os.environ.items() if key != "CI"} | {"TERM": "xterm", "COLUMNS": "40"},
            stdout=subprocess.PIPE,
            stderr=other,
            text=True,
        )
        out, _ = process.communicate(timeout=60)
    finally:
        os.close(other)
        os.close(terminal)
    digest = place.registry.tags["models/granite"]["v1"]
    assert out == f"{place.registry.address}/models/granite:v1@{digest}\n"


@pytest.mark.skipif(sys.platform == "win32", reason="a shell closes the stream")
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_do_no_harm(place: Place, closed: str) -> None:
    """A daemon that closes our streams must still get its image and its exit code."""
    command = f"'{sys.executable}' -m buildkit build '{place.recipe().path}' {closed}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_results_that_cannot_be_written_are_told_with_what_was_done(place: Place, unbuffered: str) -> None:
    """The image is out and the lock is written: who reads of a full disk alone takes it for a push that failed."""
    recipe, registry = str(place.recipe().path), f"{place.registry.address}/models"
    for command in (["build", recipe, "--push", "--registry", registry], ["targets"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "buildkit", *command],
                env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        assert done.returncode == 1
        assert done.stderr.count("No space left") == done.stderr.count("error: stdout cannot be written") == 1
        assert "Exception ignored" not in done.stderr
        if command[0] == "build":
            digest = place.registry.tags["models/granite"]["v1"]
            assert f"{registry}/granite:v1 serves {digest}\n" in done.stderr
            assert f"{place.lock} is written\n" in done.stderr


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names of files are text there")
def test_a_folder_whose_name_is_no_text_is_one_as_any_other(place: Place, tmp_path: Path) -> None:
    """An old archive is unpacked with such names: a command that fails of itself there, or names no file, is of no use."""
    folder = place.folder / os.fsdecode(b"bad\xff")
    folder.mkdir()
    (folder / "recipe.yaml").write_text(place.recipe().path.read_text())
    registry = f"{place.registry.address}/models"
    page, report = tmp_path / "site", tmp_path / "report"
    locked = subprocess.run(
        [sys.executable, "-m", "buildkit", "lock", folder.name], cwd=place.folder, capture_output=True, check=False
    )
    assert (locked.returncode, locked.stdout) == (0, b"bad\xff/recipe.lock\n"), locked.stderr
    for command in (
        ["build", folder.name, "--push", "--registry", registry],
        ["rebuild", folder.name, "--registry", registry, "--summary", str(tmp_path / "summary")],
        ["catalog", folder.name, "--offline", "-o", str(page)],
        ["check", folder.name, "--target", "kubernetes", "--sarif", str(report)],
    ):
        done = modelpack(*command, cwd=place.folder)
        assert done.returncode == 0, done.stderr
    assert json.loads(report.read_text()) and "granite" in (page / "index.html").read_text()


def test_two_builds_of_one_recipe_at_once_send_it_once(place: Place) -> None:
    """A person's build beside a pipeline's, on one machine: the second would send all of the model again."""
    recipe = place.recipe()
    command = [sys.executable, "-m", "buildkit", "build", "--push", "--registry", f"{place.registry.address}/models"]
    with alone(recipe, place.world()):
        second = subprocess.Popen(command, cwd=place.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert second.stderr is not None
        assert "waiting for it to end" in second.stderr.readline()
        assert uploads(place.registry) == 0
        place.build(recipe)
        sent = uploads(place.registry)
    out, err = second.communicate(timeout=120)
    assert second.returncode == 0, err
    assert "@sha256:" in out
    assert uploads(place.registry) == sent > sum(map(len, FILES.values()))
