"""A terminal of 80 columns with a command in it, and somebody who answers what is asked."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyte

COLUMNS, LINES = 80, 50
_HUNG_SECONDS = 120.0
_NOT_HERE = frozenset({"CI", "NO_COLOR", "COLUMNS", "LINES", "FORCE_COLOR", "PYTEST_CURRENT_TEST"})


@dataclass(frozen=True)
class Shown:
    """What a command wrote to its terminal, and how it ended."""

    raw: str
    code: int

    @property
    def lines(self) -> list[str]:
        """What is on the screen, and what has left it at the top, at the end."""
        return screen_of(self.raw)


def screen_of(raw: str) -> list[str]:
    """The lines that stand on a terminal after these characters, without empty ones at the end."""
    screen = Screen()
    screen.feed(raw)
    return screen.lines()


class Screen:
    """A terminal's screen with what has left it at the top."""

    def __init__(self) -> None:
        self._screen = pyte.HistoryScreen(COLUMNS, LINES, history=10_000)
        self._stream = pyte.Stream(self._screen)

    def feed(self, raw: str) -> None:
        """Takes characters."""
        self._stream.feed(raw)

    def lines(self) -> list[str]:
        """The lines, without empty ones at the end."""
        above = ["".join(line[column].data for column in range(COLUMNS)) for line in self._screen.history.top]
        return "\n".join(line.rstrip() for line in (*above, *self._screen.display)).rstrip().split("\n")


def at_terminal(
    *arguments: str,
    cwd: Path | None = None,
    answers: Iterable[tuple[str, str]] = (),
    environment: Mapping[str, str] | None = None,
) -> Shown:
    """Runs modelpack at a terminal, and types each answer when its question stands there."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    kept = {key: value for key, value in os.environ.items() if key not in _NOT_HERE}
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "buildkit", *arguments],
            cwd=cwd,
            env={**kept, "TERM": "xterm-256color", **(environment or {})},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            # The terminal is the command's own, as a shell's is: a password is read from it alone.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - nothing else runs in it
        )
        os.close(slave)
        hung = threading.Timer(_HUNG_SECONDS, process.kill)
        hung.start()
        raw = _read(master, list(answers))
        code = process.wait()
        hung.cancel()
    finally:
        os.close(master)
    return Shown(raw, code)


def _read(master: int, answers: list[tuple[str, str]]) -> str:
    """Everything that is written until the command has ended."""
    raw = b""
    seen = 0
    with contextlib.suppress(OSError):  # EIO: nobody has the other end any more
        while piece := os.read(master, 1 << 16):
            raw += piece
            while answers and answers[0][0].encode() in raw[seen:]:
                question, answer = answers.pop(0)
                seen = raw.index(question.encode(), seen) + len(question)
                os.write(master, f"{answer}\n".encode())
    assert not answers, f"it never asked {answers[0][0]!r}: {raw!r}"
    return raw.decode()
