"""Recipes that would tag the same reference: each would take the other's image for one that somebody else pushed, every night."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from buildkit.errors import InvalidInput
from buildkit.fleet.state import Target
from buildkit.pin import Pins
from buildkit.recipe import Recipe
from buildkit.tags import PLACEHOLDER, expand, fixed


def references_of(recipe: Recipe, pins: Pins | None, targets: Sequence[Target]) -> tuple[str, ...]:
    """What a push would tag, as far as it is known before the image is; without pins only what has no placeholder.

    Raises InvalidInput where a tag cannot be written out.
    """
    spec = recipe.spec
    plain = [tag for tag in spec.tags if not PLACEHOLDER.search(tag)]
    tags = fixed(expand(spec.tags, spec.labels, pins)) if pins else plain
    return tuple(f"{target.repository.name}:{tag}" for target in targets for tag in tags)


def clashes(wanted: Mapping[Path, Iterable[str]]) -> dict[Path, InvalidInput]:
    """What is wrong with every recipe that would tag what another one tags; ``wanted`` are references by recipe."""
    owners: dict[str, list[Path]] = {}
    for path, references in wanted.items():
        for reference in dict.fromkeys(references):
            owners.setdefault(reference, []).append(path)
    found: dict[Path, InvalidInput] = {}
    for reference, paths in owners.items():
        for path in paths if len(paths) > 1 else ():
            found.setdefault(path, _clash(reference, paths))
    return found


def _clash(reference: str, paths: Sequence[Path]) -> InvalidInput:
    what = f"{' and '.join(map(str, paths))} would both be pushed as {reference}"
    return InvalidInput(what, hint="give one of them another name, or other tags")
