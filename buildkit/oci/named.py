"""Which image a name means where several lie together: the entries of a layout's ``index.json``, the tags of an archive."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from buildkit.errors import InvalidInput, Problem
from buildkit.oci.reference import Digest

Named = tuple[str, Digest]
"""What an image is called, and its digest. skopeo and podman call it by its whole reference, others by a tag alone."""


def meant(name: str, images: Sequence[Named], where: Path) -> Digest | None:
    """The image that is called ``name``, else the one that is called ``…:name``.

    With the name "" it is the only one, else the only one that has a name: oras lists an index's manifests, and what refers
    to an image, beside it and without names. None where there is none; raises InvalidInput where several can be meant.
    """
    found = _fitting(name, images)
    if len({digest for _, digest in found}) > 1:
        called = f" that {name!r} can mean" if name else ""
        raise InvalidInput(
            f"{where} holds several images{called}",
            [Problem(own or "without a name", digest) for own, digest in found],
            hint="name one by all of its name or by its digest, after a colon behind the path",
        )
    return found[0][1] if found else None


def lacking(image: str, names: Sequence[str]) -> InvalidInput:
    """What to say of an image that is not in a layout or archive, which has images under ``names``."""
    there = ", ".join(dict.fromkeys(name for name in names if name))
    return InvalidInput(f"there is no image {image}", hint=f"it has {there}" if there else "it names no image")


def _fitting(name: str, images: Sequence[Named]) -> Sequence[Named]:
    if not name:
        alone = len({digest for _, digest in images}) == 1
        return images if alone else [one for one in images if one[0]] or images
    exact = [one for one in images if one[0] == name]
    return exact or [one for one in images if one[0].rpartition(":")[2] == name]
