"""A model in a folder: what is taken, what is refused by name, and what is hashed again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from buildkit.errors import InvalidInput, SourceFailed
from buildkit.events import Began, Ended, Event, Moved
from buildkit.inputs import FolderRef
from buildkit.machine.cache import cache_folder
from buildkit.pin import File, proven
from buildkit.settings import Settings
from buildkit.sources import digests, folder, open_source
from buildkit.sources.folder import Folder
from tests.sources.conftest import content, failure

posix = pytest.mark.skipif(os.name != "posix", reason="the file system cannot hold this")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    place = tmp_path / "models"
    for path, data in {"1/model.onnx": b"weights", "config.json": b"{}", "a b/ü.txt": b""}.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_bytes(data)
    return place


def settle(place: Path) -> None:
    """Makes files look as if they had been written a while ago, which real models were."""
    for path in place.rglob("*"):
        os.utime(
            path, (1_700_000_000, 1_700_000_000), follow_symlinks=False
        ) if os.utime in os.supports_follow_symlinks else os.utime(path)


def refusal(source: Folder) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        source.inventory()
    assert caught.value.hint
    return caught.value


def test_every_file_is_there_with_its_digest(models: Path) -> None:
    inventory = Folder(models, name="./models").inventory()
    expected = {"1/model.onnx": b"weights", "a b/ü.txt": b"", "config.json": b"{}"}
    assert inventory.files == tuple(
        File(path, len(data), hashlib.sha256(data).hexdigest()) for path, data in sorted(expected.items())
    )
    assert (inventory.type, inventory.name, inventory.revision, inventory.commit) == ("folder", "./models", "", "")


def test_what_is_read_is_what_was_pinned(models: Path) -> None:
    source = Folder(models)
    for file in source.inventory().files:
        assert b"".join(proven(source, file)) == (models / file.path).read_bytes()
    assert content(source, File("1/model.onnx", 7), 3) == b"ghts"


def test_large_files_come_in_blocks(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(2_500_000))
    source = Folder(tmp_path)
    assert [len(piece) for piece in source.open(source.inventory().files[0])] == [
        1 << 20,
        1 << 20,
        2_500_000 - (2 << 20),
    ]


def test_selection_is_the_hub_librarys(models: Path) -> None:
    assert [file.path for file in Folder(models, ("1/",)).inventory().files] == ["1/model.onnx"]
    assert [file.path for file in Folder(models, (), ("*.json", "a b/*")).inventory().files] == ["1/model.onnx"]


def test_a_folder_without_patterns_does_not_load_the_hubs_library(models: Path) -> None:
    """It takes longer to import than a small folder takes to build."""
    program = "import sys; from buildkit.sources.folder import Folder; from pathlib import Path; Folder(Path(sys.argv[1])).inventory()"
    program += "; sys.exit('huggingface_hub' in sys.modules)"
    subprocess.run([sys.executable, "-c", program, str(models)], check=True)


def test_what_tools_leave_behind_is_left_out(models: Path) -> None:
    """Git's history and the hub's download records are no part of a model, and change by themselves."""
    for path in (
        ".git/HEAD",
        "sub/.git/config",
        ".cache/huggingface/x.metadata",
        "sub/.cache/huggingface/y",
        ".cache/other",
        ".gitattributes",
        "a.git",
    ):
        (models / path).parent.mkdir(parents=True, exist_ok=True)
        (models / path).write_bytes(b"x")
    paths = [file.path for file in Folder(models).inventory().files]
    assert paths == [".cache/other", ".gitattributes", "1/model.onnx", "a b/ü.txt", "a.git", "config.json"]


@posix
def test_links_that_stay_inside_are_followed(models: Path) -> None:
    (models / "file").symlink_to("config.json")
    (models / "deep").symlink_to(models / "1")
    files = {file.path: file for file in Folder(models).inventory().files}
    assert files["file"].sha256 == hashlib.sha256(b"{}").hexdigest()
    assert content(Folder(models), files["deep/model.onnx"]) == b"weights"


@posix
def test_links_that_leave_are_all_named(models: Path, tmp_path: Path) -> None:
    """A link out of the folder could carry a secret of this machine into the image."""
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "models-beside").mkdir()
    (models / "one").symlink_to(tmp_path / "secret")
    (models / "two").symlink_to("/etc")
    (models / "three").symlink_to("../models-beside")
    error = refusal(Folder(models))
    assert {problem.where for problem in error.problems} == {"one", "two", "three"}
    assert len(Folder(models, (), ("one", "two", "three/")).inventory().files) == 3


@posix
def test_a_link_to_a_folder_outside_is_not_lost_by_an_include(models: Path, tmp_path: Path) -> None:
    """What stands behind it might have been meant: leaving it out silently would make a model without its weights."""
    (tmp_path / "weights").mkdir()
    (models / "shards").symlink_to(tmp_path / "weights")
    assert [problem.where for problem in refusal(Folder(models, ("*.onnx",))).problems] == ["shards"]


@posix
def test_the_hubs_cache_is_recognised(tmp_path: Path) -> None:
    """It is the first folder that people try, and it holds links only."""
    snapshot = tmp_path / "hub" / "models--org--a--b" / "snapshots" / ("a" * 40)
    blobs = snapshot.parent.parent / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    (blobs / "x").write_bytes(b"x")
    (snapshot / "model.safetensors").symlink_to("../../blobs/x")
    error = refusal(Folder(snapshot))
    assert "hf: org/a--b" in error.hint and "hf download org/a--b" in error.hint


@posix
@pytest.mark.parametrize("target", [".", "..", "../models", "1/up"])
def test_links_in_circles_end(models: Path, target: str) -> None:
    (models / "1" / "up").symlink_to("..")
    (models / "loop").symlink_to(target)
    assert refusal(Folder(models)).problems


@posix
def test_a_very_deep_folder_is_walked_to_its_end(tmp_path: Path) -> None:
    """What a program unpacked into itself looks like a fault of ours."""
    place = tmp_path / "deep"
    place.mkdir()
    for _ in range(500):
        place /= "d"
        place.mkdir()
    (place / "weights").write_bytes(b"deep")
    source = Folder(tmp_path / "deep")
    assert [file.path for file in source.inventory().files] == ["d/" * 500 + "weights"]


def test_a_link_to_itself_and_one_to_nothing_are_named(models: Path) -> None:
    (models / "self").symlink_to("self")
    (models / "gone").symlink_to("nowhere")
    assert {problem.where for problem in refusal(Folder(models)).problems} == {"self", "gone"}


@posix
def test_pipes_and_sockets_are_refused_and_not_opened(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a pipe would wait for ever."""
    os.mkfifo(models / "pipe")
    monkeypatch.chdir(models)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        assert {problem.where for problem in refusal(Folder(models)).problems} == {"pipe", "socket"}
    assert len(Folder(models, (), ("pipe", "socket")).inventory().files) == 3


@posix
@pytest.mark.parametrize("name", [b"\xff\xfe", b"a\nb", b"a\x1b[2J", b"a\\b", "a\u202eb".encode()])
def test_names_that_cannot_stand_in_an_image_are_refused_by_name(models: Path, name: bytes) -> None:
    (Path(os.fsdecode(os.fsencode(models) + b"/" + name))).write_bytes(b"x")
    error = refusal(Folder(models))
    assert len(error.problems) == 1
    assert str(error).encode(), "the error cannot be printed"
    assert all(character.isprintable() for character in str(error).replace("\n", "")), "the error steers the terminal"


@pytest.mark.skipif(shutil.which("localedef") is None, reason="localedef makes the locale")
def test_a_locale_garbles_no_name(models: Path, tmp_path: Path) -> None:
    """On a machine with an old locale ü becomes Ã¼ in the image: another digest, and a file that no server finds."""
    (tmp_path / "locales").mkdir()
    made = str(tmp_path / "locales" / "de_DE.ISO-8859-1")
    if subprocess.run(["localedef", "-c", "-f", "ISO-8859-1", "-i", "de_DE", made], check=False).returncode:
        pytest.skip("localedef knows no ISO-8859-1")
    program = "import sys; from pathlib import Path; from buildkit.sources.folder import Folder\n"
    program += "print([file.path for file in Folder(Path(sys.argv[1])).inventory().files])"

    def listed(**variables: str) -> subprocess.CompletedProcess[bytes]:
        old = {"LC_ALL": "de_DE.ISO-8859-1", "LOCPATH": str(tmp_path / "locales"), "PYTHONUTF8": "0"}
        command = [sys.executable, "-c", program, str(models)]
        return subprocess.run(command, env={**os.environ, **old, **variables}, capture_output=True, check=False)

    refused = listed()
    assert refused.returncode and b"was read as iso8859-1" in refused.stderr
    assert "a b/ü.txt" in listed(PYTHONUTF8="1").stdout.decode()
    (models / "a b" / "ü.txt").unlink()
    assert listed().returncode == 0, "ASCII means the same everywhere"


def test_a_missing_folder_that_reads_like_a_model_may_be_one(tmp_path: Path) -> None:
    """The commonest name of a model, ORG/NAME, is looked for on the disk, and nobody says that the hub was meant."""
    model, name = tmp_path / "model", "ibm-granite/granite-3.0-2b-instruct"
    assert f"hf://{name}" in refusal(Folder(model, name=name)).hint
    for other in ("models", "my models/granite", "models/v1/granite"):
        assert "hf://" not in refusal(Folder(model, name=other)).hint
    assert "hf://" not in refusal(Folder(model, name=name, leave_out=lambda path, _: False)).hint


def test_a_missing_folder_a_file_and_an_empty_folder_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    assert "is not there" in str(refusal(Folder(tmp_path / "missing")))
    assert "is a file" in str(refusal(Folder(tmp_path / "file")))
    assert "has no files" in str(failure(Folder(tmp_path / "empty").inventory))


@posix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_named(models: Path) -> None:
    (models / "config.json").chmod(0)
    assert "config.json" in str(failure(Folder(models).inventory))


@pytest.mark.parametrize("error", [PermissionError(13, "no"), FileNotFoundError(2, "no"), OSError(5, "I/O error")])
def test_a_file_that_cannot_be_read_is_an_explained_failure(
    models: Path, error: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(place: str, moved: Callable[[int], None]) -> str:
        raise error

    monkeypatch.setattr(folder, "sha256", fails)
    explained = failure(Folder(models).inventory)
    assert "in models" in str(explained) and explained.hint


def test_a_file_that_changes_while_it_is_read_is_an_explained_failure(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A digest of half the old and half the new file would be pinned otherwise."""
    real = digests.sha256

    def meanwhile(place: str, moved: Callable[[int], None]) -> str:
        digest = real(place, moved)
        with Path(place).open("ab") as file:
            file.write(b"more")
        return digest

    monkeypatch.setattr(folder, "sha256", meanwhile)
    assert "changed while it was read" in str(failure(Folder(models).inventory))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: path.write_bytes(b"longer than it was"), "18 bytes"),
        (lambda path: path.unlink(), "not there any more"),
        (lambda path: (path.unlink(), path.mkdir()), "not a regular file"),
    ],
)
def test_a_file_that_changed_since_it_was_pinned_is_named(
    models: Path, change: Callable[[Path], object], words: str
) -> None:
    source = Folder(models)
    file = next(file for file in source.inventory().files if file.path == "config.json")
    change(models / file.path)
    error = failure(lambda: content(source, file))
    assert "config.json" in str(error) and words in str(error)


def test_another_content_of_the_same_size_is_caught_by_its_digest(models: Path) -> None:
    source = Folder(models)
    file = next(file for file in source.inventory().files if file.path == "config.json")
    (models / file.path).write_bytes(b"[]")
    assert file.sha256 in str(failure(lambda: list(proven(source, file))))


@posix
def test_a_file_that_became_a_link_out_of_the_folder_is_refused(models: Path) -> None:
    source = Folder(models)
    file = next(file for file in source.inventory().files if file.path == "config.json")
    (models / file.path).unlink()
    (models / file.path).symlink_to("/etc/hostname")
    assert "leaves the folder" in str(failure(lambda: content(source, file)))


@posix
def test_a_pipe_in_a_files_place_is_not_opened(models: Path) -> None:
    source = Folder(models)
    file = next(file for file in source.inventory().files if file.path == "config.json")
    (models / file.path).unlink()
    os.mkfifo(models / file.path)
    assert "not a regular file" in str(failure(lambda: content(source, file)))


class Hashed:
    """Counts which files are really read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        monkeypatch.setattr(folder, "sha256", self)

    def __call__(self, place: str, moved: Callable[[int], None]) -> str:
        self.names.append(Path(place).name)
        return digests.sha256(place, moved)

    def by(self, models: Path) -> list[str]:
        self.names.clear()
        Folder(models).inventory()
        return sorted(self.names)


def test_what_did_not_change_is_not_hashed_again(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A 100 GB folder takes minutes to hash; where nothing changed the build must take a moment."""
    settle(models)
    hashed = Hashed(monkeypatch)
    assert hashed.by(models) == ["config.json", "model.onnx", "ü.txt"]
    before = Folder(models).inventory()
    assert hashed.by(models) == []
    assert Folder(models).inventory() == before


@pytest.mark.parametrize("change", ["size", "mtime", "inode"])
def test_what_changed_is_hashed_again(models: Path, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(models)
    hashed = Hashed(monkeypatch)
    hashed.by(models)
    path = models / "config.json"
    if change == "size":
        path.write_bytes(b"{ }")
    elif change == "inode":
        (models / "new").write_bytes(b"[]")
        os.replace(models / "new", path)
    os.utime(path, (1_700_000_001 if change == "mtime" else 1_700_000_000,) * 2)
    assert hashed.by(models) == ["config.json"]


def test_two_recipes_for_one_folder_do_not_forget_for_each_other(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(models)
    hashed = Hashed(monkeypatch)
    Folder(models, ("*.json",)).inventory()
    Folder(models, ("*.onnx",)).inventory()
    assert hashed.by(models) == ["ü.txt"]


def test_a_file_that_was_just_written_is_not_remembered(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be written again within the clock's tick, with the same size and time: the image would keep the old one."""
    hashed = Hashed(monkeypatch)
    hashed.by(models)
    assert hashed.by(models) == ["config.json", "model.onnx", "ü.txt"]


def test_another_folder_with_the_same_names_is_another(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(models)
    hashed = Hashed(monkeypatch)
    hashed.by(models)
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_bytes(b"[]")
    settle(other)
    assert hashed.by(other) == ["config.json"]


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b'{"format": 1}',
        b'{"format": 1, "files": {"config.json": 3}}',
        b'{"format": 99, "files": {}}',
        b'{"format": 2, "files": {"config.json": [[Infinity], ""]}, "samples": {}}',
        pytest.param(b"[" * 100_000, id="nested"),
    ],
)
def test_a_damaged_cache_is_as_good_as_none(models: Path, damage: bytes) -> None:
    """A disk error in a file that nobody needs ends every build of the folder with a fault of modelpack itself."""
    settle(models)
    before = Folder(models).inventory()
    (place,) = (cache_folder() / "digests").iterdir()
    place.write_bytes(damage)
    assert Folder(models).inventory() == before
    assert json.loads(place.read_bytes())["files"].keys() == {"1/model.onnx", "a b/ü.txt", "config.json"}


def test_a_cache_that_cannot_be_written_is_no_failure(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(models)
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("MODELPACK_CACHE_DIR", str(tmp_path / "file" / "below"))
    assert len(Folder(models).inventory().files) == 3


def test_vanished_files_and_old_folders_are_forgotten(models: Path) -> None:
    """The cache must not grow with every model that was ever built."""
    settle(models)
    Folder(models).inventory()
    (place,) = (cache_folder() / "digests").iterdir()
    old = place.with_name("old.json")
    old.write_bytes(b"{}")
    os.utime(old, (1, 1))
    (models / "config.json").unlink()
    Folder(models).inventory()
    assert not old.exists()
    assert json.loads(place.read_bytes())["files"].keys() == {"1/model.onnx", "a b/ü.txt"}


def test_many_at_once_leave_a_good_cache(models: Path) -> None:
    settle(models)
    expected = Folder(models).inventory()
    results: list[object] = []
    threads = [threading.Thread(target=lambda: results.append(Folder(models).inventory())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert results == [expected] * 8
    (place,) = (cache_folder() / "digests").iterdir()
    assert len(json.loads(place.read_bytes())["files"]) == 3


def test_progress_is_told(models: Path) -> None:
    events: list[Event] = []
    Folder(models, name="./models", emit=events.append).inventory()
    assert events[0] == Began("hash ./models", "./models", 9)
    assert events[-1] == Ended("hash ./models", "hashed")
    assert sum(event.amount for event in events if isinstance(event, Moved)) == 9


def test_an_interruption_stops_the_hashing(tmp_path: Path) -> None:
    """Ctrl-C while 100 GB are hashed must not wait for the end of it."""

    class Interrupted(BaseException):
        pass

    def interrupt(event: Event) -> None:
        if isinstance(event, Moved):
            raise Interrupted

    (tmp_path / "large").write_bytes(bytes(30_000_000))
    with pytest.raises(Interrupted):
        Folder(tmp_path, emit=interrupt).inventory()


def test_open_source_finds_the_folder_beside_the_recipe(models: Path) -> None:
    source = open_source(FolderRef(path="./models"), models.parent, Settings(), lambda event: None)
    assert len(source.inventory().files) == 3
    assert isinstance(source, Folder)


def test_errors_are_of_the_kinds_that_the_command_explains(tmp_path: Path) -> None:
    with pytest.raises((InvalidInput, SourceFailed)):
        open_source(FolderRef(path="missing"), tmp_path, Settings(), lambda event: None).inventory()
