"""Which files of a source a recipe takes, and whether their names can stand in an image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import TypeVar

from buildkit.errors import InvalidInput, Problem, SourceFailed
from buildkit.spec import relative_path

_SHOWN = 5
Item = TypeVar("Item")


def selected(
    items: Iterable[Item], include: Sequence[str], exclude: Sequence[str], key: Callable[[Item], str]
) -> list[Item]:
    """The items whose path is included and not excluded, exactly as ``hf download --include --exclude`` would choose."""
    if not include and not exclude:
        return list(items)
    from huggingface_hub.utils import filter_repo_objects  # type: ignore[attr-defined]

    return list(
        filter_repo_objects(items, allow_patterns=list(include) or None, ignore_patterns=list(exclude) or None, key=key)
    )


def name_problem(path: str, where: str) -> Problem | None:
    """Why a file may not have this path inside a model, or None."""
    try:
        path.encode()
        relative_path(path)
    except UnicodeEncodeError:
        return Problem(where, f"the name {printable(path)} is not valid UTF-8")
    except ValueError as error:
        return Problem(where, f"the path {printable(path)} {error}")
    return None


def clashes(paths: Iterable[str]) -> list[Problem]:
    """Paths that are there twice, and files that another path needs as a directory."""
    ordered = sorted(paths, key=lambda path: path.split("/"))
    found = []
    for first, second in pairwise(ordered):
        if first == second:
            found.append(Problem("", f"{printable(first)} is there twice"))
        elif second.startswith(f"{first}/"):
            found.append(Problem("", f"{printable(first)} is both a file and the folder of {printable(second)}"))
    return found


def refuse_nothing(chosen: Sequence[object], paths: Sequence[str], what: str) -> None:
    """Raises InvalidInput where the patterns left none of ``paths``."""
    if chosen:
        return
    if not paths:
        raise SourceFailed(f"{what} has no files", hint="look at it: is it the right repository, revision or folder?")
    shown = ", ".join(printable(path) for path in paths[:_SHOWN])
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    raise InvalidInput(f"no file of {what} is selected by 'include' and 'exclude'", hint=f"it has {shown}{more}")


def printable(text: str) -> str:
    """Text from outside, safe for a terminal: what is not printable is escaped, and it is cut at 200 characters."""
    short = text if len(text) <= 200 else text[:200] + "…"
    return short if short.isprintable() else ascii(short)
