"""What the catalogue tells of one image, as values: everything is known before a page is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from buildkit.card import Card


@dataclass(frozen=True)
class Part:
    """A layer of an image in the picture of it: what it holds, its size in bytes, and its digest."""

    title: str
    size: int
    digest: str
    base: bool = False


@dataclass(frozen=True)
class Model:
    """A model in an image: where it comes from, which version, how large, and what its card says.

    ``problem`` is why the card could not be read; without one and without a card, the model has none.
    """

    key: str
    type: str
    name: str
    commit: str = ""
    files: int = 0
    size: int = 0
    card: Card | None = None
    link: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Verdict:
    """What the rules of a target say of an image: errors and warnings that are not waived, each with its rule's id."""

    target: str
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    problem: str = ""

    @property
    def word(self) -> str:
        """How it went, in a word."""
        if self.problem:
            return "not checked"
        return "refused" if self.errors else "accepted with warnings" if self.warnings else "accepted"


@dataclass(frozen=True)
class Past:
    """An image as it once was: when its lock was committed, by which commit, and the digest it had then."""

    date: str
    commit: str
    digest: str
    subject: str = ""


@dataclass(frozen=True)
class Entry:
    """An image of the fleet. ``drift`` is why it needs a rebuild, None where nobody was asked; ``problem`` why it is unread.

    ``newer`` are the inputs that its lock has newer than the image: what is told of them is not true of the image yet.
    """

    name: str
    path: str
    kind: str = ""
    description: str = ""
    references: tuple[str, ...] = ()
    digest: str = ""
    platforms: tuple[str, ...] = ()
    base: str = ""
    models: tuple[Model, ...] = ()
    parts: tuple[Part, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    history: tuple[Past, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    drift: tuple[str, ...] | None = None
    newer: tuple[str, ...] = ()
    problem: str = ""

    @property
    def size(self) -> int:
        """Bytes of the layers that are known."""
        return sum(part.size for part in self.parts)

    @property
    def state(self) -> str:
        """How the image is, in a word."""
        if self.problem:
            return "unreadable"
        if not self.digest:
            return "never built"
        if self.drift or self.newer:
            return "needs a rebuild"
        return "not asked" if self.drift is None else "current"

    @property
    def unasked(self) -> tuple[str, ...]:
        """Why models' cards are not known, each reason once: what is told of licenses is not all then."""
        return tuple(dict.fromkeys(model.problem for model in self.models if model.problem))

    @property
    def licenses(self) -> tuple[str, ...]:
        """The licenses of its models, each once."""
        found = [
            f"{model.card.licensed}{model.card.remarks}" for model in self.models if model.card and model.card.licensed
        ]
        return tuple(dict.fromkeys(found)) or tuple(
            value for key, value in self.labels.items() if key == "org.opencontainers.image.licenses"
        )
