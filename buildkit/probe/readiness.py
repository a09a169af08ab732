"""Waiting for a server: whether it becomes ready, when, and what it listens on meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from buildkit.probe.asking import ask
from buildkit.probe.inspected import Listening, listening
from buildkit.probe.session import Patience, Running
from buildkit.probe.verdicts import Outcome, broken, passed, unasked

if TYPE_CHECKING:
    from buildkit.probe.server import Limit, Server


_THOROUGH = 4
_NOBODY_TELLS = "the container has no 'cat', so nobody can tell what it listens on"


class Waited:
    """What happened until the server was ready, or until patience ended."""

    def __init__(self, server: Server, running: Running, patience: Patience) -> None:
        self._server, self._running, self._patience = server, running, patience
        self.refusals: dict[str, None] = {}
        self.ready = False
        self.ended = False
        self._hopeless_since: float | None = None
        self._hopeless = False
        self._answered = False
        self._polls = 0
        self._connected: float | None = None
        self._began = patience.clock()
        self.limit = patience.start(server.start.seconds)
        patience.until(self._is_decided, self.limit)

    def _is_decided(self) -> bool:
        """Ready, or never to be: it ended, or it has answered for long what it will go on to answer."""
        # The engine is asked less often than the server: it takes ten times as long to answer.
        thorough = self._polls % _THOROUGH == 0
        self._polls += 1
        port = self._running.published(self._server.ready.port or self._server.port)
        if port:
            answer = ask(port, self._server.ready.question)
            # Whatever is wrong with a 2xx (its content type) is judged later: this is the moment it calls itself ready.
            self.ready = answer.good
            if self._connected is None and (answer.status or (thorough and self._is_open())):
                self._connected = self._patience.clock() - self._began
            if answer.status or thorough:
                self._hopeless = 300 <= answer.status < 500 or (not answer.status and self._hears_itself_only())
            self._answered = bool(answer.status)
            if not self.ready:
                self.refusals[str(answer) if not answer.status else f"{answer.status} {answer.location}".strip()] = None
        if not self.ready and thorough:
            self.ended = not self._running.state().running
        return self.ready or self.ended or self._for_long()

    def _is_open(self) -> bool:
        """Whether it listens where a connection from outside arrives. An engine's proxy takes one in any case."""
        return any(one.port == self._server.port and not one.only_here for one in listening(self._running) or ())

    def _hears_itself_only(self) -> bool:
        """Whether it listens on the port, and not where a question that got no answer came from."""
        sockets = [one for one in listening(self._running) or () if one.port == self._server.port]
        return bool(sockets) and all(one.only_here or one.is_six for one in sockets)

    def _for_long(self) -> bool:
        """Whether it has stood like this for as long as a start may take that goes through it."""
        if not self._hopeless:
            self._hopeless_since = None
            return False
        now = self._patience.clock()
        self._hopeless_since = now if self._hopeless_since is None else self._hopeless_since
        return now - self._hopeless_since >= self._patience.settling()

    def outcomes(self, seconds: float) -> Iterator[Outcome]:
        """For the start, for the route, and for what it listens on."""
        server, asked = self._server, f"GET {self._server.ready.path} until it is ready"
        before = f"; before: {', '.join(list(self.refusals)[-4:])}" if self.refusals else ""
        sockets = None if self.ended else listening(self._running)
        if self.ready:
            yield passed(server.start.rule, asked, f"after {seconds:.1f} s{before}")
        else:
            # A platform knows no more than that its question was not answered: the route and the time are both broken.
            waited = min(seconds, self.limit)
            why = ended(self._running) if self.ended else f"not within {waited:.0f} s{before}"
            hint = "see what it printed, below" if self.ended else self._instead(sockets)
            yield broken(server.ready.rule, f"GET {server.ready.path}", why, hint)
            if server.start.rule != server.ready.rule:
                yield broken(server.start.rule, asked, why, hint)
            if self.ended and server.stays:
                yield broken(server.stays, "the first process stays", why, hint)
        if server.connects:
            yield self._connects(server.connects, sockets)
        if server.listens and not self.ended:
            yield _listens(server, sockets, self.ready, self._answered)

    def _connects(self, limit: Limit, sockets: tuple[Listening, ...] | None) -> Outcome:
        asked = f"the port takes a connection within {limit.seconds:g} s"
        if self._connected is None and sockets is None and not self.ended:
            return unasked(limit.rule, asked, _NOBODY_TELLS)
        if self._connected is None:
            return broken(limit.rule, asked, "it took none", "open the port before the model is loaded")
        told = f"after {self._connected:.1f} s"
        if self._connected > limit.seconds:
            return broken(limit.rule, asked, told, "open the port before the model is loaded")
        return passed(limit.rule, asked, told)

    def _instead(self, sockets: tuple[Listening, ...] | None) -> str:
        """What to do about a server that runs and is not ready: another answer, or another port."""
        route, port = self._server.ready, self._server.ready.port or self._server.port
        if self._answered:
            return f"it is there: answer GET {route.path} with 200 when it is ready"
        if sockets is None or any(one.port == port and not one.only_here for one in sockets):
            return ""
        told = ", ".join(map(str, sockets)) or "nothing"
        return f"the platform asks port {port}; the container listens on {told}"


def ended(running: Running) -> str:
    """How a container ended."""
    state = running.state()
    return f"it ended with code {state.code}" + (", out of memory" if state.out_of_memory else "")


def _listens(server: Server, sockets: tuple[Listening, ...] | None, ready: bool, answered: bool) -> Outcome:
    port, asked = server.port, f"listens on 0.0.0.0:{server.port}"
    if sockets is None:
        return (
            passed(server.listens, asked, "it answers from outside")
            if ready
            else unasked(server.listens, asked, _NOBODY_TELLS)
        )
    told = ", ".join(map(str, sockets)) or "nothing"
    open_to_all = [one for one in sockets if one.port == port and not one.only_here]
    if open_to_all and not answered and all(one.is_six for one in open_to_all):
        return broken(server.listens, asked, f"it listens on {told}, and takes no connection of IPv4", "bind 0.0.0.0")
    if open_to_all:
        return passed(server.listens, asked, told)
    return broken(server.listens, asked, f"it listens on {told}", f"bind the server to 0.0.0.0, port {port}")
