"""Builds whose image is pushed later: the hub library's own cache is filled once, and read from then on."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants

from buildkit.events import Began, Ended, Event, Moved
from buildkit.inputs import HuggingFaceRef
from buildkit.pin import File, Inventory, proven
from buildkit.settings import Settings
from buildkit.sources import open_source
from buildkit.sources.cached import CachedHuggingFace
from buildkit.sources.huggingface import HuggingFace
from tests.fakes.faults import Corrupt, Cut, Hangup, Short, Status
from tests.sources.conftest import LARGE, NAME, SMALL, Model, content, failure, named

PATHS = {"config.json": SMALL, "weights/model.safetensors": LARGE}


def written(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def test_the_hub_is_asked_once_and_the_cache_from_then_on(model: Model) -> None:
    """The push that follows a build must not download the model a second time."""
    source = CachedHuggingFace(model.source())
    files = source.inventory().files
    for file in files:
        assert b"".join(proven(source, file)) == PATHS[file.path]
    model.hub.log.clear()
    pinned = model.source(pinned=source.inventory())
    model.hub.log.clear()
    for file in files:
        assert content(CachedHuggingFace(pinned), file) == content(pinned, file) == PATHS[file.path]
    assert model.hub.requests == ()


def test_streaming_writes_nothing_to_disk(model: Model, library: Path, private_home: Path) -> None:
    """`build --push` needs no room on the build machine, however large the model is."""
    source = model.source()
    for file in source.inventory().files:
        assert content(source, file)
    assert written(library) == written(private_home) == 0


def test_what_the_librarys_own_tools_downloaded_is_used(model: Model) -> None:
    huggingface_hub.snapshot_download(NAME, endpoint=model.hub.endpoint, token=False)
    source = model.source()
    files = source.inventory().files
    model.hub.log.clear()
    for file in files:
        assert content(source, file, 7) == PATHS[file.path][7:]
    assert model.hub.requests == ()


def test_without_network_a_locked_model_is_read_from_the_cache(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    source = CachedHuggingFace(model.source())
    inventory = source.inventory()
    for file in inventory.files[:1]:
        assert content(source, file)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    offline = CachedHuggingFace(model.source(pinned=inventory))
    assert content(offline, inventory.files[0]) == PATHS[inventory.files[0].path]
    assert "not in the hub's cache" in str(failure(lambda: content(offline, inventory.files[1])))


def test_a_cached_file_of_another_size_is_not_believed(model: Model) -> None:
    """A damaged cache must cost a download, not the build."""
    source = model.source()
    file = named(source.inventory(), "config.json")
    path = huggingface_hub.hf_hub_download(
        NAME, file.path, revision=model.commit, endpoint=model.hub.endpoint, token=False
    )
    os.truncate(path, 10)
    assert content(source, file) == SMALL


def test_damage_in_the_cache_is_found(model: Model) -> None:
    source = model.source()
    file = named(source.inventory(), "config.json")
    path = Path(
        huggingface_hub.hf_hub_download(
            NAME, file.path, revision=model.commit, endpoint=model.hub.endpoint, token=False
        )
    )
    path.write_bytes(bytes(file.size))
    error = failure(lambda: list(proven(source, file)))
    assert file.git_oid in str(error)
    assert f"delete {path.resolve()}" in error.hint, "nothing else would ever mend it"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "action", [Cut(10_000), Short(10_000, honest=False), Status(503), Status(429, {"Retry-After": "0"})]
)
def test_a_download_into_the_cache_survives_what_streaming_survives(
    model: Model, path: str, action: Cut | Short | Status
) -> None:
    """A line that breaks must cost what is missing, not the build."""
    source = CachedHuggingFace(model.source())
    file = named(source.inventory(), path)
    model.hurt(path, action)
    assert content(source, file) == PATHS[path]
    assert model.hub.faults.fired


@pytest.mark.parametrize("action", [Hangup(), Status(500), Short(7)])
@pytest.mark.parametrize("path", PATHS)
def test_a_download_that_cannot_be_had_is_an_explained_failure(
    model: Model, path: str, action: Hangup | Status | Short
) -> None:
    source = CachedHuggingFace(model.source())
    file = named(source.inventory(), path)
    model.hurt(path, action, times=None)
    error = failure(lambda: content(source, file))
    assert path in str(error) or NAME in str(error)
    assert error.hint


@pytest.mark.parametrize("at", [1, 1_000_000, len(LARGE) - 1])
def test_what_an_interrupted_build_has_kept_is_not_fetched_again(model: Model, library: Path, at: int) -> None:
    """Ctrl-C at the end of a night's download would cost the night."""
    file = named(model.source().inventory(), "weights/model.safetensors")
    taken = 0
    pieces = CachedHuggingFace(model.source()).open(file)
    while taken < at:
        taken += len(next(pieces))
    pieces.close()  # type: ignore[attr-defined]
    assert not written(library / "hub" / "models--org--model" / "snapshots")
    model.hub.log.clear()
    source = CachedHuggingFace(model.source())
    assert b"".join(proven(source, file)) == LARGE
    asked = {one.headers.get("range") for one in model.hub.requests if not one.path.startswith("/api/")}
    assert asked == {f"bytes={taken}-"} if taken < len(LARGE) else not asked, "what was there came again"
    assert not list((library / "hub").rglob("*.incomplete"))
    model.hub.log.clear()
    assert content(source, file) == LARGE and model.hub.requests == ()


def test_what_is_kept_is_where_the_librarys_own_tools_find_it(model: Model, library: Path) -> None:
    """Who has the model already must not download it again for vLLM, nor find a cache that its tools call broken."""
    source = CachedHuggingFace(model.source())
    for file in source.inventory().files:
        assert content(source, file) == PATHS[file.path]
    model.hub.log.clear()
    for path, data in PATHS.items():
        found = huggingface_hub.hf_hub_download(NAME, path, revision=model.commit, local_files_only=True)
        assert Path(found).read_bytes() == data and Path(found).is_symlink()
    scanned = huggingface_hub.scan_cache_dir()
    assert not scanned.warnings
    (repository,) = scanned.repos
    assert (repository.repo_id, repository.nb_files, repository.size_on_disk) == (NAME, 2, len(SMALL) + len(LARGE))


def test_a_file_that_another_commit_brought_is_not_fetched_again(model: Model) -> None:
    """A new README moves the commit, and none of a hundred gigabytes."""
    source = CachedHuggingFace(model.source())
    for file in source.inventory().files:
        assert content(source, file)
    model.hub.add(NAME, {**PATHS, "README.md": b"# new"})
    later = CachedHuggingFace(model.source())
    files = later.inventory().files
    model.hub.log.clear()
    assert {file.path: content(later, file) for file in files} == {**PATHS, "README.md": b"# new"}
    assert {one.path.rpartition("/")[2] for one in model.hub.requests} == {"README.md"}


SAME = {f"d/{number:03}.json": b"the same content" * 50 for number in range(60)}


def test_files_of_one_content_are_kept_side_by_side(model: Model, library: Path) -> None:
    """Several threads at one content took it away from each other: the build failed, and the library's links led nowhere."""
    commit = model.hub.add("org/same", SAME)
    huggingface_hub.snapshot_download("org/same", endpoint=model.hub.endpoint, token=False)
    model.hub.add("org/same", {**SAME, "config.json": b"{}"})
    for _ in range(3):
        source = CachedHuggingFace(model.source(hf="org/same"))
        files = source.inventory().files
        with ThreadPoolExecutor(8) as threads:
            found = dict(zip(files, threads.map(partial(content, source), files), strict=True))
        assert {file.path: data for file, data in found.items()} == {**SAME, "config.json": b"{}"}
        shutil.rmtree(library / "hub" / "models--org--same" / "snapshots" / source.inventory().commit)
    first = library / "hub" / "models--org--same" / "snapshots" / commit
    assert {path.relative_to(first).as_posix(): path.read_bytes() for path in first.rglob("*.json")} == SAME
    assert not huggingface_hub.scan_cache_dir().warnings


def test_without_network_the_content_of_another_path_is_enough(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tokenizers of one content: the second was asked for although it was there."""
    model.hub.add("org/twin", {"a/tokenizer.json": SMALL, "b/tokenizer.json": SMALL})
    source = CachedHuggingFace(model.source(hf="org/twin"))
    first, second = source.inventory().files
    pinned = source.inventory()
    assert content(source, first) == SMALL
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    offline = CachedHuggingFace(model.source(hf="org/twin", pinned=pinned))
    assert content(offline, second) == SMALL


@pytest.mark.parametrize("error", [errno.ENOLCK, errno.ENOSYS])
def test_a_disk_without_locks_is_filled_all_the_same(
    model: Model, library: Path, error: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Homes on a network have no locks now and then: nothing was kept there, and every build fetched all again."""
    monkeypatch.setattr(fcntl, "flock", lambda *arguments: failing(error))
    source = CachedHuggingFace(model.source())
    for file in source.inventory().files:
        assert content(source, file) == PATHS[file.path]
    model.hub.log.clear()
    assert [content(source, file) for file in source.inventory().files] == list(PATHS.values())
    assert all(one.path.startswith("/api/") for one in model.hub.requests)
    assert not list(library.rglob("*.incomplete"))


def failing(number: int) -> None:
    raise OSError(number, os.strerror(number))


def test_two_at_once_get_the_same_bytes(model: Model) -> None:
    """The second would wait for a process that hangs, or write into the same file."""
    source = CachedHuggingFace(model.source())
    file = named(source.inventory(), "weights/model.safetensors")
    first = source.open(file)
    begun = next(first)
    assert content(source, file) == LARGE
    assert bytes(begun) + b"".join(first) == LARGE
    assert content(source, file) == LARGE


@pytest.mark.parametrize(
    ("path", "commit"), [("../../../../out", "c" * 40), ("/out/a", "c" * 40), ("out", "../../out")]
)
def test_a_lock_does_not_lead_out_of_the_cache(model: Model, library: Path, path: str, commit: str) -> None:
    """A lock comes with somebody's repository: it must not decide where on this disk something is written."""
    file = File(path, 3, sha256=hashlib.sha256(b"out").hexdigest())
    source = CachedHuggingFace(model.source(pinned=Inventory("huggingface", NAME, (file,), "main", commit)))
    assert "out" in str(failure(lambda: content(source, file)))
    assert not list(library.rglob("*")), "something was written before the path was looked at"


def test_wrong_bytes_in_the_download_are_found(model: Model) -> None:
    source = CachedHuggingFace(model.source())
    file = named(source.inventory(), "weights/model.safetensors")
    model.hub.faults.add(Corrupt(1_000_000), origin="cdn")
    assert file.sha256 in str(failure(lambda: list(proven(source, file))))


@pytest.mark.parametrize(("gated", "private", "words"), [(True, False, "gated"), (False, True, "private")])
def test_refusals_are_told_as_when_streaming(model: Model, gated: bool, private: bool, words: str) -> None:
    model.hub.add("org/closed", {"a": b"a"})
    inventory = model.source(hf="org/closed").inventory()
    model.hub.add("org/closed", {"a": b"a"}, gated=gated, private=private)
    source = CachedHuggingFace(model.source(hf="org/closed", pinned=inventory))
    error = failure(lambda: content(source, inventory.files[0]))
    assert words in str(error) and error.hint


def test_a_full_disk_says_how_much_is_needed_and_where(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    source = CachedHuggingFace(model.source())
    file = named(source.inventory(), "weights/model.safetensors")
    usage = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    error = failure(lambda: content(source, file))
    assert "3,000,000 bytes" in str(error) and constants.HF_HUB_CACHE in str(error) and "--push" in error.hint


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
def test_a_disk_that_fills_up_in_the_middle_is_told(model: Model, library: Path) -> None:
    """What the system says of it names neither the file nor the disk."""
    source = CachedHuggingFace(model.source())
    file = named(source.inventory(), "config.json")
    blobs = library / "hub" / "models--org--model" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{file.git_oid}.modelpack.incomplete").symlink_to("/dev/full")
    error = failure(lambda: content(source, file))
    assert "no room for config.json" in str(error) and "--push" in error.hint


def test_a_cache_that_cannot_be_written_is_told(model: Model, library: Path) -> None:
    """Somebody else's folder, or a file in its place: HF_HOME is the way out."""
    source = CachedHuggingFace(model.source())
    file = named(source.inventory(), "config.json")
    (library / "hub").mkdir(parents=True)
    (library / "hub" / "models--org--model").write_bytes(b"")
    error = failure(lambda: content(source, file))
    assert "may not be written" in str(error) and "HF_HOME" in error.hint


def test_progress_is_told_as_events_and_not_drawn(model: Model, capfd: pytest.CaptureFixture[str]) -> None:
    """Two progress bars over each other cannot be read."""
    events: list[Event] = []
    source = CachedHuggingFace(model.source(), events.append)
    file = named(source.inventory(), "weights/model.safetensors")
    assert content(source, file) == LARGE
    key = f"download {file.path}"
    assert events[0] == Began(key, file.path, file.size)
    assert events[-1] == Ended(key, "read")
    assert sum(event.amount for event in events if isinstance(event, Moved)) == file.size
    assert capfd.readouterr() == ("", "")


def test_the_environment_is_left_alone(model: Model) -> None:
    before = dict(os.environ)
    source = CachedHuggingFace(model.source())
    for file in source.inventory().files:
        assert content(source, file)
    assert dict(os.environ) == before


@pytest.mark.parametrize(("keep", "kind"), [(True, CachedHuggingFace), (False, HuggingFace)])
def test_open_source_keeps_where_it_is_asked_to(keep: bool, kind: type[Any], tmp_path: Path) -> None:
    ref = HuggingFaceRef(hf=NAME)
    assert isinstance(open_source(ref, tmp_path, Settings(), lambda event: None, keep=keep), kind)
