"""A push of what nobody has read yet: a folder's large files are read once, on their way, and not once before that.

A layer's bytes need no digest of its files, so that it can be sent before they are known. What is planned from the digests
is planned again when they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from buildkit.build import Context, Engine
from buildkit.delivery.spread import Recorder
from buildkit.oci.copy import Sealing
from buildkit.oci.image import Image
from buildkit.oci.reference import Digest
from buildkit.pin import Listing, Pins
from buildkit.plan import Plan, PlannedLayer


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

    def _again(self, plan: Plan, sent: Image) -> Image:
        image = self.engine.build(plan, sent.platform, self.context)
        pairs = zip(image.layers, sent.layers, strict=True)
        return image.knowing({layer.blob.key: was.blob.digest for layer, was in pairs if was.blob.digest})


def _read(layer: PlannedLayer, learned: Mapping[str, Mapping[str, str]]) -> PlannedLayer:
    files = (
        one if one.file.is_read else replace(one, file=replace(one.file, sha256=learned[one.source][one.file.path]))
        for one in layer.files
    )
    return replace(layer, files=tuple(files))
