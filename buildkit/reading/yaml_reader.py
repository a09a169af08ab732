"""YAML as plain values with their places. It is read event by event and not by a loader: a loader makes more of a file
than a recipe needs (references, merge keys, tags, dates), forgets where things stood, and can be kept busy for minutes by a
few kilobytes.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from buildkit.reading.plain import described, hidden, shown
from buildkit.reading.yaml_scalars import meant, sort_of

DEEPEST = 20
"""Mappings and lists inside each other."""

Steps = tuple[str | int, ...]


@dataclass(frozen=True)
class Place:
    """Where a value stands and, where it is a single word or text, how it was written; ``plain`` means without quotes."""

    line: int
    text: str | None = None
    plain: bool = False


@dataclass(frozen=True)
class Flaw:
    """Something in a line that does not hinder reading, and the steps of the value that has it.

    ``enough``: whatever else is said of that value would only follow from it.
    """

    steps: Steps
    line: int
    what: str
    hint: str
    enough: bool = True


class Unreadable(Exception):
    """Reading ends here: what is wrong in which line."""

    def __init__(self, line: int, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.line, self.what, self.hint = line, what, hint


_BREAKS = re.compile(r"[^\t\n\x20-\x7e\xa0-\u2027\u202a-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
"""What YAML does not take (YAML 1.2.2, 5.1) or what it would take for a line break and an editor would not."""
_DIRECTION = re.compile(r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""What turns the direction of a line, so that it reads differently from what it says; refused in comments too."""


class Reader:
    """Reads one document; ``places`` and ``flaws`` are filled while it does."""

    def __init__(self, text: str) -> None:
        self._steering = {
            found.start(): found[0] for found in re.finditer(f"{_BREAKS.pattern}|{_DIRECTION.pattern}", text)
        }
        self._positions = sorted(self._steering)
        self._told: set[int] = set()
        self._text = _BREAKS.sub("\ufffd", text)
        self.places: dict[Steps, Place] = {}
        self.flaws: list[Flaw] = []

    def document(self) -> Any:
        """The one document of the file, as plain values; None where the file is empty."""
        try:
            return self._document()
        finally:
            self._tell_comments()

    def _document(self) -> Any:
        events = _events(self._text)
        content = None
        for event in events:
            if isinstance(event, DocumentStartEvent):
                if self.places:
                    raise Unreadable(_line(event), "begins a second document", "remove '---' and what follows")
                if event.version or event.tags:
                    raise Unreadable(
                        _line(event), "has a YAML directive above this line", "remove the line that begins with %"
                    )
                content = self._value(next(events), events, ())
        return content

    def _value(self, event: Any, events: Iterator[Any], steps: Steps) -> Any:
        self._check(event, steps)
        self.places[steps] = Place(_line(event))
        if isinstance(event, MappingStartEvent):
            return self._mapping(events, steps)
        if isinstance(event, SequenceStartEvent):
            return self._sequence(events, steps)
        if isinstance(event, AliasEvent):
            return None
        unquoted = not event.style
        self.places[steps] = Place(_line(event), event.value, unquoted)
        self._tell_hidden(event, steps)
        return meant(event.value) if unquoted else event.value

    def _mapping(self, events: Iterator[Any], steps: Steps) -> dict[str, Any]:
        content: dict[str, Any] = {}
        while not isinstance(event := next(events), MappingEndEvent):
            if not isinstance(event, ScalarEvent):
                self._check(event, steps)
                raise Unreadable(_line(event), "has a list or mapping where a key should be", "quote it, if it is text")
            key = event.value
            self._check(event, (*steps, key))
            if key in content:
                first = self.places[(*steps, key)].line
                self.flaws.append(
                    Flaw(
                        (*steps, key),
                        _line(event),
                        f"is there twice, first in line {first}",
                        "remove one of them",
                        enough=False,
                    )
                )
                places, self.places = self.places, {}
                self._value(next(events), events, (*steps, key))
                self.places = places
                continue
            if not event.style and not isinstance(meant(key), str):
                self._tell(
                    event, (*steps, key), f"is {sort_of(meant(key))} where a key should be", f'quote it: "{key}"'
                )
            self._tell_hidden(event, (*steps, key))
            line = _line(event)
            content[key] = self._value(next(events), events, (*steps, key))
            place = self.places[(*steps, key)]
            self.places[(*steps, key)] = Place(line, place.text, place.plain)
        return content

    def _sequence(self, events: Iterator[Any], steps: Steps) -> list[Any]:
        content: list[Any] = []
        while not isinstance(event := next(events), SequenceEndEvent):
            content.append(self._value(event, events, (*steps, len(content))))
        return content

    def _check(self, event: Any, steps: Steps) -> None:
        """Tells what makes more of a file than it says. References are not followed, so none can grow."""
        if len(steps) > DEEPEST:
            raise Unreadable(_line(event), f"is more than {DEEPEST} levels deep")
        if isinstance(event, AliasEvent):
            self._tell(
                event, steps, f"is the YAML reference {shown(f'*{event.anchor}')}", "write the value out, or quote it"
            )
        elif event.anchor is not None:
            self._tell(
                event, steps, f"has the YAML anchor {shown(f'&{event.anchor}')}", "remove it, or quote the value"
            )
        elif event.tag is not None:
            self._tell(
                event,
                steps,
                f"has the YAML tag {shown(str(event.tag).replace('tag:yaml.org,2002:', '!!'))}",
                "remove it, or quote the value",
            )

    def _tell(self, event: Any, steps: Steps, what: str, hint: str) -> None:
        self.flaws.append(Flaw(steps, _line(event), what, hint))

    def _tell_hidden(self, event: Any, steps: Steps) -> None:
        """Control characters of a word or text: written as they are, or with a backslash."""
        start, end = event.start_mark.index, event.end_mark.index
        inside = self._positions[bisect_left(self._positions, start) : bisect_left(self._positions, end)]
        self._told.update(inside)
        found = self._steering[inside[0]] if inside else hidden(event.value, allowed="\n\t")
        if found:
            self._tell(event, steps, f"has {described(found)}", "remove it")

    def _tell_comments(self) -> None:
        """Steering characters that stand in no value: in a comment, or between keys."""
        line, counted = 1, 0
        for position in self._positions:
            if position not in self._told:
                line, counted = line + self._text.count("\n", counted, position), position
                self.flaws.append(Flaw((), line, f"has {described(self._steering[position])}", "remove it"))


def _events(text: str) -> Iterator[Any]:
    line = 1
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            line = event.end_mark.line + 1
            yield event
    except MarkedYAMLError as error:
        problem = str(error.problem or error.context or "not YAML")
        what, hint = _explained(problem)
        begun = any(part in problem for part in _BEGUN)
        mark = (error.context_mark if begun else None) or error.problem_mark or error.context_mark
        raise Unreadable(mark.line + 1 if mark else 1, what, hint) from None
    except (YAMLError, ValueError, ArithmeticError, LookupError, AttributeError, TypeError, AssertionError) as error:
        raise Unreadable(line, f"is not YAML: {shown(str(error))}") from None


_EXPLAINED = (
    (
        "cannot start any token",
        "has a character that YAML does not take here",
        "indent with spaces, and quote the value",
    ),
    (
        "mapping values are not allowed",
        "has a ':' that is not expected here",
        "quote the value, or mend the indentation",
    ),
    ("could not find expected ':'", "has a key without ':'", "write KEY: VALUE"),
    ("expected <block end>", "does not fit what is above it", "mend the indentation, or quote the value"),
    ("found unexpected end of stream", "has a quote that is never closed", "close it"),
    (
        "expected ',' or",
        "has a list or mapping in brackets that is not closed",
        "close it, and put ',' between its parts",
    ),
    (
        "unknown escape character",
        "has a backslash that means nothing",
        "use single quotes, or write the backslash twice",
    ),
    ("expected the node content", "ends where a value should be", ""),
)
_BEGUN = ("could not find expected ':'", "found unexpected end of stream", "expected ',' or")
"""What is told at the line where it began, and not where the reader lost hope."""


def _explained(problem: str) -> tuple[str, str]:
    for part, what, hint in _EXPLAINED:
        if part in problem:
            return what, hint
    return f"is not YAML: {problem}", ""


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1
