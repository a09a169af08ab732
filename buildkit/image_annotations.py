"""What is written on every image about where it comes from (image-spec 1.1, annotations.md, "Pre-Defined Annotation Keys")."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from buildkit.pin import ImagePin, Inventory
from buildkit.settings_file import ENDPOINT

PREFIX = "org.opencontainers.image."


def known(title: str, base: ImagePin | None, source: str = "", revision: str = "") -> dict[str, str]:
    """The annotations that a plan knows, sorted. The base's digest is the one that its tag has."""
    found = {"title": title, "source": source, "revision": revision}
    if base:
        reference = base.reference
        found["base.name"] = f"{reference.name}:{reference.tag}" if reference.tag else str(reference)
        found["base.digest"] = str(reference.digest)
    return {f"{PREFIX}{key}": found[key] for key in sorted(found) if found[key]}


def origin(models: Collection[Inventory]) -> tuple[str, str]:
    """The source and revision of what comes from one place on a hub; both empty for anything else.

    The public hub is named also where the settings name another: the same lock gives the same digest everywhere.
    """
    hubs = [model for model in models if model.commit]
    return (f"{ENDPOINT}/{hubs[0].name}", hubs[0].commit) if len(hubs) == len(models) == 1 else ("", "")


def published(labels: Mapping[str, str]) -> dict[str, str]:
    """The recipe's labels that are annotations by their name, such as ``org.opencontainers.image.licenses``."""
    return {key: value for key, value in labels.items() if key.startswith(PREFIX)}
