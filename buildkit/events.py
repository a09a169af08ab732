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


@dataclass(frozen=True)
class Forecast:
    """What a push or an output will move at most, before it begins: bytes of layers, of memory, and of the disk.

    ``unknown`` is read and sent, since nothing yet tells its digest; ``known`` is sent only where the registry lacks it.
    """

    name: str
    text: str
    unknown: int
    known: int
    memory: int
    disk: int


@dataclass(frozen=True)
class Summary:
    """What a push or an output did move: bytes of layers by what became of them (sent, mounted, exists), and of sources.

    Each of several registries has its own; what was ``read`` was read once for all of them.
    """

    name: str
    text: str
    outcomes: dict[str, int]
    read: int


Event = Began | Moved | Ended | Said | Warned | Forecast | Summary
Emit = Callable[[Event], None]


def silent(event: Event) -> None:
    """The default for ``emit``: tells nobody."""
