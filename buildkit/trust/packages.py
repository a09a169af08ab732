"""The Python packages of an image, read from its layers' tar headers: never from their contents."""

from __future__ import annotations

import re
from dataclasses import dataclass

from buildkit.oci.layer_files import STREAMED, read_files
from buildkit.oci.manifest import Manifest
from buildkit.oci.stored import Readable

_METADATA = re.compile(r"(?:^|/)(?P<name>[A-Za-z0-9][A-Za-z0-9._]*)-(?P<version>[^-/]+)\.dist-info/METADATA$")
"""packaging.python.org, "Recording installed projects": the folder's name is the project's, a dash, and the version."""


@dataclass(frozen=True, order=True)
class Package:
    """A Python package in an image: its distribution name and version."""

    name: str
    version: str


@dataclass(frozen=True)
class Packages:
    """The Python packages of an image, sorted; ``unread`` says of each layer that nobody read why it was not."""

    found: tuple[Package, ...] = ()
    unread: tuple[str, ...] = ()


def packages(store: Readable, manifest: Manifest) -> Packages:
    """The packages that a container of the image sees, those of its base included; raises RegistryFailed."""
    files = read_files(store, manifest, STREAMED)
    matches = [match for path in files.merged if (match := _METADATA.search(path))]
    found = {Package(match["name"], match["version"]) for match in matches}
    return Packages(tuple(sorted(found)), (files.unread,) if files.unread else ())
