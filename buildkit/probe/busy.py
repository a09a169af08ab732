"""A server that is asked something while it answers something else."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from buildkit.probe.asking import Answer, Ask, ask
from buildkit.probe.session import Running
from buildkit.probe.verdicts import Outcome, broken, passed

if TYPE_CHECKING:
    from buildkit.probe.server import Limit, Server


_IN_FLIGHT = 2


class Flight:
    """A request in a thread of its own: ``sent`` when it is out, ``landed`` when its answer is there."""

    def __init__(self, port: int, question: Ask) -> None:
        self.sent, self.landed = threading.Event(), threading.Event()
        self.answer = Answer(0, failure="not asked")
        threading.Thread(target=self._fly, args=(port, question), daemon=True).start()

    def _fly(self, port: int, question: Ask) -> None:
        self.answer = ask(port, question, self.sent.set)
        self.landed.set()


def while_busy(server: Server, limit: Limit, running: Running) -> Outcome:
    """Asks the probe while samples are being answered: sent, and not yet answered."""
    route, sample = server.alive or server.ready, server.samples[0].question
    port = running.published(server.port) or 0
    flights = [Flight(port, sample) for _ in range(_IN_FLIGHT)]
    for flight in flights:
        flight.sent.wait(sample.within)
    busy = sum(not flight.landed.is_set() for flight in flights)
    answer = ask(running.published(route.port or server.port) or 0, Ask("GET", route.path, limit.seconds))
    for flight in flights:
        flight.landed.wait(sample.within)
    asked = f"GET {route.path} while {_IN_FLIGHT} × {sample} are in flight"
    if answer.good:
        return passed(limit.rule, asked, f"{answer}; {busy} were still in flight when it was asked")
    return broken(limit.rule, asked, str(answer), "answer probes from a thread or worker of their own")
