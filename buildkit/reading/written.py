"""A file that a person wrote in YAML: its content as plain values, and the line of every key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from buildkit.errors import InvalidInput, Problem
from buildkit.reading.plain import shown
from buildkit.reading.yaml_reader import Flaw, Place, Reader, Steps, Unreadable

LARGEST = 512 * 1024
"""Bytes of a file that is read at all."""


@dataclass(frozen=True)
class Written:
    """A file's content, the place of every value in it by its steps from the top, and its flaws."""

    path: Path
    content: dict[str, Any]
    places: Mapping[Steps, Place]
    flaws: tuple[Flaw, ...] = ()

    def where(self, steps: Steps) -> str:
        """``FILE:LINE: key.path`` of a value; of a missing one the line of what should hold it."""
        known = next(steps[:length] for length in range(len(steps), -1, -1) if steps[:length] in self.places)
        line = f"{self.path}:{self.places[known].line}"
        return f"{line}: {dotted(steps)}" if steps else line

    def problem(self, flaw: Flaw) -> Problem:
        """A flaw as a problem, at its own line."""
        path = f": {dotted(flaw.steps)}" if flaw.steps else ""
        return Problem(f"{self.path}:{flaw.line}{path}", flaw.what, flaw.hint)


def dotted(steps: Steps) -> str:
    """A key path as a person would write it: ``model.include[2]``, ``labels."org.example"``."""
    text = ""
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            word = step if re.fullmatch(r"[\w-]+", step) else shown(step)
            text += f".{word}" if text else word
    return text


def read(path: Path, empty_hint: str = "") -> Written:
    """Reads a file whose top is a mapping; raises InvalidInput where it cannot be read as one.

    What does not hinder reading (a key that is there twice, a control character) is gathered in ``flaws``.
    """
    return _written(path, _text(path), empty_hint)


def read_each(path: Path, empty_hint: str = "") -> list[Written]:
    """The same for a file that may hold several documents, with ``---`` before each; those that say nothing are left out."""
    parts, line = [], 0
    for part in _BEGINNING.split(_text(path)):
        # As many empty lines stand above it as it has in the file.
        parts.append("\n" * line + part)
        line += part.count("\n")
    filled = [part for part in parts if _NOTHING.sub("", part).strip()]
    return [_written(path, part, empty_hint) for part in filled or parts[:1]]


_BEGINNING = re.compile(r"(?m)^(?=---(?:\s|$))")
_NOTHING = re.compile(r"(?m)^(?:---)?\s*(?:#.*)?$|^\.\.\.\s*$")
"""Lines without content: comments, and the marks between documents (YAML 1.2.2, 9.1.2)."""


def _written(path: Path, text: str, empty_hint: str) -> Written:
    reader = Reader(text)
    content, worst = None, None
    try:
        content = reader.document()
    except Unreadable as error:
        worst = Problem(f"{path}:{error.line}", error.what, error.hint)
    written = Written(path, content if isinstance(content, dict) else {}, reader.places, tuple(reader.flaws))
    if worst is None and content is not None and not isinstance(content, dict):
        worst = Problem(f"{path}:1", "must hold keys and values", "write KEY: VALUE lines")
    elif worst is None and content is None and not reader.flaws:
        worst = Problem(str(path), "is empty", empty_hint)
    if not isinstance(content, dict):
        raise _invalid(path, [*map(written.problem, written.flaws), *([worst] if worst else [])])
    return written


def _invalid(path: Path, problems: list[Problem]) -> InvalidInput:
    return InvalidInput(f"{path} cannot be used", problems)


def _text(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise _invalid(path, [Problem(str(path), "is not a file")])
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
    except OSError as error:
        raise _invalid(path, [Problem(str(path), f"cannot be read: {error.strerror or error}")]) from None
    except ValueError:
        raise _invalid(path, [Problem(shown(str(path)), "is not a path")]) from None
    if len(raw) > LARGEST:
        raise _invalid(path, [Problem(str(path), "is larger than 512 KiB, which nobody writes by hand")])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise _invalid(path, [Problem(f"{path}:{line}", "is not UTF-8", "save the file as UTF-8")]) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")
