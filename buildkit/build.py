"""What an engine must bring, and what it is handed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from buildkit.errors import Problem
from buildkit.events import Emit
from buildkit.oci.image import Image, Store
from buildkit.oci.reference import Digest, Platform, Reference
from buildkit.pin import Source
from buildkit.plan import Plan
from buildkit.settings import Settings


@dataclass(frozen=True)
class Context:
    """Where an engine finds things: the recipe's folder, the sources by key, settings, and a place for its files.

    ``bases`` opens, for a pinned image, the repository that it is fetched from; ``tags`` are the names under which an
    engine with a store of its own keeps the image.
    """

    folder: Path
    recipe: Path
    settings: Settings
    sources: Mapping[str, Source]
    bases: Mapping[Reference, Store]
    tags: tuple[str, ...]
    emit: Emit


class Engine(Protocol):
    """Something that builds a plan into an image."""

    name: str

    def lacks(self, plan: Plan) -> list[Problem]:
        """Why this engine cannot build the plan here; empty where it can. Quick, and builds nothing."""

    def build(self, plan: Plan, platform: Platform, context: Context) -> Image:
        """Builds the image for one platform; raises EngineFailed, SourceFailed or RegistryFailed."""

    def recall(self, plan: Plan, platform: Platform, manifest: Digest, context: Context) -> Image | None:
        """The image that an earlier :meth:`build` of this plan made, without building; None where it is gone."""
