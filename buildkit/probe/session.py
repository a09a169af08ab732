"""What the probes of one run share: an engine, an image in it, patience, and containers that are removed in any case."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

from buildkit.events import Emit, Said, silent
from buildkit.probe.containers import Container, Done, Engine, Served, Signal, State
from buildkit.probe.verdicts import Outcome

PREFIX = "modelpack-verify-"
"""How the name of every container begins that a probe starts."""

_POLL_SECONDS = 0.2
_FAST_START, _FAST_STOP = 60.0, 10.0
_SETTLING_SECONDS = 30.0


@dataclass(frozen=True)
class Patience:
    """How long is waited. ``fast`` shortens the waits for what may never come, and asks the same of the image."""

    fast: bool = False
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def start(self, seconds: float) -> float:
        """How long a container is waited for that does not become ready."""
        return min(seconds, _FAST_START) if self.fast else seconds

    def settling(self) -> float:
        """How long a server that says it is ready may go on failing before its failure counts as its answer."""
        return self.stop(_SETTLING_SECONDS)

    def stop(self, seconds: float) -> float:
        """How long a container is waited for that does not end."""
        return min(seconds, _FAST_STOP) if self.fast else seconds

    def until(self, true: Callable[[], bool], seconds: float) -> bool:
        """Waits for something to become true; whether it did in time."""
        end = self.clock() + seconds
        while not true():
            if self.clock() >= end:
                return False
            self.sleep(_POLL_SECONDS)
        return True


class Running(Protocol):
    """A container that runs, as a probe sees it."""

    def published(self, port: int) -> int | None:
        """The port of this machine that leads to one of the container."""

    def state(self) -> State:
        """How it stands with it now."""

    def inside(self, *words: str, seconds: float = 10) -> Done:
        """Runs a program inside."""

    def signal(self, signal: Signal) -> None:
        """Sends its first process a signal."""

    def changes(self) -> tuple[str, ...]:
        """What it wrote, beside mounts and temporary folders."""


@dataclass
class Kept:
    """A container that a session started."""

    engine: Engine
    name: str
    ports: Mapping[int, int] = field(default_factory=dict)

    def published(self, port: int) -> int | None:
        """As the engine chose it when the container was started."""
        return self.ports.get(port)

    def state(self) -> State:
        """Asks the engine."""
        return self.engine.look(self.name)

    def inside(self, *words: str, seconds: float = 10) -> Done:
        """Runs a program inside."""
        return self.engine.inside(self.name, words, seconds)

    def signal(self, signal: Signal) -> None:
        """Sends its first process a signal."""
        self.engine.signal(self.name, signal)

    def changes(self) -> tuple[str, ...]:
        """What it wrote."""
        return self.engine.changes(self.name)


@dataclass
class Session:
    """One run of the probes over one image. ``logs`` collects what containers printed, by what they were run for.

    ``passed`` are variables of our own environment that every container gets.
    """

    engine: Engine
    image: str
    served: Served | None = None
    patience: Patience = field(default_factory=Patience)
    emit: Emit = silent
    passed: tuple[str, ...] = ()
    logs: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def running(self, what: str, container: Container) -> Iterator[Kept]:
        """Starts a container for the block, and removes it when the block ends, however it ends; raises NotStarted."""
        name = f"{PREFIX}{secrets.token_hex(6)}"
        self.emit(Said(f"{self.engine.name}: {what}"))
        try:
            self.engine.start(name, replace(container, passed=self.passed))
            yield Kept(self.engine, name, self.engine.look(name).published)
        finally:
            try:
                self.logs[what] = self.engine.logs(name)
            finally:
                self.engine.remove(name)

    def run(self, what: str, container: Container, seconds: float = 60) -> Done:
        """Runs a container to its end and returns what it printed; raises NotStarted. One that does not end has code 124."""
        with self.running(what, container) as kept:
            ended = self.patience.until(lambda: not kept.state().running, seconds)
            state = kept.state()
            said = self.engine.logs(kept.name)
        if not ended:
            return Done(124, said)
        return Done(137 if state.out_of_memory else state.code, said)


class Probe(Protocol):
    """Something that a platform does with an image."""

    def outcomes(self, session: Session) -> list[Outcome]:
        """Does it, and says what came back for each of its rules."""
