"""What a benchmark is: contenders that take turns, and what must be reached."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.measure import Command, Counter, Sample, measured, median, ready_memory

Medians = Mapping[str, Sample]


@dataclass(frozen=True)
class Contender:
    """``prepare`` is called before each run, which it gets the number of, and is not measured; ``after`` cleans up.

    One that is ``costly`` may be run fewer times than the others.
    """

    name: str
    prepare: Callable[[int], Command]
    after: Callable[[], None] = lambda: None
    costly: bool = False


@dataclass(frozen=True)
class Target:
    """What the medians must reach: ``figure`` of them is at most ``limit``, or at least it."""

    text: str
    figure: Callable[[Medians], float]
    limit: float
    least: bool = False
    unit: str = "x"

    def reached(self, medians: Medians) -> tuple[float, bool]:
        """The figure and whether it is good enough; not a number, and missed, where a contender is absent."""
        try:
            figure = self.figure(medians)
        except KeyError:
            return math.nan, False
        return figure, figure >= self.limit if self.least else figure <= self.limit


@dataclass(frozen=True)
class Work:
    """One table. ``against`` is the contender whose time is 1; ``memory`` in bytes is what is ready before each run."""

    title: str
    contenders: Sequence[Contender]
    targets: Sequence[Target]
    against: str = "reference"
    memory: int = 3 << 30


@dataclass(frozen=True)
class Runs:
    """How many runs the contenders get."""

    ordinary: int
    costly: int


def run(work: Work, runs: Runs, counters: Sequence[Counter], tell: Callable[[str], None]) -> dict[str, list[Sample]]:
    """Measures every contender in turn: A B C A B C, so that a busy machine is busy for all of them."""
    samples: dict[str, list[Sample]] = {contender.name: [] for contender in work.contenders}
    for number in range(runs.ordinary):
        for contender in work.contenders:
            if contender.costly and number >= runs.costly:
                continue
            command = contender.prepare(number)
            ready_memory(work.memory)
            sample = measured(command, counters)
            contender.after()
            samples[contender.name].append(sample)
            tell(f"  run {number + 1}/{runs.ordinary}  {contender.name:<22} {sample.wall:7.2f} s")
    return samples


def medians(samples: Mapping[str, Sequence[Sample]]) -> dict[str, Sample]:
    """The median of each contender."""
    return {name: median(taken) for name, taken in samples.items()}


def slower(one: str, other: str) -> Callable[[Medians], float]:
    """How many times the time of ``other`` is what ``one`` takes."""
    return lambda found: found[one].wall / found[other].wall
