"""What a person sees: errors, progress, results. Lines, and what they look like."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from buildkit.amounts import human
from buildkit.cli.terminal import coloured, redraws
from buildkit.done import Done
from buildkit.errors import ModelpackError, Problem
from buildkit.events import Began, Emit, Ended, Event, Forecast, Moved, Said, Summary, Warned


class _Speech:
    """How this process speaks: one person or pipeline listens to all of it."""

    json = False


_speech = _Speech()
WORTH_A_LINE = 10_000_000
"""Bytes of a file from which on a log says that it was read: a model may have twenty thousand small ones."""
_EVERY_SECONDS = 10.0
"""How often a plain line tells how far a long transfer is."""


def speak_json(wanted: bool) -> bool:
    """Says, as soon as a command's options are read, whether its errors are lines of JSON."""
    _speech.json = wanted
    return wanted


def show_error(error: ModelpackError) -> None:
    """``error:``, the problems indented, a blank line, ``hint:``. The same with and without colour.

    Where there are several problems each has its own hint behind it, so that nobody has to guess which is whose. Under
    ``--json`` the error is one more line of JSON.
    """
    if _speech.json:
        problems = [asdict(problem) for problem in error.problems]
        print(
            json.dumps({"event": "error", "what": error.what, "problems": problems, "hint": error.hint}),
            file=sys.stderr,
        )
        return
    red, plain = ("\033[1;31m", "\033[0m") if coloured() else ("", "")
    lines = [error.what]
    hints = [error.hint] if error.hint else []
    several = len(error.problems) > 1
    for problem in error.problems:
        own = f" ({problem.hint})" if several and problem.hint else ""
        lines += [f"  {line}" for line in f"{problem}{own}".splitlines()]
        if not several and problem.hint and problem.hint not in hints:
            hints.insert(0, problem.hint)
    if hints:
        lines.append("")
        lines += [f"hint: {hint}" for hint in hints]
    print(f"{red}error:{plain} " + "\n".join(printable(line) for line in lines), file=sys.stderr)


def show_interruption(done: Done) -> None:
    """What an interrupted command says of itself, with every tag and lock that it touched. Under ``--json`` as an error."""
    if _speech.json:
        show_error(ModelpackError(done.summary, [Problem(name, became) for name, became in done.noted.items()]))
        return
    lines = (f"  {name} {became}" for name, became in done.noted.items())
    print("\n".join(printable(line) for line in (done.summary, *lines)), file=sys.stderr)


def printable(text: str) -> str:
    """Text that came from outside, without what would steer a terminal."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


@contextmanager
def progress(as_json: bool, quiet: bool) -> Iterator[Emit]:
    """The callable that events go to: bars on a terminal, plain lines elsewhere, JSON lines with ``--json``."""
    if quiet:
        yield lambda event: None
    elif as_json:
        yield _JsonLines().emit
    elif redraws(sys.stderr):
        from buildkit.cli.bars import bars

        with bars() as emit:
            yield emit
    else:
        yield PlainLines(lambda line: print(line, file=sys.stderr, flush=True)).emit


class _JsonLines:
    def __init__(self) -> None:
        self._lock = threading.Lock()

    def emit(self, event: Event) -> None:
        line = json.dumps({"event": type(event).__name__.lower(), **asdict(event)}, ensure_ascii=False)
        with self._lock:
            print(line, file=sys.stderr, flush=True)


@dataclass
class _Work:
    label: str
    total: int | None
    began: float
    told: float
    done: int = 0


class PlainLines:
    """Progress as lines for a log: what ended, and how far what takes long has come."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._write = write
        self._clock = clock
        self._works: dict[str, _Work] = {}
        self._lock = threading.Lock()

    def emit(self, event: Event) -> None:
        """Takes one event."""
        with self._lock:
            match event:
                case Began(key, label, total):
                    self._works[key] = _Work(label, total, self._clock(), self._clock())
                case Moved(key, amount):
                    self._moved(key, amount)
                case Ended(key, outcome):
                    self._ended(key, outcome)
                case Said(text) | Forecast(text=text) | Summary(text=text):
                    self._write(printable(text))
                case Warned(text, hint):
                    self._write(printable(f"warning: {text}" + (f" ({hint})" if hint else "")))

    def _moved(self, key: str, amount: int) -> None:
        work = self._works.get(key)
        if work is None:
            return
        work.done += amount
        now = self._clock()
        if now - work.told >= _EVERY_SECONDS:
            work.told = now
            of = f" of {human(work.total)}" if work.total else ""
            self._write(
                f"  {printable(work.label)}: {human(work.done)}{of}, {human(work.done / max(now - work.began, 0.001))}/s"
            )

    def _ended(self, key: str, outcome: str) -> None:
        work = self._works.pop(key, None)
        if work is None or (outcome == "read" and work.done < WORTH_A_LINE):
            return
        seconds = self._clock() - work.began
        rate = f", {human(work.done / seconds)}/s" if work.done and seconds > 1 else ""
        size = human(work.total if work.total is not None else work.done)
        self._write(f"  {printable(work.label)}: {outcome} ({size}{rate})")
