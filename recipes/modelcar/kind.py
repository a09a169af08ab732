"""The kind ``modelcar``: what may be written in its recipe, and the image that is planned from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from buildkit import image_annotations
from buildkit.errors import InvalidInput
from buildkit.oci.process import PATH
from buildkit.oci.reference import Reference
from buildkit.pin import ImagePin, Inventory, Pins
from buildkit.plan import Plan
from buildkit.reading.plain import shown
from buildkit.reading.sizes import Size
from buildkit.spec import FolderRef, ImageRef, SourceRef, Spec
from buildkit.start import named
from recipes.modelcar.layers import layered
from recipes.modelcar.stages import USER, containerfile, obstacle, stage_of

BASE = ImageRef("registry.access.redhat.com/ubi9/ubi-micro:latest")
BUILDER = ImageRef("registry.access.redhat.com/ubi9/python-312:latest")
ENGINES = ("buildx", "podman")


class ModelcarSpec(Spec):
    """A model as an image: its files under /models, above a small base."""

    builder_images: ClassVar[frozenset[str]] = frozenset({"builder"})

    kind: Literal["modelcar"] = Field(description="The kind of recipe.")
    model: SourceRef = Field(
        description="Where the model is: hf://ORG/NAME@REVISION, ./FOLDER, a list of https URLs, or one of them as a mapping."
    )
    base: ImageRef = Field(
        default=BASE,
        description="What lies under the model: an image with a shell for KServe's modelcar, or 'scratch' for image volumes.",
    )
    layers: Literal["squashed", "per-file"] = Field(
        default="squashed",
        description="One layer for the whole model, or one for every file of 64 MiB and more and one for all the others.",
    )
    max_layer_size: Size | None = Field(
        default=None,
        description="No layer is larger: bytes, or a number with kB, MB, GB, TB, KiB, MiB, GiB or TiB. A file is never split."
        " Without it the layers are split where the registry that they are built for has a limit.",
    )
    builder: ImageRef = Field(
        default=BUILDER,
        description="The image whose Python downloads the model where buildx or podman builds; never a part of the result.",
    )

    @property
    def needs_builder(self) -> bool:
        """Whether a Containerfile needs an image that runs something before there is a base that could."""
        one_layer = self.layers == "squashed" and self.max_layer_size is None
        return not isinstance(self.model, FolderRef) or (self.base == "scratch" and not one_layer)

    def images(self) -> Iterator[tuple[str, Reference]]:
        """Every image that can be needed, by key."""
        return ((key, image) for key, image in super().images() if key != "builder" or self.needs_builder)


class Modelcar:
    """Plans modelcars."""

    name = "modelcar"
    spec: type[Spec] = ModelcarSpec

    def plan(self, spec: Spec, pins: Pins) -> Plan:
        """Decides layers, config, annotations and the Containerfile; asks nothing; raises InvalidInput."""
        if not isinstance(spec, ModelcarSpec):
            raise TypeError(f"a modelcar is planned from a ModelcarSpec, and this is a {type(spec).__name__}")
        inventory = pins.sources["model"]
        _some_files(spec, inventory)
        per_file = spec.layers == "per-file"
        layers = layered(
            inventory.files, "model", per_file=per_file, largest=spec.max_layer_size, split=pins.max_layer_size
        )
        base = None if spec.base == "scratch" else pins.images["base"]
        known = image_annotations.known(spec.name, base, *image_annotations.origin([inventory]))
        labels = known | spec.labels
        stage = stage_of(spec.model, inventory, layers, base, pins.images.get("builder"))
        hindrance = obstacle(stage)
        return Plan(
            name=spec.name,
            base=base,
            platforms=spec.platforms_parsed,
            process=_process(labels, base),
            layers=layers,
            annotations=image_annotations.published(spec.labels) | known,
            rendered=lambda: "" if hindrance else containerfile(spec.name, stage, labels),
            context="." if stage.from_folder and stage.image else None,
            archives={stage.archive: layers} if stage.archive else {},
            images=tuple({pin.reference: pin for pin in (base, stage.image) if pin}.values()),
            blocked=dict.fromkeys(ENGINES, hindrance) if hindrance else {},
        )

    def meant_for(self, spec: Spec) -> str | None:
        """KServe."""
        return "kserve"

    def starter(self, name: str) -> Mapping[str, str]:
        """A recipe to start from; raises InvalidInput where ``name`` cannot be an image's."""
        return {"recipe.yaml": _STARTER.format(name=named(name), base=BASE)}


def _some_files(spec: ModelcarSpec, inventory: Inventory) -> None:
    if inventory.files:
        return
    patterns = [
        f"{key}: {', '.join(map(shown, chosen))}"
        for key in ("include", "exclude")
        if (chosen := getattr(spec.model, key, ()))
    ]
    hint = f"what selects them is {'; '.join(patterns)}" if patterns else "put the model's files there"
    raise InvalidInput(f"{inventory.name or 'the model'} has no files to take", hint=hint)


def _process(labels: Mapping[str, str], base: ImagePin | None) -> dict[str, Any]:
    process: dict[str, Any] = {"User": USER, "Labels": dict(sorted(labels.items()))}
    return process if base else {**process, "Env": [f"PATH={PATH}"], "WorkingDir": "/"}


_STARTER = """\
# A model as an image: its files under /models. Build it with: modelpack build recipe.yaml
kind: modelcar
name: {name}

# Where the model is. A hub's repository, with a branch, tag or commit; recipe.lock pins what it means:
model:
  hf: ibm-granite/granite-3.0-2b-instruct
  revision: main
  exclude: ["*.bin", "*.pth"]   # patterns; 'include' takes only what matches
# or a folder beside this file:
# model: ./models
# or files by URL:
# model:
#   - {{url: "https://example.org/model.onnx", path: 1/model.onnx}}

# What lies under the model. KServe's modelcar needs a shell; image volumes do not, and take 'scratch'.
base: {base}

tags: [latest]
platforms: [linux/amd64]
# layers: per-file   # a layer for every large file: parallel, and shared between versions
"""

modelcar = Modelcar()
