"""What of a project's folder is no part of its image: an ignore file's patterns, and what never is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from buildkit.errors import InvalidInput
from buildkit.reading.plain import shown

FILES = (".containerignore", ".dockerignore")
"""The ignore files, the first that is there: podman reads both in this order, docker the second."""

ALWAYS = (
    *(f"**/{name}" for name in (".git", ".hg", ".svn", "__pycache__", ".venv", ".env", ".env.*", ".DS_Store")),
    *(f"**/{name}" for name in (".cache", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".tox", ".nox", "*.pyc")),
    *FILES,
    "modelpack.yaml",
    "Containerfile",
    "Dockerfile",
)
"""Left out of every project: histories, caches, what describes the build, and files that hold secrets by custom."""

WRITTEN = ".modelpack-wrote-this"
"""A file by which a folder that a command wrote is known: what deploys an image would be a part of the next one, and change it."""
_MARKS = ("oci-layout", WRITTEN)
"""Files that mark a folder as one of ours: an image's (image-spec, image-layout.md), and a deployment's."""


@dataclass(frozen=True)
class Ignored:
    """Says of a path whether it is left out. The last pattern that matches decides, as ``!`` may take one back.

    Patterns are those of docs.docker.com, "Build context", ".dockerignore files": rooted at the folder, ``*`` within a
    name, ``**`` across folders, a folder with everything below it.
    """

    folder: Path
    patterns: tuple[tuple[bool, re.Pattern[str]], ...]
    recipes: frozenset[str]

    @classmethod
    def of(cls, folder: Path) -> Ignored:
        """The rules of a project's folder; raises InvalidInput where its ignore file is no text or has no pattern in a line."""
        path = next((folder / name for name in FILES if (folder / name).is_file()), None)
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines() if path else []
        except UnicodeDecodeError:
            raise InvalidInput(f"{path} is not a text in UTF-8", hint="write it anew") from None
        return cls(folder, (*_patterns(ALWAYS, ""), *_patterns(lines, str(path))), frozenset(_recipes(folder)))

    def __call__(self, path: str, is_directory: bool) -> bool:
        """Whether a path is left out; a directory is not, where a later pattern may take back what is below it."""
        if path in self.recipes or (is_directory and self._is_ours(path)):
            return True
        out = self._out(path)
        return out and not (is_directory and any(back for back, _ in self.patterns))

    def _out(self, path: str) -> bool:
        out = False
        for back, pattern in self.patterns:
            if pattern.fullmatch(path):
                out = not back
        return out

    def _is_ours(self, path: str) -> bool:
        """Whether a folder was written here by an earlier command."""
        return any((self.folder / path / mark).is_file() for mark in _MARKS)


def _recipes(folder: Path) -> Iterable[str]:
    """Recipes with their locks: a lock in the image would change the image that it describes."""
    yield from ("recipe.yaml", "recipe.yml", "recipe.lock")
    for lock in folder.glob("*.lock"):
        for suffix in (".yaml", ".yml"):
            if lock.with_suffix(suffix).is_file():
                yield from (lock.name, lock.with_suffix(suffix).name)


def _patterns(lines: Iterable[str], name: str) -> Iterable[tuple[bool, re.Pattern[str]]]:
    for number, line in enumerate(lines, 1):
        text = line.strip()
        back = text.startswith("!")
        text = re.sub(r"/+", "/", text.removeprefix("!").strip()).removeprefix("./").strip("/")
        if text and not line.startswith("#"):
            yield back, _compiled(text, f"{name}:{number}")


def _compiled(pattern: str, where: str) -> re.Pattern[str]:
    try:
        return re.compile(_expression(pattern) + r"(/.*)?", re.DOTALL)
    except re.error as error:
        raise InvalidInput(
            f"{where}: {shown(pattern)} is no pattern: {error.msg}",
            hint="write a range from its first character to its last, as in [a-z]; or put \\ before a [ that is meant",
        ) from None


def _expression(pattern: str) -> str:
    found = ""
    for token in re.findall(r"\*\*/|\*\*|\*|\?|\[\^?[^\]]+\]|\\.|.", pattern, re.DOTALL):
        if token == "**/":
            found += "(.*/)?"
        elif token in _WILD:
            found += _WILD[token]
        elif token.startswith("[") and len(token) > 1:
            found += _set(token)
        else:
            found += re.escape(token.removeprefix("\\") if len(token) == 2 else token)
    return found


def _set(token: str) -> str:
    """One of several characters. Of what is between the brackets ``-`` alone has a meaning, and none at an end."""
    negated, members = ("^", token[2:-1]) if token.startswith("[^") else ("", token[1:-1])
    inner = re.sub(r"[^-]|^-|-$|(?<=-)-", lambda found: re.escape(found[0]), members)
    return f"[{negated}{inner}]"


_WILD = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
