"""Old formats of the lockfile, read for ever: each version has one function that makes the next version of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from buildkit.lockfile.form import VERSION, inputs_digest, sums

Document = dict[str, Any]


def _from_1(old: Document) -> Document:
    """Version 1 knew no template, no checksums, and one digest of a base image where there are two now."""
    packing = next((image["packing"] for image in old["images"].values()), "1")
    pins = {
        "images": {
            key: {**pin, "digest": pin["reference"].partition("@")[2]} for key, pin in old["pins"]["images"].items()
        },
        "sources": old["pins"]["sources"],
    }
    inputs = {
        "recipe": old["recipe"],
        "template": None,
        "packing": packing,
        "digest": inputs_digest(old["recipe"], None, packing),
    }
    new = {"version": 2, "inputs": inputs, "asked": old["asked"], "pins": pins}
    new |= {"images": old["images"], "pushed": old["pushed"]}
    return {**new, "sums": sums(new)}


MIGRATIONS: Mapping[int, Callable[[Document], Document]] = {1: _from_1}
"""By the version that they read."""


def migrated(content: Document) -> Document:
    """The same in the current format; raises KeyError, TypeError or AttributeError where it is not even of its own."""
    while content["version"] != VERSION:
        content = MIGRATIONS[content["version"]](content)
    return content
