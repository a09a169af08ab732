"""One command as a whole process, and what it cost: time, memory, bytes written and moved, requests."""

from __future__ import annotations

import json
import mmap
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Protocol

_TAIL = 3000
_TICKS = os.sysconf("SC_CLK_TCK")
CHILD = Path(__file__).with_name("child.py")


class BenchmarkError(Exception):
    """A measured command failed; the message closes with what it said."""


@dataclass(frozen=True)
class Sample:
    """What one run cost: seconds, bytes, and requests; the registry's and the hub's figures as they counted them."""

    wall: float = 0.0
    cpu: float = 0.0
    peak: float = 0.0
    written: float = 0.0
    sent: float = 0.0
    received: float = 0.0
    requests: float = 0.0

    def __sub__(self, other: Sample) -> Sample:
        return Sample(*(getattr(self, one.name) - getattr(other, one.name) for one in fields(Sample)))

    def __add__(self, other: Sample) -> Sample:
        return Sample(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(Sample)))


@dataclass(frozen=True)
class Command:
    """A process to measure. ``daemons`` are processes that work for it: their CPU and what they write is added."""

    arguments: Sequence[str]
    folder: Path
    environment: Mapping[str, str]
    daemons: tuple[int, ...] = ()


class Counter(Protocol):
    """A server that counts: ``sent``, ``received`` (from the client's side) and ``requests`` so far."""

    def counted(self) -> Sample: ...


def median(samples: Sequence[Sample]) -> Sample:
    """The median of every figure by itself."""
    return Sample(*(statistics.median(getattr(sample, one.name) for sample in samples) for one in fields(Sample)))


def measured(command: Command, counters: Sequence[Counter]) -> Sample:
    """Runs a command to its end; raises BenchmarkError where it fails."""
    before = _counted(command, counters)
    cost = _run(command)
    moved = _counted(command, counters) - before
    return replace(cost + moved, peak=cost.peak)


def ready_memory(amount: int) -> None:
    """Takes so many bytes of memory and gives them back, or half of what is free.

    A virtual machine gets its memory from its host page by page, which takes longer than filling it, and may give back what
    lies free: without this, whoever finds pages that another run left is quicker by half.
    """
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
    mmap.mmap(-1, min(amount, free // 2), flags=flags).close()


def _counted(command: Command, counters: Sequence[Counter]) -> Sample:
    total = sum((counter.counted() for counter in counters), Sample())
    return sum((used(process) for daemon in command.daemons for process in _family(daemon)), total)


def _run(command: Command) -> Sample:
    with tempfile.NamedTemporaryFile(suffix=".json") as result:
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(CHILD), result.name, *command.arguments],
            cwd=command.folder,
            env=dict(command.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode:
            raise BenchmarkError(f"{' '.join(command.arguments)} ended with {done.returncode}:\n{done.stdout[-_TAIL:]}")
        return Sample(**json.loads(Path(result.name).read_text(encoding="utf-8")))


def used(process: int) -> Sample:
    """CPU time and bytes written so far by a process and its children that have ended."""
    stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return Sample(cpu=sum(map(int, stat[11:15])) / _TICKS, written=counter_of(process, "write_bytes"))


def counter_of(process: int, name: str) -> int:
    """A line of ``/proc/PID/io`` (proc(5)), in bytes."""
    lines = Path(f"/proc/{process}/io").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _family(process: int) -> list[int]:
    """A process and those below it that live."""
    below = []
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        below += [int(child) for child in task.read_text(encoding="utf-8").split()]
    return [process, *(one for child in below for one in _family(child))]
