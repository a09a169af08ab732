"""What moved under an image, as values: reasons, old and new, and what a rebuild would move."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from buildkit.errors import ModelpackError
from buildkit.lockfile.lock import Lock
from buildkit.oci.reference import Digest, Reference
from buildkit.recipe import Recipe

Reason = Literal["new", "recipe", "source", "base", "python", "tool", "missing", "forced"]
REASONS: dict[Reason, str] = {
    "new": "it was never built and locked",
    "recipe": "the recipe says something else",
    "source": "the model's files are others",
    "base": "the base image has another digest",
    "python": "the lock of its Python packages changed",
    "tool": "modelpack packs or renders it differently now",
    "missing": "a registry lost it, or serves something else",
    "forced": "a rebuild was asked for",
}
INPUTS: frozenset[Reason] = frozenset({"source", "base", "python"})
"""Reasons for which the pins have to be taken anew."""


@dataclass(frozen=True)
class Change:
    """One thing that moved: ``what`` is an input's key or a reference; ``old`` and ``new`` are empty where there is none."""

    reason: Reason
    what: str
    old: str = ""
    new: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Target:
    """Where an image goes: the registry as ``--registry`` would name it, and the repository there."""

    registry: str
    repository: Reference


@dataclass(frozen=True)
class Weight:
    """Bytes that a rebuild would read (from hubs, servers and bases) and send; None where only a build can tell."""

    down: int | None = None
    up: int | None = None


@dataclass(frozen=True)
class State:
    """An image and everything that moved under it. ``problems`` are questions that got no answer; then there may be more.

    ``lock`` is the lock as it was read, ``references`` what a rebuild would tag as far as that is known before, ``served``
    what the registries serve under the references of the lock, ``engine`` the one that would rebuild it: the one that built
    it, else embedded where that can, else "auto".
    """

    name: str
    path: str
    recipe: Recipe | None = None
    lock: Lock | None = None
    changes: tuple[Change, ...] = ()
    targets: tuple[Target, ...] = ()
    references: tuple[str, ...] = ()
    served: dict[str, Digest] = field(default_factory=dict)
    weight: Weight = Weight()
    engine: str = "auto"
    problems: tuple[ModelpackError, ...] = ()

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why it needs a rebuild, each reason once, in the order of :data:`REASONS`."""
        there = {change.reason for change in self.changes}
        return tuple(reason for reason in REASONS if reason in there)

    @property
    def word(self) -> str:
        """``moved``, ``current``, or ``unknown`` where a question got no answer and the others found nothing."""
        return "moved" if self.changes else "unknown" if self.problems else "current"
