"""Profile: how one sort of registry wants to be spoken to, and what it can take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from buildkit.oci.form import Form
from buildkit.oci.manifest import LARGEST_MANIFEST

Upload = Literal["patch", "put"]
"""``patch``: POST, one PATCH, PUT with the digest. ``put``: POST, then one PUT with the bytes and the digest, wherever the
digest is known beforehand; where it is not, one PATCH without a length, which is what ``docker push`` sends everywhere."""

MOST_LAYERS = 127
"""Layers of one image that overlay file systems take (moby/buildkit#3067, cri-o#6261)."""


@dataclass(frozen=True)
class Profile:
    """A registry's habits. Limits are in bytes, None where none is known; ``source`` says where they are written.

    ``hosts`` is a regular expression for the whole host, without its port. ``login`` and ``create`` complete error
    messages: how one logs in there, and what has to exist before the first push ("" where nothing has to).
    ``forms`` are the manifest forms that are taken, the preferred one first; ``index`` whether several platforms may
    share a tag. ``mounts`` is False where asking to mount a blob is known to be of no use. ``referrers`` is what is
    known of the referrers API: None where it has to be asked. ``per_second`` is how many requests are taken.
    """

    name: str
    hosts: str = r"(?!)"
    login: str = ""
    create: str = ""
    largest_layer: int | None = None
    source: str = ""
    largest_manifest: int = LARGEST_MANIFEST
    most_layers: int = MOST_LAYERS
    forms: tuple[Form, ...] = ("oci", "docker")
    index: bool = True
    upload: Upload = "patch"
    mounts: bool = True
    referrers: bool | None = None
    per_second: float | None = None
