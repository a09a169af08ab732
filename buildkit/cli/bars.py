"""Bars on a terminal: one region below the lines, that stays where it is. It begins with the first bar.

A region whose height changes with every file jumps, and is not read. So a bar that is done makes room for the next one, and goes
only when nothing took its place for a while; files too small for a bar share one.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO, cast

from buildkit.amounts import human
from buildkit.cli.render import WORTH_A_LINE, printable
from buildkit.cli.terminal import console
from buildkit.events import Began, Emit, Ended, Event, Forecast, Moved, Said, Summary, Warned

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

WORTH_A_BAR = 1_000_000
"""Bytes from which on a file has a bar of its own: a smaller one is over before it is seen."""
_IDLE_SECONDS = 1.0
"""How long a bar that is done stands, for the next one to take its place."""
_WIDEST_LABEL = 32


@dataclass
class _Work:
    label: str
    total: int | None
    bar: TaskID | None
    done: int = 0


@dataclass
class _Small:
    """The files without a bar of their own."""

    begun: int = 0
    ended: int = 0
    total: int = 0
    bar: TaskID | None = None


@dataclass
class Bars:
    """Takes events and keeps the region. ``clock`` counts seconds."""

    region: Progress
    clock: Callable[[], float] = time.monotonic
    _works: dict[str, _Work] = field(default_factory=dict)
    _free: dict[TaskID, float] = field(default_factory=dict)
    _small: _Small = field(default_factory=_Small)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def emit(self, event: Event) -> None:
        """Takes one event."""
        with self._lock:
            match event:
                case Began(key, label, total):
                    self._began(key, label, total)
                case Moved(key, amount) if key in self._works:
                    self._moved(self._works[key], amount)
                case Ended(key, outcome) if key in self._works:
                    self._ended(self._works.pop(key), outcome)
                case Said(text) | Forecast(text=text) | Summary(text=text):
                    self._say(text)
                case Warned(text, hint):
                    self._say(text + (f" ({hint})" if hint else ""), "[yellow]warning:[/] ")
            self._hide_idle()

    def _began(self, key: str, label: str, total: int | None) -> None:
        if total is not None and total < WORTH_A_BAR:
            self._small.begun += 1
            self._small.total += total
            self._tell_small()
            self._works[key] = _Work(label, total, None)
        else:
            self._works[key] = _Work(label, total, self._open(_short(label), total))

    def _moved(self, work: _Work, amount: int) -> None:
        work.done += amount
        bar = self._small.bar if work.bar is None else work.bar
        if bar is not None:
            self.region.advance(bar, amount)

    def _ended(self, work: _Work, outcome: str) -> None:
        if work.bar is not None:
            self._free[work.bar] = self.clock()
        else:
            # What is mounted, or there already, moves nothing: it is done all the same.
            self._moved(work, (work.total or 0) - work.done)
            self._small.ended += 1
            self._tell_small()
        if outcome != "read" or (work.total or 0) >= WORTH_A_LINE:
            self._say(f"  {work.label}: {outcome} ({human(work.total or 0)})")

    def _open(self, label: str, total: int | None) -> TaskID:
        """A bar: in the place of the first that is done, else below the others."""
        from rich.markup import escape

        if not self.region.live.is_started:
            self.region.start()
        place = min(self._free, default=None)
        if place is not None:
            del self._free[place]
            if total is not None:
                self.region.reset(place, total=total, description=escape(label), visible=True)
                return place
            self.region.remove_task(place)
        return self.region.add_task(escape(label), total=total)

    def _tell_small(self) -> None:
        small = self._small
        if small.bar is None:
            small.bar = self._open("small ones", small.total)
        self.region.update(small.bar, total=small.total, description=f"{small.ended} of {small.begun} small ones")
        if small.ended == small.begun:
            self._free[small.bar] = self.clock()
            self._small = _Small()

    def _hide_idle(self) -> None:
        now = self.clock()
        for bar, since in self._free.items():
            if now - since > _IDLE_SECONDS:
                self.region.update(bar, visible=False)

    def _say(self, text: str, before: str = "") -> None:
        from rich.markup import escape

        self.region.console.print(before + escape(printable(text)))


@contextmanager
def bars(terminal: Console | None = None, clock: Callable[[], float] = time.monotonic) -> Iterator[Emit]:
    """The callable that events go to, while the region stands; it leaves nothing of itself behind.

    What is printed meanwhile, a result or an error, comes to stand above the region, which would else draw over it.
    """
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=True),
    )
    region = Progress(
        *columns,
        console=terminal or console(sys.stderr),
        transient=True,
        expand=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    with _printing_above(region):
        try:
            yield Bars(region, clock).emit
        finally:
            if region.live.is_started:
                region.stop()


@contextmanager
def _printing_above(region: Progress) -> Iterator[None]:
    """What is printed to the region's terminal stands above it: both streams, where both lead there."""
    out, err = sys.stdout, sys.stderr
    streams = _Lines(out, region), _Lines(err, region)
    if _same_terminal(out, err):
        sys.stdout = cast(TextIO, streams[0])
    sys.stderr = cast(TextIO, streams[1])
    try:
        yield
    finally:
        sys.stdout, sys.stderr = out, err
        for stream in streams:
            stream.end()


def _same_terminal(one: TextIO, other: TextIO) -> bool:
    try:
        return one.isatty() and os.fstat(one.fileno()).st_rdev == os.fstat(other.fileno()).st_rdev
    except (OSError, ValueError):
        return False


class _Lines:
    """A stream whose lines are printed above the region where it stands, each when it has ended."""

    def __init__(self, stream: TextIO, region: Progress) -> None:
        self._stream = stream
        self._region = region
        self._open = ""
        self._lock = threading.Lock()

    def write(self, text: str) -> int:
        """Keeps a line until it has ended; without a region there is nothing to keep it from, and a question is seen."""
        from rich.text import Text

        with self._lock:
            lines, newline, self._open = (self._open + text).rpartition("\n")
            if not self._region.live.is_started:
                self._stream.write(lines + newline + self._open)
                self._open = ""
            elif newline:
                self._region.console.print(Text.from_ansi(lines), soft_wrap=True)
        return len(text)

    def end(self) -> None:
        """Writes what has no line end."""
        self._stream.write(self._open)
        self._open = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _short(label: str) -> str:
    """A label that leaves room for its bar at 80 columns: its end is what tells files apart."""
    text = printable(label)
    return text if len(text) <= _WIDEST_LABEL else "…" + text[-_WIDEST_LABEL + 1 :]
