"""What ``docker save`` and ``podman save`` list in ``manifest.json`` (moby, image/tarexport: ``manifestItem``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from buildkit.errors import InvalidInput
from buildkit.oci.config_form import is_text, is_texts
from buildkit.oci.parsing import parse

ANEW = "write it anew with 'docker save' or 'podman save'"


@dataclass(frozen=True)
class Saved:
    """An image in an archive: the names there of its config and, from the base upward, of its layers; and its tags."""

    config: str
    layers: tuple[str, ...]
    tags: tuple[str, ...]


def saved(raw: bytes, name: str) -> list[Saved]:
    """The images of a ``manifest.json`` that messages call ``name``; raises InvalidInput where it is malformed."""
    try:
        listed = parse(raw)
    except ValueError:
        raise InvalidInput(f"{name} is not JSON", hint=ANEW) from None
    if not isinstance(listed, list) or not listed:
        raise InvalidInput(f"{name} lists no image", hint=ANEW)
    return [_image(one, f"{name}: image {number}") for number, one in enumerate(listed, 1)]


def _image(one: Any, name: str) -> Saved:
    if not isinstance(one, dict):
        raise InvalidInput(f"{name} is not a JSON object", hint=ANEW)
    # What has nothing in it is written as null by Go.
    texts = {key: [] if one.get(key) is None else one[key] for key in ("Layers", "RepoTags")}
    wrong = ["Config"] if not is_text(one.get("Config")) else []
    wrong += [key for key, value in texts.items() if not is_texts(value)]
    if wrong:
        raise InvalidInput(f"{name} has no valid {', '.join(wrong)}", hint=ANEW)
    return Saved(one["Config"], tuple(texts["Layers"]), tuple(texts["RepoTags"]))
