"""Where in a JSON text a value stands: what is wrong with a machine's file is told with its line, too."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


class Twice(ValueError):
    """A key stands twice in one object: what a merge that kept both sides leaves behind."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For ``json.loads(object_pairs_hook=...)``: raises Twice where ``json`` itself would keep the last of two values."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise Twice(next(key for key in keys if keys.count(key) > 1))
    return found


def line_of(text: str, steps: Sequence[str | int]) -> int:
    """The line, from 1, of the value that ``steps`` lead to; of what should hold it where it is not there.

    ``text`` must be valid JSON.
    """
    position = _after_space(text, 0)
    for step in steps:
        found = next((start for name, start in _members(text, position) if name == step), None)
        if found is None:
            break
        position = found
    return text.count("\n", 0, position) + 1


def dotted(steps: Sequence[str | int]) -> str:
    """The steps as a person would write them: ``pins.sources.model.files[2].sha256``."""
    text = ""
    for step in steps:
        plain = isinstance(step, str) and re.fullmatch(r"[\w-]+", step)
        text += f".{step}" if plain and text else str(step) if plain else f"[{json.dumps(step, ensure_ascii=False)}]"
    return text


def _members(text: str, position: int) -> Iterator[tuple[str | int, int]]:
    """The names (or numbers) of what an object or list holds, each with the position of its value."""
    if text[position] not in "{[":
        return
    keyed, number = text[position] == "{", 0
    position = _after_space(text, position + 1)
    while text[position] not in "}]":
        name: str | int = number
        if keyed:
            name, position = _DECODER.raw_decode(text, position)
            position = _after_space(text, _after_space(text, position) + 1)
        yield name, position
        _, position = _DECODER.raw_decode(text, position)
        position = _after_space(text, position)
        if text[position] == ",":
            position = _after_space(text, position + 1)
        number += 1


def _after_space(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position
