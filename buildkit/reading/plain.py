"""What a text from a person or a hub may hold: no control characters, no path that leaves its folder."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from buildkit.errors import Problem

_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode categories: control, format (invisible, and what turns the direction of text), surrogates, separators."""


class Refusal(ValueError):
    """A value that a validator does not take: what is wrong with it, and what to do about it."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.hint = hint


class Refusals(ValueError):
    """Everything that is wrong with what a value names, such as the files of a folder: each problem says where it is."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, self.problems)))


def hidden(text: str, allowed: str = "") -> str | None:
    """The first character that cannot be seen or that steers a terminal or a parser; None where there is none."""
    for character in text:
        if character.isprintable() or character in allowed:
            continue
        if unicodedata.category(character) in _HIDDEN or ord(character) & 0xFFFE == 0xFFFE:
            return character
    return None


def described(character: str) -> str:
    """A hidden character in words: ``the control character U+0007``."""
    sort = "control" if unicodedata.category(character) == "Cc" else "invisible"
    named = {"\n": " (a line break)", "\r": " (a line break)", "\t": " (a tab)"}.get(character, "")
    return f"the {sort} character U+{ord(character):04X}{named}"


def plain(text: str) -> str:
    """Refuses a text with control characters, line breaks, and what is invisible in a terminal or a Containerfile."""
    found = hidden(text)
    if found:
        raise Refusal(f"has {described(found)}", hint="remove it")
    return text


def relative_path(path: str) -> str:
    """Refuses a path that is absolute, escapes its folder, or reads differently on another system."""
    plain(path)
    parts = path.split("/")
    if re.match(r"[A-Za-z]:", path):
        raise Refusal("must not begin with a letter and a colon, which mean a drive elsewhere")
    if path.startswith("/"):
        raise Refusal("must not begin with '/': it is relative to a folder")
    if "\\" in path:
        raise Refusal("must not have a backslash, which separates folders elsewhere: write forward slashes")
    if path.startswith("~"):
        raise Refusal("must not begin with '~', which means a home directory elsewhere")
    if ".." in parts:
        raise Refusal("must not leave its folder with '..'")
    if any(part in ("", ".") for part in parts):
        raise Refusal("must not have empty or '.' parts")
    return path


def shown(text: str, longest: int = 60) -> str:
    """A text in quotes for a message: cut where it is long, and escaped so that it cannot steer a terminal."""
    return repr(text if len(text) <= longest else f"{text[:longest]}...")
