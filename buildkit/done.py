"""What a command has done that others see: told where it is interrupted before its end. Imports nothing of the project."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Done:
    """The tags that moved and the locks that were written, noted as it happens, by any thread."""

    def __init__(self) -> None:
        self._noted: dict[str, str] = {}

    @contextmanager
    def tagging(self, name: str, digest: str) -> Iterator[None]:
        """Around the request that moves a tag: until it is answered nobody knows whether it did."""
        self._noted[name] = f"may serve {digest}: the registry did not confirm it"
        yield
        self._noted[name] = f"serves {digest}"

    @contextmanager
    def locking(self, path: Path) -> Iterator[None]:
        """Around the moment in which a lock comes into its place."""
        self._noted[str(path)] = "may be written"
        yield
        self._noted[str(path)] = "is written"

    @property
    def noted(self) -> dict[str, str]:
        """What became of every tag and lock that was touched, by its name or path."""
        return dict(self._noted)

    @property
    def summary(self) -> str:
        """What an interrupted command says of itself, before it says what is noted."""
        if self._noted:
            return "interrupted: nothing was tagged or locked but this; the same command goes on from here"
        return "interrupted: nothing was tagged, the lock is unchanged"
