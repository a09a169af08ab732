"""The Python packages of an image, read from its layers' tar headers: never from their contents."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from buildkit.errors import ModelpackError
from buildkit.oci.headers import members_in_spans
from buildkit.oci.manifest import OCI_LAYER, Descriptor, Manifest
from buildkit.registries.client import Repository

_METADATA = re.compile(r"(?:^|/)(?P<name>[A-Za-z0-9][A-Za-z0-9._]*)-(?P<version>[^-/]+)\.dist-info/METADATA")
"""packaging.python.org, "Recording installed projects": the folder's name is the project's, a dash, and the version."""
_MOST_MEMBERS = 200_000


@dataclass(frozen=True, order=True)
class Package:
    """A Python package in an image: its distribution name and version."""

    name: str
    version: str


def packages(store: Repository, manifest: Manifest) -> tuple[Package, ...]:
    """The packages in the layers of an image that are not compressed, sorted. What cannot be read has none."""
    layers = [layer for layer in manifest.layers if layer.media_type == OCI_LAYER]
    return tuple(sorted({one for layer in layers for one in _in(store, layer)}))


def _in(store: Repository, layer: Descriptor) -> Iterator[Package]:
    def span(start: int, length: int) -> bytes:
        return store.span(layer, start, length)

    try:
        for number, member in enumerate(members_in_spans(span, layer.size, 0)):
            found = _METADATA.search(member.path)
            if found:
                yield Package(found["name"], found["version"])
            if number > _MOST_MEMBERS:
                return
    except ModelpackError:
        return
