"""What each registry can take: a plan that it would refuse is refused before the first byte, with the numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from buildkit.errors import InvalidInput, Problem
from buildkit.oci.image import Image
from buildkit.oci.manifest import LARGEST_MANIFEST

GB = 1000**3
MIB = 1024**2
GIB = 1024**3
MOST_LAYERS = 127
"""Layers of one image that overlay file systems take (moby/buildkit#3067, cri-o#6261)."""

_DESCRIPTOR_BYTES = 600
"""What one layer takes in a manifest at most, with its annotations: bytes."""


@dataclass(frozen=True)
class Profile:
    """A registry's limits in bytes, and where they are written. None: no limit is known."""

    name: str
    hosts: str
    largest_layer: int | None = None
    source: str = ""


PROFILES = (
    Profile("ghcr", r"ghcr\.io", 10 * GIB, "GitHub docs, working with the container registry: 10 GB a layer"),
    Profile("ecr-public", r"public\.ecr\.aws", 10_000 * MIB, "ECR Public service quotas: 10,000 MiB a layer"),
    Profile(
        "ecr",
        r"\d+\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(\.cn)?",
        52_000 * MIB,
        "ECR service quotas: 52,000 MiB a layer",
    ),
    Profile(
        "acr", r"[a-z0-9-]+\.azurecr\.(io|cn|us)", 200 * GIB, "Azure container registry service tiers: 200 GiB a layer"
    ),
    Profile("swr", r"swr\.[a-z0-9.-]+\.(myhuaweicloud|t-systems)\.com", 10 * GIB, "SWR constraints: 10 GB a layer"),
    Profile("quay", r"quay\.io", 20 * GIB, "Quay MAXIMUM_LAYER_SIZE: 20G by default"),
    Profile("gar", r"[a-z0-9-]+-docker\.pkg\.dev"),
    Profile("dockerhub", r"docker\.io"),
    Profile("ocir", r"[a-z0-9-]+\.ocir\.io|ocir\.[a-z0-9-]+\.oci\.oraclecloud\.com"),
    Profile("harbor", r"(?!)"),
    Profile("zot", r"(?!)"),
    Profile("distribution", r"(?!)"),
)


def profile_of(host: str, named: str = "") -> Profile:
    """The profile that the settings name, else the one whose hosts match; a plain one for any other registry."""
    by_name = {profile.name: profile for profile in PROFILES}
    if named and named != "distribution":
        if named not in by_name:
            raise InvalidInput(
                f"there is no registry type {named!r}", hint=f"the types are: {', '.join(sorted(by_name))}"
            )
        return by_name[named]
    bare = host.partition(":")[0]
    return next((profile for profile in PROFILES if re.fullmatch(profile.hosts, bare)), by_name["distribution"])


def check(images: Sequence[Image], profile: Profile) -> None:
    """Raises InvalidInput with every limit that the images would pass."""
    problems = [problem for image in images for problem in _problems(image, profile)]
    if problems:
        raise InvalidInput(f"the registry ({profile.name}) would refuse this image; nothing was sent", problems)


def _problems(image: Image, profile: Profile) -> list[Problem]:
    found = []
    limit = profile.largest_layer
    for layer in image.layers:
        if limit is not None and layer.blob.size > limit:
            what = f"the layer has {layer.blob.size} bytes; at most {limit} are taken ({profile.source})"
            found.append(
                Problem(
                    layer.blob.title, what, "use 'layers: per-file'; a single file this large needs another registry"
                )
            )
    if len(image.layers) > MOST_LAYERS:
        what = f"{len(image.layers)} layers; container runtimes take at most {MOST_LAYERS}"
        found.append(
            Problem(
                str(image.platform), what, "use 'layers: squashed', or set max_layer_size so that files share layers"
            )
        )
    estimated = len(image.layers) * _DESCRIPTOR_BYTES
    if estimated > LARGEST_MANIFEST:
        what = f"a manifest of about {estimated} bytes; registries take at most {LARGEST_MANIFEST}"
        found.append(Problem(str(image.platform), what, "use 'layers: squashed'"))
    return found
