"""``modelpack init``: the first files of a project."""

from __future__ import annotations

import re
from pathlib import Path

from buildkit.errors import InvalidInput, Problem
from buildkit.kinds import kind_named
from buildkit.machine.atomic import write
from buildkit.reading.plain import Refusal, shown
from buildkit.reading.yaml_scalars import is_text
from buildkit.spec import image_name


def start(kind: str, folder: Path, name: str | None = None) -> list[Path]:
    """Writes a kind's first files into a folder, all or none; raises InvalidInput where one is there already, and OSError."""
    files = {folder / path: text for path, text in kind_named(kind).starter(name or name_of(folder)).items()}
    there = [Problem(str(path), "is there already") for path in files if path.exists()]
    if there:
        raise InvalidInput("nothing was written", there, hint="choose another folder")
    try:
        for path, text in files.items():
            write(path, text.encode())
    except OSError:
        for path in files:
            path.unlink(missing_ok=True)
        raise
    return list(files)


def named(name: str) -> str:
    """The name of a first project as its recipe writes it, ``'no'`` in quotes; raises InvalidInput where it cannot be an image's.

    Every kind's starter asks this first.
    """
    try:
        return image_name(name) if is_text(name) else f"'{image_name(name)}'"
    except Refusal as refusal:
        problem = Problem(shown(name), "is not an image's name", refusal.hint)
        raise InvalidInput("nothing was written", [problem]) from None


def name_of(folder: Path) -> str:
    """A folder's name as an image may be called."""
    name = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")
    return name or "model"
