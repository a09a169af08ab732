"""Layers by what decided them, as the images of a repository tell: a lock that was lost costs no upload."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

from buildkit.delivery.destination import Destination, legible
from buildkit.delivery.shard import MARK
from buildkit.errors import RegistryFailed
from buildkit.oci.manifest import Manifest
from buildkit.oci.reference import Digest
from buildkit.plan import KEY
from buildkit.registries.client import Repository
from buildkit.tags import fixed

_MOST = 3
"""Images that are looked at under other tags: a version shares its layers with those just before it, if with any."""
_NO_IMAGE = re.compile(rf"sha256-[0-9a-f]{{64}}.*|{re.escape(MARK)}.*")
"""Tags of what refers to an image (distribution-spec, "Referrers Tag Schema"; cosign), and marks of :mod:`.shard`."""


def remembered(destination: Destination, wanted: Collection[str]) -> dict[str, Digest]:
    """Layers of images in a destination, by their keys; those that are wanted are looked for until all are found.

    Looked at is what is under the tags that the image will have; where no image is, the newest of the others by their names.
    Whoever can write to the repository could put another image there as well, so that this trusts nobody anew.
    """
    found: dict[str, Digest] = {}
    for manifests in _images(destination.repository, fixed(destination.tags)):
        layers = [layer for manifest in manifests for layer in manifest.layers]
        found |= {layer.annotations[KEY]: layer.digest for layer in layers if KEY in layer.annotations}
        if found.keys() >= set(wanted):
            break
    return found


def remembers_nothing(repository: Repository, tags: Sequence[str]) -> bool:
    """Whether a repository has no image by which a layer could be known.

    One that does not answer has none: it is told of when it is written to.
    """
    try:
        return all(repository.digest(tag) is None for tag in fixed(tags)) and not _others(repository)
    except RegistryFailed:
        return True


def _images(store: Repository, tags: Sequence[str]) -> Iterator[list[Manifest]]:
    is_new = True
    for manifests in (legible(store, tag) for tag in tags):
        is_new = is_new and not manifests
        yield manifests
    if is_new:
        yield from (legible(store, tag) for tag in _others(store)[:_MOST])


def _others(repository: Repository) -> list[str]:
    """The tags of images, the newest by their names first: ``v10`` before ``v9``. A push does not need the list."""
    try:
        tags = repository.tags()
    except RegistryFailed:
        return []
    return sorted((tag for tag in tags if not _NO_IMAGE.fullmatch(tag)), key=_numbers, reverse=True)


def _numbers(tag: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", tag)]
