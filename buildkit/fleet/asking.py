"""What a fleet asks the world, each question once: fifty images on one base ask one registry one time."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from typing import TypeVar, cast

from buildkit.errors import RegistryFailed
from buildkit.oci.manifest import Descriptor, Manifest
from buildkit.oci.reference import Digest, Platform, Reference
from buildkit.pin import ImagePin, Inventory, absent, pin_image
from buildkit.recipe import Recipe
from buildkit.sources.huggingface import HuggingFace
from buildkit.spec import HuggingFaceRef, SourceRef
from buildkit.world import World

Answer = TypeVar("Answer")
_COMMIT = re.compile("[0-9a-f]{40}")


class Questions:
    """Asks for all recipes of a fleet together; for all threads. What fails fails for everybody who asks the same."""

    def __init__(self) -> None:
        self._answers: dict[Hashable, Future[object]] = {}
        self._lock = threading.Lock()

    def image(
        self, reference: Reference, platforms: Sequence[Platform], locked: ImagePin | None, world: World
    ) -> ImagePin:
        """What an image is now: the locked pin where that did not move, which costs one HEAD for all who share the image."""
        located = world.settings.located(reference)

        def ask() -> Digest | None:
            return world.base(reference).digest(reference.tag_or_digest)

        digest = reference.digest or self._once(("digest", str(located)), ask)
        if digest is None:
            raise absent(reference, located)
        same = locked is not None and locked.reference == reference.at(digest)
        if locked and same and set(platforms) <= set(locked.platforms):
            return ImagePin(locked.reference, {platform: locked.platforms[platform] for platform in platforms})
        key = ("pin", str(located), digest, tuple(platforms))
        return self._once(key, lambda: pin_image(reference.at(digest), platforms, world.base(reference), located))

    def source(self, reference: SourceRef, recipe: Recipe, locked: Inventory | None, world: World) -> Inventory:
        """What a source holds now: the locked inventory where the hub's commit is the locked one, which costs one request."""
        source = world.source(reference, recipe.folder)
        if not (isinstance(reference, HuggingFaceRef) and isinstance(source, HuggingFace)):
            return source.inventory()
        if locked and _COMMIT.fullmatch(reference.revision) and reference.revision == locked.commit:
            return locked
        at = ("hub", source.endpoint, reference.hf, reference.revision)
        located = self._once(at, source.locate)
        if locked and located.commit == locked.commit:
            return locked
        entries = self._once(("files", source.endpoint, located), lambda: source.files(located))
        return source.select(located, entries)

    def base_layers(self, pin: ImagePin, platform: Platform, world: World) -> tuple[Descriptor, ...]:
        """The layers of a base image for a platform."""
        digest = pin.platforms[platform]

        def ask() -> tuple[Descriptor, ...]:
            document = world.base(pin.reference).resolve(digest)
            if document is None:
                raise RegistryFailed(f"{pin.reference.name}@{digest} is not there", hint="ask again: a base was moved")
            return tuple(Manifest.read(document).layers)

        return self._once(("layers", str(world.settings.located(pin.reference)), digest), ask)

    def _once(self, key: Hashable, ask: Callable[[], Answer]) -> Answer:
        with self._lock:
            mine = key not in self._answers
            future = self._answers.setdefault(key, Future())
        if mine:
            try:
                future.set_result(ask())
            except BaseException as error:
                future.set_exception(error)
        return cast(Answer, future.result())
