"""Work side by side: if these fail, Ctrl-C hangs, a failure is swallowed, or results are mixed up."""

from __future__ import annotations

import threading

import pytest

from buildkit.machine.parallel import Stop, Stopped, each


def test_results_come_in_order() -> None:
    """A layer's digest must not be given to another layer."""
    assert each(list(range(50)), lambda number: number * number, 8, Stop()) == [number * number for number in range(50)]


def test_the_first_failure_stops_the_rest_and_is_told() -> None:
    """A push that cannot succeed any more must not go on for an hour, and must say why it failed."""
    began = threading.Barrier(2)

    def work(number: int) -> None:
        if number > 1:
            raise AssertionError("work that was not begun yet went on after a failure")
        began.wait(10)
        if number == 0:
            raise ValueError("the reason")
        while True:
            stop.wait(10)

    stop = Stop()
    with pytest.raises(ValueError, match="the reason"):
        each([0, 1, 2, 3], work, 2, stop)


def test_waiting_ends_when_stopping_is_asked_for() -> None:
    """A pause between two tries must not outlive Ctrl-C."""
    stop = Stop()
    stop.ask()
    with pytest.raises(Stopped):
        stop.wait(3600)
