"""What is known of an image before it is built: the plan, the config over its base's, the files of the planned layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from buildkit.checks.examine import AMD64
from buildkit.checks.subject import Given
from buildkit.judging.names import destinations, elsewhere, logged_in
from buildkit.oci.files import SMALL, Files, Member, is_small_text
from buildkit.oci.manifest import ImageConfig
from buildkit.oci.process import laid_over
from buildkit.oci.reference import Platform
from buildkit.pin import Pins, read_base
from buildkit.plan import Plan, PlannedLayer
from buildkit.recipe import Recipe
from buildkit.world import World

_LARGEST_INDEX = 32 * 1024 * 1024
"""Bytes of the largest index of shards that is read before a build."""
BASE_UNREAD = "the base's files (modelpack check --image)"


def foreseen(recipe: Recipe, pins: Pins, plan: Plan, world: World, registry: str | None) -> Given:
    """What is known of an image before it is built. Raises RegistryFailed where the base cannot be looked at."""
    platform = AMD64 if AMD64 in plan.platforms else plan.platforms[0]
    base, sizes = _base(plan, platform, world)
    return Given(
        recipe=recipe,
        plan=plan,
        config=_config(base, plan),
        files=_files(recipe, pins, plan, sizes, world),
        references=elsewhere(destinations(recipe, world, registry, pins)),
        logged_in=logged_in,
    )


def _config(base: ImageConfig, plan: Plan) -> ImageConfig:
    diff_ids = {"rootfs": {"type": "layers", "diff_ids": []}}
    return ImageConfig({**laid_over(base, plan.process, [layer.title for layer in plan.layers]), **diff_ids})


def _base(plan: Plan, platform: Platform, world: World) -> tuple[ImageConfig, list[int]]:
    """The base's config, and what its layers have in the registry: they are at least as large as that."""
    if plan.base is None:
        return ImageConfig.empty(platform), []
    manifest, config = read_base(plan.base, platform, world.base(plan.base.reference))
    return config, [layer.size for layer in manifest.layers]


def _files(recipe: Recipe, pins: Pins, plan: Plan, sizes: Sequence[int], world: World) -> Files:
    """The files of the planned layers above a base whose files nobody has read."""
    planned_layers = [layer for layer in plan.layers if isinstance(layer, PlannedLayer)]
    known = not plan.runs and not plan.own_layers and len(planned_layers) == len(plan.layers)
    layers = [_members(layer, len(sizes) + number) for number, layer in enumerate(planned_layers)]
    unread = "" if known and plan.base is None else BASE_UNREAD if known else "the files that the build makes"
    return Files(
        (*((),) * len(sizes), *layers),
        unread,
        (*sizes, *(layer.size for layer in planned_layers)),
        _reader(recipe, pins, planned_layers, world),
        ("models",) if known and layers else (),
    )


def _members(layer: PlannedLayer, number: int) -> tuple[Member, ...]:
    proofs = {one.entry.name: one.file.proof for one in layer.files if one.content is None and one.file.is_read}
    return tuple(
        Member(
            entry.name,
            entry.name,
            "directory" if entry.directory else "file",
            entry.mode,
            entry.uid,
            entry.gid,
            entry.size,
            layer=number,
            proof=proofs.get(entry.name, ""),
        )
        for entry in layer.entries
    )


def _reader(
    recipe: Recipe, pins: Pins, layers: Sequence[PlannedLayer], world: World
) -> Callable[[Member], bytes | None]:
    """Reads a small file of a source: of a folder any, of a hub only those that say what others must be there."""
    by_name = {file.entry.name: file for layer in layers for file in layer.files}
    sources = dict(recipe.spec.sources())

    def content(member: Member) -> bytes | None:
        planned_file = by_name.get(member.path)
        if planned_file is None or planned_file.source not in sources:
            return planned_file.content if planned_file else None
        telling = member.path.endswith((".safetensors.index.json", "config.pbtxt"))
        if member.size > (_LARGEST_INDEX if telling else SMALL):
            return None
        source = world.source(sources[planned_file.source], recipe.folder, pinned=pins.sources.get(planned_file.source))
        if not telling and (source.distant or not is_small_text(member)):
            return None
        return b"".join(source.open(planned_file.file))

    return content
