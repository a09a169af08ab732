"""A build of what nobody has read yet: a folder's large files are read once, on their way, and not once before that.

Where there is no lock, and nothing in the registries that layers could be found by, no digest of a file saves a byte; nor does
that of a file that was replaced since this machine pushed it, by content that it has never read. A layer's bytes need none
either, so that it is sent before they are known. What is planned from the digests is planned again when they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from buildkit.build import Context, Engine
from buildkit.delivery.push import Recorder
from buildkit.delivery.recollection import remembers_nothing
from buildkit.engines.embedded import Embedded
from buildkit.errors import RegistryFailed
from buildkit.lockfile.lock import Lock
from buildkit.oci.copy import Sealing
from buildkit.oci.image import Image
from buildkit.oci.reference import Digest, Reference
from buildkit.pin import Inventory, Listing, Pins, proven
from buildkit.plan import Plan, PlannedLayer
from buildkit.recipe import Recipe
from buildkit.settings import Registry
from buildkit.tags import fixed
from buildkit.world import World


@dataclass(frozen=True)
class FirstReading:
    """A recorder in front of another, which hears of pins and plan through ``settle`` when every file was read.

    ``planned`` plans from pins; ``pins`` and ``plan`` are those with files that are only listed.
    """

    record: Recorder
    settle: Callable[[Pins, Plan], None]
    pins: Pins
    plan: Plan
    planned: Callable[[Pins], Plan]
    engine: Engine
    context: Context

    def expect(self, images: Sequence[Image], references: Sequence[str] = ()) -> None:
        """As the record does."""
        self.record.expect(images, references)

    def named(self, key: str) -> str:
        """The key that the layer has now that its files were read: under this one the next run will look for it."""
        layer = next(layer for layer in self.plan.layers if layer.key == key)
        return str(_read(layer, self._learned).key) if isinstance(layer, PlannedLayer) else key

    def placed(self, images: Sequence[Image]) -> Sequence[Image]:
        """The images as they are planned from what was learned; their layers are those that were sent."""
        self._read_what_is_in_no_layer()
        sources = {key: listed.learned(self._learned.get(key, {})) for key, listed in self.pins.sources.items()}
        pins = replace(self.pins, sources=sources)
        plan = self.planned(pins)
        self.settle(pins, plan)
        return self.record.placed([self._again(plan, image) for image in images])

    def stage(self, sealing: Sealing, images: Sequence[Image], references: Mapping[str, Digest] | None = None) -> None:
        """As the record does."""
        self.record.stage(sealing, images, references)

    @property
    def _learned(self) -> dict[str, Mapping[str, str]]:
        return {key: source.learned for key, source in self.context.sources.items() if isinstance(source, Listing)}

    def _read_what_is_in_no_layer(self) -> None:
        """A kind may leave files out of its image; the lock names them all the same."""
        for key, listed in self.pins.sources.items():
            known = self._learned.get(key, {})
            for file in [one for one in listed.files if not one.is_read and one.path not in known]:
                for _ in proven(self.context.sources[key], file):
                    pass

    def _again(self, plan: Plan, sent: Image) -> Image:
        image = self.engine.build(plan, sent.platform, self.context)
        pairs = zip(image.layers, sent.layers, strict=True)
        return image.knowing({layer.blob.key: was.blob.digest for layer, was in pairs if was.blob.digest})


def is_possible(plan: Plan) -> bool:
    """Whether the embedded engine lays down every layer of a plan: its bytes need no digest beforehand."""
    return not Embedded().lacks(plan) and all(isinstance(layer, PlannedLayer) for layer in plan.layers)


def saves_nothing(
    recipe: Recipe, pins: Pins, lock: Lock | None, targets: Sequence[Registry], tags: Sequence[str], world: World
) -> bool:
    """Whether no digest of what is unread could save a byte, as far as the lock and the registries with these tags tell.

    Without a lock nothing may be there that layers could be found by. With one, whoever wrote it must have had what was
    read here before, and nobody may have pushed since. A tag that may not move is on what the image must be compared with.
    """
    homes = [target.repository(recipe.spec.name) for target in targets]
    if lock is None:
        return all(remembers_nothing(world.repository(home), tags) for home in homes)
    if not all(_is_of_here(recipe, key, inventory, lock, world) for key, inventory in pins.sources.items()):
        return False
    immutable = recipe.spec.immutable or any(target.immutable for target in targets)
    asked = fixed(tags) if immutable else fixed(tags)[:1]
    names = [replace(home, tag=tag) for home in homes for tag in asked]
    served = {str(name): digest for name in names if (digest := _served(world, name))}
    return all(not immutable and digest == lock.pushed.get(name) for name, digest in served.items())


def _is_of_here(recipe: Recipe, key: str, inventory: Inventory, lock: Lock, world: World) -> bool:
    """Whether of every file that is unread the lock has what was read here before it was replaced, or nothing."""
    locked = {file.path: file.sha256 for file in lock.pins.sources[key].files} if key in lock.pins.sources else {}
    unread = [file.path for file in inventory.files if not file.is_read and file.path in locked]
    source = world.source(dict(recipe.spec.sources())[key], recipe.folder) if unread else None
    return all(isinstance(source, Listing) and source.last(path) == locked[path] for path in unread)


def _served(world: World, name: Reference) -> Digest | None:
    """What is under a name. A registry that does not answer is told of when it is written to."""
    try:
        return world.repository(name).digest(name.tag or "")
    except RegistryFailed:
        return None


def _read(layer: PlannedLayer, learned: Mapping[str, Mapping[str, str]]) -> PlannedLayer:
    files = (replace(one, file=one.file.learned(learned.get(one.source, {}))) for one in layer.files)
    return replace(layer, files=tuple(files))
