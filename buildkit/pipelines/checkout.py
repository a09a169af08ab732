"""Where a pipeline's file and its fleet lie in their repository: a system works at the top of its checkout."""

from __future__ import annotations

from pathlib import Path

from buildkit.errors import InvalidInput
from buildkit.pipelines import SYSTEMS

_LOOKING = ("github", "gitlab", "oci-devops")
"""Systems that look for their file by themselves, in its place in :data:`SYSTEMS`; the others are told where it is."""


def top_of(folder: Path) -> Path | None:
    """The top of the git work tree that a folder is in; None where it is in none."""
    folder = folder.resolve()
    return next((one for one in (folder, *folder.parents) if (one / ".git").exists()), None)


def fleet_in(top: Path, folder: Path) -> str:
    """The fleet's folder as a checkout has it, with ``/``.

    Raises InvalidInput where it is outside of ``top``, or where a pipeline's file could not name it.
    """
    try:
        found = folder.resolve().relative_to(top.resolve()).as_posix()
    except ValueError:
        hint = "run this in the repository that holds the recipes, and name their folder in it"
        raise InvalidInput(f"{folder} is not in {top}: no checkout of that has it", hint=hint) from None
    try:
        found.encode()
    except UnicodeEncodeError:
        what = f"the name of {folder} is no text in UTF-8, and no pipeline could name it"
        raise InvalidInput(what, hint="give the folder another name") from None
    return found


def misplaced(system: str, output: Path, top: Path) -> str:
    """What keeps a system from finding its file; "" where nothing does."""
    place = top / SYSTEMS[system]
    if system not in _LOOKING or output.resolve().parent == place.resolve().parent:
        return ""
    return f"{output} is not where {system} looks for it, which is {place.parent}"
