"""The recipes of a fleet: every file under a folder that says it is one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from buildkit.errors import InvalidInput
from buildkit.reading.kind_told import kind_told
from buildkit.recipe import FILE, known_kinds

_NEVER = frozenset({"node_modules", "__pycache__", "venv", "site-packages"})
"""Folders of other tools, which hold thousands of files; those whose names begin with a dot are left out, too."""
_VIRTUAL = "pyvenv.cfg"
"""What a virtual environment of Python has in its folder, whatever that is called (PEP 405)."""


def recipes_in(places: Sequence[Path]) -> list[Path]:
    """The recipes that are named, and those under the folders that are named, sorted; raises InvalidInput for none.

    A file counts when its ``kind`` is an installed kind; one called ``recipe.yaml`` always does, so that a mistyped kind
    is told and not passed over.
    """
    known = frozenset(known_kinds())
    # Path.resolve raises for a link that leads back to itself, which is told when the recipe is read.
    found = {os.path.realpath(path): path for path in _all(places, known)}
    if not found:
        named = ", ".join(map(str, places))
        hint = "name recipes, or a folder that holds them; 'modelpack init' writes one to start from"
        raise InvalidInput(f"there is no recipe in {named}", hint=hint)
    return sorted(found.values(), key=str)


def _all(places: Iterable[Path], known: frozenset[str]) -> Iterator[Path]:
    for place in places:
        if place.is_dir():
            yield from (path for path in _files(place) if path.name == FILE or kind_told(path) in known)
        elif place.exists() or place.is_symlink():
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
