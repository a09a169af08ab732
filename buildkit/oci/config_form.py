"""The types of what an image's config holds, as far as images are read by it and built upon it (image-spec config.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def is_texts(value: object) -> bool:
    """Whether a value is a list of texts."""
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def is_text(value: object) -> bool:
    """Whether a value is a text."""
    return isinstance(value, str)


def _is_mapping(value: object) -> bool:
    return isinstance(value, dict)


def _is_mappings(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_mapping, value))


_PROCESS: dict[str, Callable[[object], bool]] = {
    **dict.fromkeys(("Env", "Entrypoint", "Cmd"), is_texts),
    **dict.fromkeys(("User", "WorkingDir"), is_text),
    **dict.fromkeys(("Labels", "ExposedPorts", "Volumes"), _is_mapping),
}
"""What of a process is built upon, and whether a value has its type."""


def malformed(content: Mapping[str, Any], process: Mapping[str, Any]) -> list[str]:
    """The keys of a config and of its process whose values have no valid type; what is left out, or null, is valid."""
    asked = [(process, key, fits) for key, fits in _PROCESS.items()] + [(content, "history", _is_mappings)]
    return [key for held, key, fits in asked if held.get(key) is not None and not fits(held[key])]
