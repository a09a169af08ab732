"""Words of a Containerfile as its engines read them: quotes, escapes and variables (BuildKit, frontend/dockerfile/shell)."""

from __future__ import annotations

import re
from collections.abc import Mapping

_SPACE = " \t\v\f\r"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Unreadable(ValueError):
    """A word that cannot be read: what is wrong with it."""


def raw_words(text: str, escape: str) -> list[tuple[int, int]] | None:
    """Where the words of a text begin and end, quotes and escapes left in; None where a quote or brace stays open."""
    words, start, position = [], -1, 0
    while position < len(text):
        if text[position] in _SPACE:
            if start >= 0:
                words.append((start, position))
            start, position = -1, position + 1
            continue
        start = position if start < 0 else start
        end = _piece(text, position, escape)
        if end is None:
            return None
        position = end
    return [*words, (start, len(text))] if start >= 0 else words


def _piece(text: str, position: int, escape: str) -> int | None:
    """Where the character, the quoted part or the braces at a position end."""
    character = text[position]
    if character == escape:
        return min(position + 2, len(text))
    if character == "'":
        end = text.find("'", position + 1)
        return end + 1 if end >= 0 else None
    if character == '"' or text.startswith("${", position):
        closing = '"' if character == '"' else "}"
        position += 1 if character == '"' else 2
        while position < len(text) and text[position] != closing:
            nested = text.startswith("${", position) or (closing == "}" and text[position] in "'\"")
            inner = _piece(text, position, escape) if nested or text[position] == escape else position + 1
            if inner is None:
                return None
            position = inner
        return position + 1 if position < len(text) else None
    return position + 1


def unquoted(word: str, escape: str) -> str:
    """A word without its quotes and escapes, in which no variable is replaced."""
    pattern = rf"'([^']*)'|\"((?:{re.escape(escape)}.|[^\"])*)\"|{re.escape(escape)}(.)|([^'\"])"
    found = ""
    for single, double, escaped, bare in re.findall(pattern, word, re.DOTALL):
        found += single + re.sub(rf"{re.escape(escape)}([\"$`\\])", r"\1", double) + escaped + bare
    return found


def expanded(word: str, variables: Mapping[str, str], escape: str) -> str:
    """A word as its engine would take it: quotes gone, ``$NAME``, ``${NAME}`` and ``${NAME:-…}`` replaced.

    Raises Unreadable for an open quote and for a form that not every engine knows. A variable without a value is empty.
    """
    return _Expansion(word, variables, escape).until("")


class _Expansion:
    def __init__(self, word: str, variables: Mapping[str, str], escape: str) -> None:
        self._word, self._variables, self._escape = word, variables, escape
        self._position = 0

    def until(self, closing: str) -> str:
        found = ""
        while self._position < len(self._word):
            character = self._word[self._position]
            self._position += 1
            if character == closing:
                return found
            found += self._one(character, closing)
        if closing:
            raise Unreadable(f"{closing} is missing")
        return found

    def _one(self, character: str, closing: str) -> str:
        if character == "$":
            return self._variable()
        if character == self._escape:
            return self._escaped(quoted=closing == '"')
        if character == "'" and closing != '"':
            end = self._word.find("'", self._position)
            if end < 0:
                raise Unreadable("' is missing")
            kept, self._position = self._word[self._position : end], end + 1
            return kept
        return self.until('"') if character == '"' else character

    def _escaped(self, *, quoted: bool) -> str:
        following = self._word[self._position : self._position + 1]
        self._position += 1
        return following if not quoted or following in ('"', "$", self._escape) else self._escape + following

    def _variable(self) -> str:
        braces = self._word.startswith("{", self._position)
        name = _NAME.match(self._word, self._position + braces)
        if name is None:
            if braces:
                raise Unreadable("${ is not followed by a name")
            return "$"
        self._position = name.end()
        value = self._variables.get(name[0])
        return self._modified(name[0], value) if braces else value or ""

    def _modified(self, name: str, value: str | None) -> str:
        form = re.match(r":?[-+]|\}", self._word[self._position :])
        if form is None:
            raise Unreadable(f"${{{name}… is a form that not every engine knows")
        self._position += len(form[0])
        if form[0] == "}":
            return value or ""
        word = self.until("}")
        there = value is not None and (value != "" or ":" not in form[0])
        return (value or "" if there else word) if "-" in form[0] else (word if there else "")
