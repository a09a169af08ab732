"""Builds whose image is pushed later: the hub library's own cache is filled once, and read from then on."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants

from buildkit.events import Began, Ended, Event, Moved
from buildkit.inputs import HuggingFaceRef
from buildkit.pin import proven
from buildkit.settings import Settings
from buildkit.sources import open_source
from buildkit.sources.cached import CachedHuggingFace
from buildkit.sources.huggingface import HuggingFace
from tests.fakes.faults import Corrupt, Cut, Hangup, Redirect, Short, Status
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
    model: Model, path: str, action: Cut | Short | Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub's library by itself gives up on a connection that is reset."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    source = CachedHuggingFace(model.source())
    file = named(source.inventory(), path)
    model.hurt(path, action)
    if isinstance(action, Status) and action.code == 503:
        assert "503" in str(failure(lambda: content(source, file)))
    assert content(source, file) == PATHS[path]
    assert model.hub.faults.fired


@pytest.mark.parametrize("action", [Hangup(), Status(500), Short(7)])
@pytest.mark.parametrize("path", PATHS)
def test_a_download_that_cannot_be_had_is_an_explained_failure(
    model: Model, path: str, action: Hangup | Status | Short, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    source = CachedHuggingFace(model.source())
    file = named(source.inventory(), path)
    model.hurt(path, action, times=None)
    error = failure(lambda: content(source, file))
    assert path in str(error) or NAME in str(error)
    assert error.hint


def test_a_hub_that_goes_down_in_between_is_an_explained_failure(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    source = CachedHuggingFace(model.source())
    file = named(source.inventory(), "config.json")
    model.hub.faults.add(Hangup(), times=None)
    assert "could not be downloaded" in str(failure(lambda: content(source, file)))


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


def test_a_redirect_down_to_plain_http_is_refused(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    from buildkit.sources import hub_client

    monkeypatch.setattr(hub_client, "is_internal", lambda host: host == "10.0.0.1")
    source = CachedHuggingFace(model.source())
    file = named(source.inventory(), "config.json")
    model.hub.faults.add(Redirect("http://10.0.0.1/a"), path="/resolve/", method="GET")
    assert "10.0.0.1" in str(failure(lambda: content(source, file)))


def test_a_full_disk_says_how_much_is_needed_and_where(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    source = CachedHuggingFace(model.source())
    file = named(source.inventory(), "weights/model.safetensors")
    usage = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    error = failure(lambda: content(source, file))
    assert "3,000,000 bytes" in str(error) and constants.HF_HUB_CACHE in str(error) and "--push" in error.hint


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "no room"), (errno.EACCES, "may not be written"), (errno.EIO, "cannot be read")],
)
def test_a_disk_that_fails_in_the_middle_is_told_apart(
    model: Model, number: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    source = CachedHuggingFace(model.source())
    file = named(source.inventory(), "config.json")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fails)
    assert words in str(failure(lambda: content(source, file)))


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
