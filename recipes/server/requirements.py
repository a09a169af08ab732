"""The Python packages of a server: what a requirements.txt or a uv.lock says, judged before anything is built.

What a requirements file may say: pip.pypa.io, "Requirements File Format".
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from buildkit.reading.plain import Refusal, relative_path, shown

LOCK, PROJECT = "uv.lock", "pyproject.toml"
_MOST_FILES = 50


@dataclass(frozen=True)
class Line:
    """A line of a requirements file, its continuations joined, without its comment."""

    file: str
    number: int
    text: str

    def refused(self, what: str, hint: str) -> Refusal:
        """A refusal that names the line."""
        return Refusal(f"{self.file}:{self.number}: {what}", hint)


@dataclass(frozen=True)
class Requirements:
    """The files to take along, the lines that name packages, and everything that is wrong with them."""

    files: tuple[str, ...]
    lines: tuple[Line, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    locked: bool = False

    @property
    def unproven(self) -> tuple[Line, ...]:
        """The packages whose files no hash fixes: the same recipe may install others tomorrow."""
        return () if self.locked else tuple(line for line in self.lines if not _hashed(line.text))

    @property
    def hashed(self) -> bool:
        """Whether every package's files are fixed by hashes."""
        return self.locked or (bool(self.lines) and not self.unproven)


def read(folder: Path, name: str) -> Requirements:
    """What a requirements file or a lock of uv says; refusals instead of exceptions, so that all are told at once."""
    if PurePosixPath(name).name in (LOCK, PROJECT):
        return _read_lock(folder, PurePosixPath(name).parent)
    files: dict[str, None] = {}
    lines: list[Line] = []
    refusals: list[Refusal] = []
    waiting = [(name, Refusal(f"{shown(name)} is not there", "the path counts from the recipe's own folder"))]
    while waiting and len(files) < _MOST_FILES:
        file, missing = waiting.pop()
        if file in files:
            continue
        try:
            text = (folder / file).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            unreadable = Refusal(f"{shown(file)} is not a text that can be read: {type(error).__name__}")
            refusals.append(missing if isinstance(error, FileNotFoundError) else unreadable)
            continue
        files[file] = None
        for line in _lines(file, text):
            included = _included(line)
            refusal = _refusal(line)
            if refusal:
                refusals.append(refusal)
            elif included:
                inside = PurePosixPath(file).parent / included
                waiting.append((str(inside), line.refused(f"{shown(included)} is not there", "remove the line")))
            elif not line.text.startswith("-"):
                lines.append(line)
    return _judged(tuple(files), tuple(lines), refusals)


def _judged(files: tuple[str, ...], lines: tuple[Line, ...], refusals: list[Refusal]) -> Requirements:
    found = Requirements(files, lines)
    if lines and found.unproven and len(found.unproven) < len(lines):
        hint = "where one package has a hash pip wants one for all: write them with 'uv pip compile --generate-hashes'"
        refusals += [line.refused("has no hash, and others have", hint) for line in found.unproven]
    return Requirements(files, lines, tuple(refusals))


def _lines(file: str, text: str) -> Iterator[Line]:
    number, start, joined = 0, 1, ""
    for number, written in enumerate([*text.splitlines(), ""], 1):
        joined += written.rstrip("\\") if written.endswith("\\") else written
        if written.endswith("\\"):
            continue
        stripped = re.sub(r"(^|\s)#.*$", "", joined).strip()
        if stripped:
            yield Line(file, start, stripped)
        start, joined = number + 1, ""


def _hashed(text: str) -> bool:
    return "--hash=" in text or bool(re.search(r"@\s*https://\S+#sha256=[0-9a-f]{64}", text))


_INCLUDED = re.compile(r"(?:-[rc]\s*|--(?:requirement|constraint)(?:\s+|=))(?P<path>\S+)$")


def _included(line: Line) -> str:
    found = _INCLUDED.match(line.text)
    return found["path"] if found else ""


def _refusal(line: Line) -> Refusal | None:
    text, included = line.text, _included(line)
    if re.search(r"://[^/\s]*@", text) and not text.startswith("git+ssh"):
        return line.refused("holds a user name or a password", "set the index in pip's configuration where it is built")
    if included:
        try:
            if "://" in included:
                return line.refused("includes a file from a URL", "keep the file beside the recipe")
            relative_path(str(PurePosixPath(included)))
        except ValueError as error:
            return line.refused(f"{shown(included)} {error}", "keep the file beside the recipe")
        return None
    if re.match(r"(-e\b|--editable\b)", text):
        return line.refused("is an editable install", "put the program under 'code', and name its packages here")
    if re.search(r"\bgit\+|\bhg\+|\bsvn\+|\bbzr\+", text):
        return line.refused("needs git in the image", "name a release, or the archive's https:// URL with its #sha256=")
    local = re.match(r"(\.{0,2}/|file:|[\w./-]+\.(?:whl|tar\.gz|zip)(?:\s|$))", text) or re.search(r"@\s*file:", text)
    if local or re.match(r"(-f|--find-links)[\s=]+(?!https?://)", text):
        return line.refused("names a file of this machine", "publish the package, or put its code under 'code'")
    return None


def _read_lock(folder: Path, parent: PurePosixPath) -> Requirements:
    names = (str(parent / LOCK), str(parent / PROJECT))
    absent = [name for name in names if not (folder / name).is_file()]
    if absent:
        refusals = [Refusal(f"{shown(name)} is not there", "run 'uv lock' beside the recipe") for name in absent]
        return Requirements(names, refusals=tuple(refusals), locked=True)
    refusals = []
    try:
        tomllib.loads((folder / names[1]).read_text(encoding="utf-8"))
        refusals += _local_packages(names[0], tomllib.loads((folder / names[0]).read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        refusals.append(Refusal(f"{' and '.join(names)}: one is not TOML: {error}", "run 'uv lock' again"))
    return Requirements(names, refusals=tuple(refusals), locked=True)


def _local_packages(name: str, content: dict[str, Any]) -> Iterator[Refusal]:
    """The packages of a lock that no index has, but for the project itself."""
    for package in content.get("package", []):
        source = package.get("source", {})
        sort = next((key for key in ("git", "path", "directory", "editable", "virtual") if key in source), None)
        if sort and source[sort] != ".":
            yield Refusal(
                f"{name}: {package.get('name')} comes from a {sort}, {shown(str(source[sort]))}",
                "only packages of an index can be installed into the image: publish it, or put its code under 'code'",
            )
