"""One source for several stores: if these fail, a model is downloaded twice, or one bad registry takes the others along."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit.errors import RegistryFailed, SourceFailed
from buildkit.oci.image import Blob, Placed
from buildkit.oci.layout import Layout
from buildkit.oci.manifest import OCI_LAYER
from buildkit.oci.reference import Digest, Reference
from buildkit.oci.several import Several
from buildkit.oci.tee import Tee

DATA = bytes(range(256)) * 8000


class Source:
    """A blob's bytes, and how often they were read."""

    def __init__(self, data: bytes = DATA, fail_at: int | None = None) -> None:
        self.data = data
        self.fail_at = fail_at
        self.opened = 0

    def open(self) -> Iterator[bytes]:
        self.opened += 1
        for at in range(0, len(self.data), 50_000):
            if self.fail_at is not None and at >= self.fail_at:
                raise SourceFailed("the hub went away")
            yield self.data[at : at + 50_000]

    def blob(self, digest: Digest | None = None) -> Blob:
        return Blob("key", OCI_LAYER, len(self.data), self.open, digest, "a layer")


class Breaking(Layout):
    """A store that fails in the middle of a blob; ``again`` times it begins anew by itself before it gives up."""

    def __init__(self, folder: Path, again: int = 0, whole: bool = False) -> None:
        super().__init__(folder)
        self.again = again
        self.whole = whole

    def put(self, blob: Blob, moved: Callable[[int], None]) -> Placed:
        for _ in range(self.again):
            opened = iter(blob.open())
            next(opened)
        if self.whole:
            return super().put(blob, moved)
        opened = iter(blob.open())
        next(opened)
        raise RegistryFailed("the registry went away")


class Mounting(Layout):
    """A store that has what a sibling has, where that is said and ``mounts``."""

    def __init__(self, folder: Path, mounts: bool = True) -> None:
        super().__init__(folder)
        self.mounts = mounts

    def put(self, blob: Blob, moved: Callable[[int], None]) -> Placed:
        if blob.siblings and blob.digest and self.mounts:
            return Placed(blob.digest, "mounted")
        return super().put(blob, moved)


def ignore(amount: int) -> None:
    return None


def held(layout: Layout, data: bytes = DATA) -> bool:
    path = layout.path(Digest.of(data))
    return path.is_file() and path.read_bytes() == data


@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_store_gets_the_bytes_of_one_reading(tmp_path: Path, count: int) -> None:
    """A model would be downloaded once for each registry."""
    source = Source()
    layouts = {str(number): Layout(tmp_path / str(number)) for number in range(count)}
    placed = Several(layouts).put(source.blob(), ignore)
    assert (placed.digest, placed.outcome) == (Digest.of(DATA), "sent")
    assert source.opened == 1
    assert all(held(layout) for layout in layouts.values())


def test_only_who_lacks_it_gets_it(tmp_path: Path) -> None:
    """What one registry has is not sent to it because another has not; what all have is not even read."""
    source = Source()
    layouts = {name: Layout(tmp_path / name) for name in ("a", "b", "c")}
    layouts["a"].put(source.blob(), ignore)
    assert Several(layouts).put(source.blob(Digest.of(DATA)), ignore).outcome == "sent"
    assert source.opened == 2
    assert Several(layouts).put(source.blob(Digest.of(DATA)), ignore).outcome == "exists"
    assert source.opened == 2


@pytest.mark.parametrize(("mounts", "first", "second"), [(True, 1, 1), (False, 2, 1)])
def test_stores_of_one_registry_take_turns_as_long_as_they_mount(
    tmp_path: Path, mounts: bool, first: int, second: int
) -> None:
    """Every layer would be sent twice to one registry; or read twice from the hub, for a registry that mounts nothing."""
    stores = {name: Mounting(tmp_path / name, mounts) for name in ("r.example/a", "r.example/b", "s.example/a")}
    several = Several(stores, {name: Reference.parse(name) for name in stores})
    for data, opened in ((DATA, first), (DATA[::-1], second)):
        source = Source(data)
        moved: list[int] = []
        assert several.put(replace(source.blob(), key=str(opened)), moved.append).outcome == "sent"
        assert (source.opened, sum(moved)) == (opened, len(data))
        assert held(stores["r.example/a"], data) and held(stores["s.example/a"], data)
        assert held(stores["r.example/b"], data) is not mounts


def test_the_next_store_of_a_registry_gets_what_the_first_did_not_take(tmp_path: Path) -> None:
    """A repository that may not be written must not keep its neighbour from the image."""
    stores = {"r.example/a": Breaking(tmp_path / "a"), "r.example/b": Layout(tmp_path / "b")}
    several = Several(stores, {name: Reference.parse(name) for name in stores})
    assert several.put(Source().blob(), ignore).outcome == "sent"
    assert list(several.failed) == ["r.example/a"]
    assert held(stores["r.example/b"])


def test_a_store_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    """One registry's bad day would cost the push to all others."""
    source = Source()
    good = Layout(tmp_path / "good")
    several = Several({"bad": Breaking(tmp_path / "bad"), "good": good})
    several.put(source.blob(), ignore)
    assert held(good)
    assert list(several.failed) == ["bad"]
    assert list(several.alive) == ["good"]


def test_a_store_that_begins_anew_reads_for_itself(tmp_path: Path) -> None:
    """A connection that broke must neither stall the other registry nor get half of the bytes."""
    source = Source()
    slow, good = Breaking(tmp_path / "slow", again=1, whole=True), Layout(tmp_path / "good")
    several = Several({"slow": slow, "good": good})
    several.put(source.blob(), ignore)
    assert held(slow)
    assert held(good)
    assert source.opened == 2
    assert several.failed == {}


def test_the_last_failure_is_raised(tmp_path: Path) -> None:
    """A push that went nowhere must not end as if it went well."""
    several = Several({name: Breaking(tmp_path / name) for name in ("a", "b")})
    with pytest.raises(RegistryFailed, match="went away"):
        several.put(Source().blob(), ignore)


def test_a_source_that_fails_fails_everywhere(tmp_path: Path) -> None:
    """Half a layer must become a blob nowhere, and the hub be blamed, not a registry."""
    several = Several({name: Layout(tmp_path / name) for name in ("a", "b")})
    with pytest.raises(SourceFailed):
        several.put(Source(fail_at=500_000).blob(), ignore)
    assert several.failed == {}
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "oci-layout"]


def test_progress_counts_each_byte_once(tmp_path: Path) -> None:
    """A bar that fills twice as far as the layer is long tells nothing."""
    moved: list[int] = []
    Several({name: Layout(tmp_path / name) for name in ("a", "b", "c")}).put(Source().blob(), moved.append)
    assert sum(moved) == len(DATA)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=4), st.integers(0, 12))
def test_readers_may_leave_whenever_they_like(stops: list[int], pieces: int) -> None:
    """A registry that gives up at any piece would leave the others waiting for ever."""
    expected = [bytes([number]) for number in range(pieces)]
    tee = Tee(lambda: iter(expected), len(stops))
    got: list[list[bytes]] = [[] for _ in stops]

    def read(party: int) -> None:
        opened = tee.open(party) if stops[party] else iter(())
        for piece in opened:
            got[party].append(bytes(piece))
            if len(got[party]) >= stops[party]:
                break
        tee.leave(party)

    threads = [threading.Thread(target=read, args=(party,), daemon=True) for party in range(len(stops))]
    for thread in threads:
        thread.start()
    tee.run()
    for thread in threads:
        thread.join(timeout=30)
        assert not thread.is_alive()
    assert got == [expected[:stop] for stop in stops]
