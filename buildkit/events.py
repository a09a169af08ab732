"""What happens while it happens, as frozen values handed to a callable. Imports nothing of the project."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Began:
    """A piece of work began. ``total`` is its size in bytes, or None where it is not known."""

    key: str
    label: str
    total: int | None = None


@dataclass(frozen=True)
class Moved:
    """``amount`` more bytes of the work ``key`` are done; negative where a retry starts over."""

    key: str
    amount: int


@dataclass(frozen=True)
class Ended:
    """The work ``key`` is over. ``outcome`` is one word: sent, exists, mounted, hashed, read, skipped, failed."""

    key: str
    outcome: str


@dataclass(frozen=True)
class Said:
    """A sentence for the person who watches."""

    text: str


@dataclass(frozen=True)
class Warned:
    """Something that does not stop the work but should be known."""

    text: str
    hint: str = ""


Event = Began | Moved | Ended | Said | Warned
Emit = Callable[[Event], None]


def silent(event: Event) -> None:
    """The default for ``emit``: tells nobody."""
