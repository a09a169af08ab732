"""``conda.yaml``: what must hold of it before a solver takes minutes to say so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from buildkit.errors import InvalidInput, Problem
from buildkit.reading.plain import shown
from buildkit.reading.written import Written, read
from buildkit.reading.yaml_reader import Steps

_PACKAGE = re.compile(r"(?:[\w./-]+::)?([A-Za-z0-9_][\w.-]*)\s*(.*)", re.ASCII)
_EXACT = re.compile(r"={1,2}\s*(\d+(?:\.\d+)*)(?:\.\*|\*)?(?:=\S+)?")
_COMPILERS = re.compile(r"(?:(?:c|cxx|fortran)-compiler|compilers|gcc|gxx|gfortran|clang|clangxx|make|cmake)(?:_.*)?")
_LOCAL = re.compile(r"-e\b|--editable|-r\b|--requirement|-c\b|--constraint|\.{0,2}/|file:|.*@\s*file:")
_SECRET = re.compile(r"://[^\s/@]+:[^\s/@]+@")


def check(path: Path, python: str) -> None:
    """Refuses a conda environment file that cannot be built from, with every problem and its line.

    ``python`` is the version that the recipe pins; the file may name it too, and no other. Raises InvalidInput.
    """
    if not path.is_file():
        raise InvalidInput(f"there is no {path}", hint="write one, or name it: conda_file: ./FILE")
    written = read(path, empty_hint="write what it installs: dependencies: [...]")
    problems = [*map(written.problem, written.flaws), *_problems(written, python)]
    if problems:
        count = f"{len(problems)} problems" if len(problems) > 1 else "a problem"
        raise InvalidInput(f"{path} has {count}", problems)


def _problems(written: Written, python: str) -> Iterator[Problem]:
    listed = written.content.get("dependencies")
    if not isinstance(listed, list) or not listed:
        where = written.where(("dependencies",) if "dependencies" in written.content else ())
        yield Problem(where, "lists nothing under 'dependencies'", "write dependencies: [pip, {pip: [...]}]")
        return
    for number, item in enumerate(listed):
        steps: Steps = ("dependencies", number)
        if isinstance(item, str):
            yield from _conda(written.where(steps), item, python)
        elif isinstance(item, dict) and set(item) == {"pip"} and isinstance(item["pip"], list):
            yield from _pip(written, (*steps, "pip"), item["pip"])
        else:
            yield Problem(
                written.where(steps), "is neither a package nor a list of pip's", "write NAME=VERSION, or pip: [...]"
            )


def _conda(where: str, item: str, python: str) -> Iterator[Problem]:
    match = _PACKAGE.fullmatch(item.strip())
    if match is None:
        yield Problem(where, f"{shown(item)} is not a package of conda's", "write NAME=VERSION")
    elif match[1].lower() == "python":
        exact = _EXACT.fullmatch(match[2].strip())
        if exact and exact[1] != python and not python.startswith(f"{exact[1]}."):
            yield Problem(where, f"asks for Python {exact[1]}, and the recipe for {python}", "make them one")
    elif _COMPILERS.fullmatch(match[1].lower()):
        yield Problem(
            where, f"{match[1]} is a compiler, which no image for serving holds", "take packages that are built"
        )


def _pip(written: Written, steps: Steps, items: list[Any]) -> Iterator[Problem]:
    for number, item in enumerate(items):
        where = written.where((*steps, number))
        if not isinstance(item, str):
            yield Problem(where, "must be a text", "write NAME==VERSION")
        elif _LOCAL.match(item.strip()):
            yield Problem(
                where,
                f"{shown(item)} is a file of your machine, which the build does not have",
                "write its packages here",
            )
        elif _SECRET.search(item):
            yield Problem(where, "holds a password, which would stay in the image", "use an index that needs none")
