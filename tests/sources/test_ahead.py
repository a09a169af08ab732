"""Several connections for one file: used where one is slow, in order, in bounded memory, and gone when they should be."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkit.errors import SourceFailed
from buildkit.pin import File, proven
from buildkit.sources import ahead
from buildkit.sources.ahead import MEBIBYTE, Window
from buildkit.sources.huggingface import HuggingFace
from tests.fakes.faults import Action, Corrupt, Cut, Hangup, Short, Stall, Status
from tests.fakes.hub import Hub, Synthetic
from tests.sources.conftest import NAME, Model, content, failure

SIZE = 48 * MEBIBYTE + 12_345
WINDOW = 16 * MEBIBYTE


@pytest.fixture
def far(model: Model, monkeypatch: pytest.MonkeyPatch) -> Model:
    """A hub whose every connection counts as slow and distant, with one large file."""
    monkeypatch.setattr(ahead, "SLOW", float("inf"))
    monkeypatch.setattr(ahead, "DISTANT", 0.0)
    model.hub.add(NAME, {"large": Synthetic(SIZE)})
    return model


def ready(model: Model) -> tuple[HuggingFace, File]:
    source = model.source(window=WINDOW)
    return source, source.inventory().files[0]


def until(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether a condition comes true before the deadline."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    return condition()


def helpers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "modelpack-read-ahead"]


def test_a_slow_file_comes_over_several_connections_in_order(far: Model) -> None:
    """One connection at 40 MB/s makes a 100 GB model take an hour; eight make it take eight minutes."""
    source, file = ready(far)
    assert sum(len(piece) for piece in proven(source, file)) == SIZE
    ranges = [request.range for request in far.hub.requests if request.origin == "cdn"]
    assert len(ranges) > 8, "no part was asked for"
    assert len([request for request in far.hub.requests if "/resolve/" in request.path]) == 1, (
        "each part asked the hub for a link"
    )


def test_a_fast_file_comes_over_one(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where hashing and sending are the limit, more connections only cost."""
    monkeypatch.setattr(ahead, "SLOW", 0.0)
    model.hub.add(NAME, {"large": Synthetic(SIZE)})
    source, file = ready(model)
    assert sum(len(piece) for piece in proven(source, file)) == SIZE
    assert len([request for request in model.hub.requests if request.origin == "cdn"]) == 1


def test_a_slow_consumer_does_not_open_connections(model: Model) -> None:
    """Only time spent waiting for the hub counts; a slow registry is not mended by more downloads."""
    ticks = iter(range(1_000_000))
    elapsed = [0.0]

    def clock() -> float:
        next(ticks)
        return elapsed[0]

    def consumed() -> Iterator[bytes]:
        yield from [bytes(MEBIBYTE)] * 200

    for piece in ahead._while_fast(consumed(), 200 * MEBIBYTE, Window(), clock):
        elapsed[0] += len(piece) / 1000
    assert next(ticks) > 400, "the plain connection was given up"


@pytest.mark.parametrize("start", [1, MEBIBYTE, 20 * MEBIBYTE + 7, SIZE - 1])
def test_it_can_begin_anywhere(far: Model, start: int) -> None:
    source, file = ready(far)
    assert content(source, file, start) == Synthetic(SIZE).read(start, SIZE)


@pytest.mark.parametrize(
    "action",
    [Cut(0), Cut(1), Cut(500_000), Cut(MEBIBYTE - 1), Short(7, honest=False), Status(503), Hangup(), Status(403)],
)
@pytest.mark.parametrize("skip", [0, 1, 7, 30])
def test_a_fault_in_any_part_is_mended_there(far: Model, action: Cut | Short | Status | Hangup, skip: int) -> None:
    source, file = ready(far)
    far.hub.faults.add(action, origin="cdn", skip=skip, times=3)
    assert sum(len(piece) for piece in proven(source, file)) == SIZE
    assert far.hub.faults.fired


def test_wrong_bytes_in_any_part_are_found(far: Model) -> None:
    source, file = ready(far)
    far.hub.faults.add(Corrupt(100), origin="cdn", skip=20)
    assert file.sha256 in str(failure(lambda: list(proven(source, file))))


def test_a_part_that_never_comes_ends_all(far: Model) -> None:
    source, file = ready(far)
    far.hub.faults.add(Status(500), origin="cdn", skip=10, times=None)
    error = failure(lambda: content(source, file))
    assert "large" in str(error) and "500" in str(error)
    assert until(lambda: not helpers()), "threads of a failed file are left behind"


def test_a_server_without_ranges_is_read_over_one_connection(far: Model) -> None:
    source, file = ready(far)
    whole = Synthetic(SIZE).read(0, SIZE)
    far.hub.faults.add(
        Status(200, {"Content-Length": str(SIZE)}, whole),
        origin="cdn",
        times=None,
        when=lambda asked: "range" in asked.headers,
    )
    assert content(source, file) == whole


def test_a_reader_that_stops_early_ends_the_threads_and_frees_the_window(far: Model) -> None:
    """An aborted upload must not go on downloading, nor take memory from the next file."""
    source, file = ready(far)
    pieces = source.open(file)
    for _ in range(60):
        next(pieces)
    assert helpers(), "nothing was read ahead, so this test showed nothing"
    pieces.close()  # type: ignore[attr-defined]
    assert until(lambda: not helpers())
    assert source._window._used == 0 and source._window._readers == 0


def test_threads_stop_in_the_middle_of_a_part(far: Model) -> None:
    """An aborted build on a slow line must not finish what it began."""
    source, file = ready(far)
    pieces = source.open(file)
    next(pieces)
    far.hub.throttle(100_000)
    while not helpers():
        next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert until(lambda: not helpers()), "a part of 1 MiB at 100 kB/s is read to its end"


def test_several_files_at_once_share_the_window(far: Model) -> None:
    """Layers go in parallel: their read-ahead together must stay within the memory that was promised."""
    far.hub.add(NAME, {f"large {number}": Synthetic(SIZE, number) for number in range(4)})
    source = far.source(window=WINDOW)
    files = source.inventory().files
    most, results = [0], {}
    take = source._window.take

    def watched(held: int, amount: int) -> bool:
        taken = take(held, amount)
        most[0] = max(most[0], source._window._used)
        return taken

    source._window.take = watched  # type: ignore[method-assign]

    def read(file: File) -> None:
        results[file.path] = sum(len(piece) for piece in proven(source, file))

    threads = [threading.Thread(target=read, args=(file,)) for file in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == {file.path: SIZE for file in files}
    assert 0 < most[0] <= WINDOW
    assert source._window._used == 0


def test_a_window_smaller_than_a_part_still_reads_the_file(far: Model) -> None:
    source = far.source(window=1000)
    file = source.inventory().files[0]
    assert sum(len(piece) for piece in proven(source, file)) == SIZE


@given(st.integers(1, 1 << 30), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1 << 24)), max_size=50))
def test_a_window_is_never_overdrawn(total: int, asked: list[tuple[int, int]]) -> None:
    window = Window(total)
    held = [0, 0, 0, 0]
    for _ in held:
        window.join()
    for reader, amount in asked:
        if window.take(held[reader], amount):
            held[reader] += amount
        elif held[reader]:
            window.give(held[reader])
            held[reader] = 0
        assert sum(held) == window._used <= total
    for amount in held:
        window.leave(amount)
    assert window._used == 0


def test_random_faults_under_read_ahead_end_in_the_file_or_in_one_error(far: Model) -> None:
    source, file = ready(far)
    chance = random.Random(7)
    good = 0
    for _ in range(15):
        far.hub.faults.clear()
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(MEBIBYTE)
            actions: list[Action] = [Cut(at), Short(at + 1, honest=False), Status(503), Hangup()]
            action = chance.choice([*actions, Status(403), Corrupt(at)])
            far.hub.faults.add(action, origin="cdn", skip=chance.randint(0, 40), times=chance.randint(1, 8))
        try:
            good += sum(len(piece) for piece in proven(source, file)) == SIZE
        except SourceFailed as error:
            assert file.path in str(error)
    assert good, "no transfer survived, so this test showed nothing"


INTERRUPTED = """
import _thread, signal, sys, threading
from buildkit.inputs import HuggingFaceRef
from buildkit.sources import ahead
from buildkit.sources.huggingface import HuggingFace
ahead.SLOW, ahead.DISTANT = float("inf"), 0.0
source = HuggingFace(HuggingFaceRef(hf="org/model"), sys.argv[1], lambda: None)
pieces = source.open(source.inventory().files[0])
for _ in range(10):
    next(pieces)
signal.signal(signal.SIGINT, signal.default_int_handler)
threading.Thread(target=lambda: (sys.stdin.readline(), _thread.interrupt_main()), daemon=True).start()
print("reading", flush=True)
try:
    for piece in pieces:
        pass
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_an_interrupted_program_ends_although_the_hub_is_silent(far: Model, tmp_path: Path) -> None:
    """Ctrl-C ends the command at once: threads that wait for a hub must not hold it until their timeout of a minute."""
    far.hub.faults.add(Stall(1000, threading.Event()), origin="cdn", skip=4, times=None)
    environment = {**os.environ, "HF_HOME": str(tmp_path)}
    command = [sys.executable, "-c", INTERRUPTED, far.hub.endpoint]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"reading\n"
        far.hub.faults.wait(deadline=30)
        try:
            program.communicate(b"\n", timeout=30)
        finally:
            program.kill()
    assert program.returncode == 130, "the program was still waiting for the hub"


@settings(max_examples=60, deadline=None)
@given(size=st.integers(0, 3_000_000), data=st.data())
def test_what_comes_out_is_the_file_or_one_error(shared_hub: Model, size: int, data: st.DataObject) -> None:
    """Over random sizes and places: no cut may lose, double or swap a byte."""
    body = Synthetic(size, size)
    shared_hub.hub.faults.clear()
    shared_hub.hub.add(NAME, {"file": body}, lfs_over=data.draw(st.sampled_from([0, 1 << 40])))
    source = shared_hub.source()
    file = source.inventory().files[0]
    for at in data.draw(st.lists(st.integers(0, max(size - 1, 0)), max_size=8)):
        actions: list[Action] = [Cut(at), Short(max(at, 1), honest=False)]
        shared_hub.hub.faults.add(data.draw(st.sampled_from(actions)), path="^(?!/api)", method="GET")
    start = data.draw(st.integers(0, size))
    try:
        found = content(source, file, start)
    except SourceFailed as error:
        assert "file" in str(error)
        return
    assert found == body.read(start, size)


@pytest.fixture(scope="module")
def shared_hub() -> Iterator[Model]:
    with Hub() as hub:
        yield Model(hub, "")
