"""The recipes of a fleet: every file under a folder that says it is one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import entry_points
from pathlib import Path

from buildkit.errors import InvalidInput
from buildkit.kinds import GROUP
from buildkit.reading.written import LARGEST
from buildkit.recipe import FILE

_KIND = re.compile(r"""^["']?kind["']?\s*:\s*["']?([\w.-]+)""", re.MULTILINE)
_IN_JSON = re.compile(r'"kind"\s*:\s*"([\w.-]+)"')
_NEVER = frozenset({"node_modules", "__pycache__", "venv", "site-packages"})
"""Folders of other tools, which hold thousands of files; those whose names begin with a dot are left out, too."""
_VIRTUAL = "pyvenv.cfg"
"""What a virtual environment of Python has in its folder, whatever that is called (PEP 405)."""


def recipes_in(places: Sequence[Path]) -> list[Path]:
    """The recipes that are named, and those under the folders that are named, sorted; raises InvalidInput for none.

    A file counts when its ``kind`` is an installed kind; one called ``recipe.yaml`` always does, so that a mistyped kind
    is told and not passed over.
    """
    known = frozenset(entry.name for entry in entry_points(group=GROUP))
    found = {path.resolve(): path for path in _all(places, known)}
    if not found:
        named = ", ".join(map(str, places))
        hint = "name recipes, or a folder that holds them; 'modelpack init' writes one to start from"
        raise InvalidInput(f"there is no recipe in {named}", hint=hint)
    return sorted(found.values(), key=str)


def _all(places: Iterable[Path], known: frozenset[str]) -> Iterator[Path]:
    for place in places:
        if place.is_dir():
            yield from (path for path in _files(place) if path.name == FILE or _kind(path) in known)
        elif place.exists():
            yield place
        else:
            raise InvalidInput(f"there is no {place}", hint="name recipes, or a folder that holds them")


def _files(folder: Path) -> Iterator[Path]:
    for at, folders, names in os.walk(folder):
        if _VIRTUAL in names and Path(at) != folder:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _NEVER)
        yield from (Path(at) / name for name in sorted(names) if name.endswith((".yaml", ".yml")))


def _kind(path: Path) -> str | None:
    """What a file says its kind is, without reading it as YAML: a folder may hold thousands of manifests and charts."""
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST).decode("utf-8-sig", errors="replace")
    except OSError:
        return None
    found = (_IN_JSON if text.lstrip().startswith("{") else _KIND).search(text)
    return found[1] if found else None
