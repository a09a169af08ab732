"""What a deployment says at a path: read as what it must be, or refused with its path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from buildkit.errors import InvalidInput, Problem
from buildkit.reading.yaml_scalars import sort_of


@dataclass(frozen=True)
class Value:
    """A value of a document that somebody wrote, and its path from the top; ``content`` is None where nothing is there.

    What is not there or null is an empty mapping, list or text. What is there and of another type raises InvalidInput.
    """

    content: object
    path: str = ""

    def __getitem__(self, key: str) -> Value:
        """What a mapping has under a key."""
        return Value(self.mapping().get(key), f"{self.path}.{key}".lstrip("."))

    def __iter__(self) -> Iterator[Value]:
        """The entries of a list."""
        if self.content is None:
            return
        if not isinstance(self.content, list | tuple):
            raise self._no("a list")
        for number, entry in enumerate(self.content):
            yield Value(entry, f"{self.path}[{number}]")

    def at(self, path: str) -> Value:
        """What lies under several keys: ``spec.predictor.model``."""
        found = self
        for key in path.split("."):
            found = found[key]
        return found

    def mapping(self) -> Mapping[str, object]:
        """The value as a mapping."""
        if self.content is None:
            return {}
        if not isinstance(self.content, Mapping):
            raise self._no("a mapping")
        return self.content

    def text(self) -> str:
        """The value as a text."""
        if self.content is None:
            return ""
        if not isinstance(self.content, str):
            raise self._no("a text")
        return self.content

    def _no(self, wanted: str) -> InvalidInput:
        problem = Problem(self.path or "the top", f"must be {wanted}, and is {sort_of(self.content)}")
        return InvalidInput(
            "the deployment is not one that its platform reads",
            [problem],
            hint="'modelpack deploy' writes one to compare it with",
        )
