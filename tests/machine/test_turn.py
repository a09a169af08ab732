"""One run at a time: if these fail, a second run sends everything again, or waits for a run that there is not."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from buildkit.machine.atomic import AtomicFile, sweep
from buildkit.machine.turn import turn


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_where_there_are_no_locks_nobody_is_waited_for(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A home that is mounted without locks: every build would wait for ever for a run that there is not."""
    refuse_locks(monkeypatch, number)
    with turn(tmp_path / "place", pytest.fail, pytest.fail):  # type: ignore[arg-type]
        pass


def test_where_there_are_no_locks_no_file_of_another_run_is_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can tell there what was left from what is being written."""
    refuse_locks(monkeypatch, errno.ENOLCK)
    with AtomicFile(tmp_path, ".a-") as written:
        sweep(tmp_path, ".a-")
        written.file.write(b"all of it")
        written.keep(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"all of it"


def test_who_comes_second_waits_and_is_told_once(tmp_path: Path) -> None:
    """The first run's lock is let go in the middle of the second's waiting."""
    said: list[str] = []
    waits: list[float] = []
    first = turn(tmp_path / "place", pytest.fail, pytest.fail)  # type: ignore[arg-type]
    first.__enter__()

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            first.__exit__(None, None, None)

    with turn(tmp_path / "place", wait, lambda: said.append("waiting")):
        assert (said, len(waits)) == (["waiting"], 3)


def refuse_locks(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refused(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refused)
