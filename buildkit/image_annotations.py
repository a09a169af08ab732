"""What is written on every image about where it comes from (image-spec 1.1, annotations.md, "Pre-Defined Annotation Keys")."""

from __future__ import annotations

from collections.abc import Mapping

from buildkit.pin import ImagePin

PREFIX = "org.opencontainers.image."


def known(title: str, base: ImagePin | None, source: str = "", revision: str = "") -> dict[str, str]:
    """The annotations that a plan knows, sorted. The base's digest is the one that its tag has."""
    found = {"title": title, "source": source, "revision": revision}
    if base:
        reference = base.reference
        found["base.name"] = f"{reference.name}:{reference.tag}" if reference.tag else str(reference)
        found["base.digest"] = str(reference.digest)
    return {f"{PREFIX}{key}": found[key] for key in sorted(found) if found[key]}


def published(labels: Mapping[str, str]) -> dict[str, str]:
    """The recipe's labels that are annotations by their name, such as ``org.opencontainers.image.licenses``."""
    return {key: value for key, value in labels.items() if key.startswith(PREFIX)}
