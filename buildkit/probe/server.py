"""A server that a platform starts, waits for, asks, keeps busy and ends: what it is, as data, and the order of things."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from buildkit.probe import serving, stopping
from buildkit.probe.asking import JSON, Ask
from buildkit.probe.containers import Container, NotStarted
from buildkit.probe.session import Session
from buildkit.probe.verdicts import Outcome, broken, last_line, passed, unasked


@dataclass(frozen=True)
class Route:
    """A path that the platform itself asks. ``only_200``: another 2xx does not do; ``media_type``: what it must say it is.

    ``port`` is the container's, 0 where it is that of the samples.
    """

    rule: str
    path: str
    within: float
    only_200: bool = True
    media_type: str = ""
    port: int = 0

    @property
    def question(self) -> Ask:
        """The request."""
        return Ask("GET", self.path, self.within)


@dataclass(frozen=True)
class Sample:
    """A request of a user. ``declared``: a person wrote it, and did not leave it to the platform's default."""

    rule: str
    path: str
    within: float
    method: str = "POST"
    content_type: str = JSON
    body: bytes = b"{}"
    declared: bool = False
    prediction: bool = False

    @property
    def question(self) -> Ask:
        """The request; what has no body has no content type either."""
        body = b"" if self.method in ("GET", "HEAD") else self.body
        return Ask(self.method, self.path, self.within, body, self.content_type if body else "")


@dataclass(frozen=True)
class Limit:
    """A time that a platform gives, in seconds, under the rule that says so."""

    rule: str
    seconds: float


@dataclass(frozen=True)
class Server:
    """How a platform runs a server and what it asks of it; the strings are ids of rules, "" where there is none.

    ``ready`` decides whether requests are sent; ``alive`` is asked beside it. ``command`` is broken by an image that cannot
    be started at all, ``early`` by a server that is ready before it can answer, ``connects`` by one whose port takes no
    connection in time, ``streams`` by one that does not heed ``Accept: text/event-stream``, ``read_only`` by one that needs
    to write where the platform lets nobody write, ``hidden`` by one that needs what the platform's mount hides,
    ``told_routes`` by one that serves other routes than it is told. ``openai`` holds for one that speaks OpenAI's
    protocol, as vLLM does. ``inside`` are commands that the platform runs in the container, ``models`` asks Triton for
    its models. ``guesses`` is what is tried at the usual paths where no sample is declared.
    """

    container: Container
    start: Limit
    stop: Limit
    ready: Route
    command: str
    alive: Route | None = None
    samples: tuple[Sample, ...] = ()
    early: str = ""
    listens: str = ""
    connects: Limit | None = None
    busy: Limit | None = None
    streams: str = ""
    stays: str = ""
    redirects: str = "UNI-09"
    read_only: str = ""
    hidden: str = ""
    openai: str = "VL-01"
    logs: str = ""
    inside: tuple[tuple[str, tuple[str, ...]], ...] = ()
    models: str = ""
    latency: str = ""
    latency_seconds: float = 60
    told_routes: str = ""
    guesses: Sample | None = None
    without_sample: str = "write samples into the recipe's target, or give --sample POST:/PATH"

    @property
    def port(self) -> int:
        """The container's port that samples go to."""
        return self.container.ports[0]

    def outcomes(self, session: Session) -> list[Outcome]:
        """Starts it and asks everything, in the platform's order; where it fails on a read-only root, finds out what it writes."""
        found = list(self._asked(session, self.container))
        # How it ends has nothing to do with where it may write.
        failed = {one.rule for one in found if one.verdict == "failed"} - {self.stop.rule}
        if self.read_only:
            found.append(self._writes(session, failed))
        if self.hidden and self.container.mounts:
            found.append(self._hidden(session, failed))
        return found

    def _asked(self, session: Session, container: Container) -> Iterator[Outcome]:
        try:
            with session.running("the server", replace(container, image=session.image)) as running:
                ready = False
                for outcome in serving.ask_everything(self, running, session.patience):
                    ready = ready or (outcome.rule, outcome.verdict) == (self.start.rule, "passed")
                    yield outcome
                yield from stopping.end(self, running, session.patience, ready=ready)
        except NotStarted as error:
            said = last_line(error.said) if error.said.strip() else f"exit code {error.code}"
            hint = error.hint("give the image a command that exists")
            yield broken(self.command, f"{session.engine.name} run {_words(container)}", said, hint)
            yield from serving.nothing_asked(self, "the container was not started", {self.command})

    def _better(self, session: Session, what: str, container: Container, failed: set[str]) -> _Better:
        """What of that which failed does not fail in a container that is run otherwise."""
        try:
            with session.running(what, replace(container, image=session.image)) as running:
                outcomes = list(serving.ask_everything(self, running, session.patience))
                still = {one.rule for one in outcomes if one.verdict == "failed"}
                kept = {one.rule for one in outcomes if one.verdict == "passed"} - still
                return _Better(tuple(sorted(failed & kept)), running.changes())
        except NotStarted:
            return _Better((), ())

    def _hidden(self, session: Session, failed: set[str]) -> Outcome:
        """Whether it needs what it ships where the platform's mount hides it, or writes where that is read-only."""
        mount = self.container.mounts[0]
        asked = f"everything above with {mount.target} mounted read-only"
        if not failed:
            return passed(self.hidden, asked, "nothing failed")
        if self.listens in failed:
            return unasked(self.hidden, asked, _UNREACHED)
        bare = replace(self.container, mounts=())
        better = self._better(session, f"the server, with nothing mounted at {mount.target}", bare, failed)
        if not better.rules:
            return unasked(self.hidden, asked, "the same fails without the mount")
        written = [path for path in better.written if path.startswith(mount.target)]
        why = f"; there it wrote {', '.join(written[:5])}" if written else ""
        hint = "keep the model elsewhere in the image; or give the artefact that it needs: --artifact DIR"
        return broken(self.hidden, asked, f"{better} failed, and does not without the mount{why}", hint)

    def _writes(self, session: Session, failed: set[str]) -> Outcome:
        """Whether what failed works where everything may be written to; then the failure was the writing."""
        temporary = " ".join(self.container.temporary)
        asked = f"everything above with a read-only root and {temporary}"
        if not failed:
            return passed(self.read_only, asked, "nothing failed")
        if self.listens in failed:
            return unasked(self.read_only, asked, _UNREACHED)
        writable = replace(self.container, read_only=False)
        better = self._better(session, "the server, with a root that can be written to", writable, failed)
        if not better.rules:
            return unasked(self.read_only, asked, "the same fails with a root that can be written to")
        where = ", ".join(better.written[:5]) or "somewhere"
        return broken(
            self.read_only,
            asked,
            f"{better} failed, and does not where the root can be written to; there it wrote {where}",
            f"write to {temporary} only; HOME=/tmp and PYTHONDONTWRITEBYTECODE=1 help",
        )


_UNREACHED = "it listens where the platform does not reach it"


@dataclass(frozen=True)
class _Better:
    """The rules that another way of running it keeps, and what it wrote then."""

    rules: tuple[str, ...]
    written: tuple[str, ...]

    def __str__(self) -> str:
        return ", ".join(self.rules)


def _words(container: Container) -> str:
    return " ".join(["IMAGE", *container.arguments])
