"""SIGTERM: as a platform sends it, while a request is in flight, and how long the server takes to end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from buildkit.probe.busy import Flight
from buildkit.probe.inspected import hears_sigterm
from buildkit.probe.session import Patience, Running
from buildkit.probe.verdicts import Outcome, broken, noted, passed, unasked

if TYPE_CHECKING:
    from buildkit.probe.server import Server

_EVERYWHERE, _EVERYWHERE_SECONDS = "UNI-08", 30
_DEAF = "start the server in exec form, so that it is process 1 and hears the signal; or put tini before it"


def end(server: Server, running: Running, patience: Patience, *, ready: bool = True) -> Iterator[Outcome]:
    """Sends SIGTERM with a request in flight where there is a sample, and waits as long as the platform does.

    A server that never became ``ready`` gets no request.
    """
    if server.stop.rule != _EVERYWHERE:
        yield unasked(
            _EVERYWHERE, "", f"{server.stop.rule} stands for it: this platform gives {server.stop.seconds:g} s"
        )
    rule, limit = server.stop.rule, server.stop.seconds
    asked = f"SIGTERM, and {limit:g} s"
    if not running.state().running:
        yield unasked(rule, asked, "it had ended by itself")
        return
    hears = hears_sigterm(running)
    flight = _flight(server, running) if ready else None
    began = patience.clock()
    running.signal("TERM")
    waited = patience.stop(limit)
    ended = patience.until(lambda: not running.state().running, waited)
    seconds = patience.clock() - began
    if ended:
        yield _dropped(server, flight, seconds) or passed(rule, asked, f"it ended after {seconds:.1f} s")
        if rule != _EVERYWHERE and seconds <= _EVERYWHERE_SECONDS:
            yield passed(_EVERYWHERE, f"SIGTERM, and {_EVERYWHERE_SECONDS} s", f"it ended after {seconds:.1f} s")
    elif waited < limit and hears:
        yield unasked(rule, asked, f"it still ran after {waited:g} s and may be finishing", "run it without --fast")
    else:
        why = "; process 1 does not listen to SIGTERM" if hears is False else ""
        yield broken(rule, asked, f"it still ran after {waited:g} s{why}", _DEAF if hears is False else "end in time")


def _flight(server: Server, running: Running) -> Flight | None:
    port = running.published(server.port)
    if not server.samples or not port:
        return None
    flight = Flight(port, server.samples[0].question)
    flight.sent.wait(server.samples[0].within)
    return flight


def _dropped(server: Server, flight: Flight | None, seconds: float) -> Outcome | None:
    """A request that was under way when the signal came deserves its answer."""
    if flight is None or not flight.landed.wait(2) or flight.answer.status:
        return None
    asked = f"SIGTERM while {server.samples[0].question} is in flight"
    answer = f"{flight.answer}; it ended after {seconds:.1f} s"
    return noted(server.stop.rule, asked, answer, "finish what is under way, then end")
