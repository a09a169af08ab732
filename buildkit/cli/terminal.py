"""What listens to this process: a person at a terminal that colours and redraws, or a log.

``NO_COLOR`` (no-color.org) takes the colours; ``TERM=dumb`` and ``CI`` take everything that steers a terminal, and questions.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console


def in_ci() -> bool:
    """Whether a pipeline runs this: nobody sits there, even where it gives its jobs a terminal."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false")


def redraws(stream: TextIO) -> bool:
    """Whether a stream is a terminal on which lines may be drawn over."""
    return stream.isatty() and not in_ci() and os.environ.get("TERM") != "dumb"


def coloured(stream: TextIO | None = None) -> bool:
    """Whether a stream, else stderr, is a terminal that wants colour."""
    return redraws(stream or sys.stderr) and not os.environ.get("NO_COLOR")


def may_ask() -> bool:
    """Whether somebody sits there who can be asked: at a terminal that is read from and shown on, and no pipeline."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty() and not in_ci()


def print_path(path: Path) -> None:
    """Prints a path as a result, byte for byte as the file system has it, so that whoever reads it finds the file."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        sys.stdout.flush()
        sys.stdout.buffer.write(os.fsencode(f"{path}\n"))
    else:
        print(path)


_NARROWEST = 20
"""Columns. Below that no table can be read, and nobody has such a terminal: it is how COLUMNS says that nobody knows."""
_USUAL = 80


def console(stream: TextIO | None = None) -> Console:
    """Where tables and bars are printed, stdout by default: without a single escape sequence where none is wanted."""
    from rich.console import Console

    wanted = coloured(stream or sys.stdout)
    made = Console(file=stream, highlight=False, color_system="auto" if wanted else None)
    if made.width < _NARROWEST:
        made.width = _USUAL
    return made
