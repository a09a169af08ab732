"""``modelpack check``: puts together what is known of a recipe or an image, and has the rules of its targets judge it.

Before a build that is the recipe, the plan, the config that the plan makes of its base's, the sizes that the hub tells and
the files of the planned layers; nothing is downloaded but manifests, and the few small files that say what others must be
there. Of an image it is what :mod:`buildkit.checks.examine` reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from buildkit.adapting import adapted
from buildkit.checks.examine import AMD64, Examined, examine
from buildkit.checks.rule import Judged, Severity, judge
from buildkit.checks.subject import Given, Subject
from buildkit.errors import CheckFailed, InvalidInput, ModelpackError, Problem, Unreachable
from buildkit.events import Said, Warned
from buildkit.lockfile import lock as locks
from buildkit.machine.connections import is_loopback
from buildkit.meant import natural_target, settings_in
from buildkit.oci.files import SMALL, Files, Member, is_small_text
from buildkit.oci.manifest import ImageConfig
from buildkit.oci.reference import Platform, Reference
from buildkit.pin import Pins, read_base
from buildkit.plan import Plan, PlannedLayer
from buildkit.policy import Policy, pin
from buildkit.reading.checked import choice
from buildkit.reading.plain import shown
from buildkit.recipe import Recipe
from buildkit.tags import PLACEHOLDER, expand
from buildkit.target_settings import TargetSettings, full_name, names
from buildkit.targets import ANY_PLATFORM, TARGETS, Target, target_named
from buildkit.world import World

if TYPE_CHECKING:
    from buildkit.trust.scan import Scanned

_LARGEST_INDEX = 32 * 1024 * 1024
"""Bytes of the largest index of shards that is read before a build."""
BASE_UNREAD = "the base's files (modelpack check --image)"


def check_recipe(
    recipe: Recipe, world: World, targets: Sequence[str] = (), registry: str | None = None
) -> tuple[Judged, ...]:
    """Judges a recipe before anything is built, for its own targets or the named ones.

    Where nobody names a target it is the one that its kind is made for, or what every platform asks; this is told. Where
    hub or registry cannot be reached that is told, and what the recipe itself says is judged all the same; what they do not
    have, or refuse, raises.
    """
    chosen = chosen_targets(recipe, targets) if targets or recipe.spec.targets else [_natural(recipe, world)]
    try:
        given = _looked_up(recipe, world, [target.name for target, _ in chosen if target.deploy], registry)
    except Unreachable as failure:
        world.emit(Warned(f"only the recipe itself is judged: {failure.what}", hint=failure.hint))
        references = _elsewhere(_destinations(recipe, world, registry))
        given = Given(recipe=recipe, references=references, logged_in=_logged_in)
        return tuple(replace(one, unasked=failure.what) for one in judged(chosen, given, waivers(recipe)))
    return judged(chosen, given, waivers(recipe))


def _looked_up(recipe: Recipe, world: World, targets: Sequence[str], registry: str | None) -> Given:
    pins = pin(recipe, locks.read(recipe.lock_path), world, Policy.KEEP, builders=False)
    plan = adapted(recipe.kind.plan(recipe.spec, pins), targets).plan
    return foreseen(recipe, pins, plan, world, registry)


def check_image(
    image: str,
    world: World,
    targets: Sequence[str],
    *,
    recipe: Recipe | None = None,
    known_as: str | None = None,
    platform: Platform | None = None,
    whole: bool = False,
    scanned: Callable[[Examined], Scanned | None] = lambda examined: None,
) -> tuple[tuple[Judged, ...], Examined]:
    """Judges an image as it was pushed. ``recipe`` tells what its targets need to know; ``known_as`` where it will go.

    ``scanned`` tells what a scanner found in it.
    """
    chosen = chosen_targets(recipe, targets)
    examined = examine(image, world, platform=platform, whole=whole)
    if examined.artifact and not all(target.artifacts for target, _ in chosen):
        raise examined.artifact
    given = Given(
        recipe=recipe,
        config=None if examined.artifact else examined.config,
        image=examined.pushed,
        files=None if examined.artifact else examined.files,
        references=_elsewhere([Reference.parse(known_as)] if known_as else [examined.reference]),
        scanned=scanned(examined),
        logged_in=_logged_in,
    )
    return judged(chosen, given, waivers(recipe)), examined


def chosen_targets(recipe: Recipe | None, wanted: Sequence[str]) -> list[tuple[Target, TargetSettings]]:
    """The targets with what the recipe says of each; raises InvalidInput where there is none."""
    said = {full_name(one.name): one for one in recipe.spec.targets} if recipe else {}
    natural = natural_target(recipe) if recipe else None
    chosen = (
        [target_named(name).name for name in wanted] or list(said) or [full_name(name) for name in (natural,) if name]
    )
    if not chosen:
        hint = f"add --target T, or 'targets: [T]' to the recipe; there are: {', '.join(names())}"
        raise InvalidInput("nobody says which platform it is meant for", hint=hint)
    return [
        (TARGETS[name], settings_in(recipe, name, said.get(name) or _relative(name, said)))
        for name in dict.fromkeys(chosen)
    ]


def _natural(recipe: Recipe, world: World) -> tuple[Target, TargetSettings]:
    """The target of a recipe for which nobody names one."""
    name = natural_target(recipe)
    asked = f"for {name}, which the kind {recipe.kind.name} is made for" if name else "by what every platform asks"
    world.emit(Said(f"judged {asked}: neither --target nor 'targets' of the recipe names a platform"))
    if name is None:
        return ANY_PLATFORM, TargetSettings(name=ANY_PLATFORM.name)
    return target_named(name), settings_in(recipe, target_named(name).name, None)


def _relative(name: str, said: Mapping[str, TargetSettings]) -> TargetSettings | None:
    """What the recipe says of another mode of the same platform."""
    for other, settings in said.items():
        if other.partition(":")[0] == name.partition(":")[0]:
            return settings.model_copy(update={"name": name})
    return None


def judged(
    chosen: Sequence[tuple[Target, TargetSettings]], given: Given, waived: Mapping[str, str]
) -> tuple[Judged, ...]:
    """What every target's rules find."""
    return tuple(judge(Subject(said, target.mode, given), target.rules, target.name, waived) for target, said in chosen)


def waivers(recipe: Recipe | None) -> dict[str, str]:
    """The reasons by the rules' ids; raises InvalidInput for a rule that there is not."""
    if recipe is None or not recipe.spec.waive:
        return {}
    known = {rule.id for target in TARGETS.values() for rule in target.rules}
    unknown = [waiver.rule for waiver in recipe.spec.waive if waiver.rule not in known]
    if unknown:
        hints = [
            Problem(f"{recipe.path}: waive", f"there is no rule {shown(one)}", choice(one, sorted(known), "see"))
            for one in unknown
        ]
        raise InvalidInput(f"{recipe.path} waives what is no rule", hints, hint="'modelpack targets' lists the rules")
    return {waiver.rule: waiver.reason for waiver in recipe.spec.waive}


def before_build(
    recipe: Recipe, pins: Pins, plan: Plan, world: World, registry: str | None, *, skip: bool = False
) -> None:
    """Judges what is about to be built for the recipe's targets: warnings are told, errors raise CheckFailed.

    A recipe without targets is not judged. ``skip`` only tells that it was not.
    """
    if not recipe.spec.targets:
        return
    chosen = chosen_targets(recipe, ())
    targets = ", ".join(target.name for target, _ in chosen)
    if skip:
        world.emit(Warned(f"{recipe.spec.name} is not checked for {targets}", hint="since --no-check was given"))
        return
    found = judged(chosen, foreseen(recipe, pins, plan, world, registry), waivers(recipe))
    for each in found:
        for one in each.findings:
            if one.waived:
                world.emit(
                    Warned(f"{one.rule.id} ({each.target}) {one.where} {one.what}", hint=f"waived: {one.waived}")
                )
            elif one.severity is Severity.WARNING:
                world.emit(Warned(f"{one.rule.id} ({each.target}) {one.where} {one.what}", hint=one.do))
    refuse(found, recipe.spec.name)


_REFUSED = "'modelpack check' tells more; waive a rule in the recipe with its reason; --no-check skips all of them"


def refuse(found: Sequence[Judged], name: str, hint: str = _REFUSED) -> None:
    """Raises CheckFailed with every error that is not waived: a build ends here, before a byte was moved."""
    problems = [
        Problem(f"{one.rule.id} ({each.target}) {one.where}", one.what, one.do)
        for each in found
        for one in each.findings
        if one.severity is Severity.ERROR and not one.waived
    ]
    if problems:
        raise CheckFailed(
            f"{name} would be refused where it is meant to go",
            problems,
            hint=hint,
        )


def foreseen(recipe: Recipe, pins: Pins, plan: Plan, world: World, registry: str | None) -> Given:
    """What is known of an image before it is built. Raises RegistryFailed where the base cannot be looked at."""
    platform = AMD64 if AMD64 in plan.platforms else plan.platforms[0]
    base, sizes = _base(plan, platform, world)
    return Given(
        recipe=recipe,
        plan=plan,
        config=_config(base, plan),
        files=_files(recipe, pins, plan, sizes, world),
        references=_elsewhere(_destinations(recipe, world, registry, pins)),
        logged_in=_logged_in,
    )


def _config(base: ImageConfig, plan: Plan) -> ImageConfig:
    from buildkit.engines.embedded import laid_over

    diff_ids = {"rootfs": {"type": "layers", "diff_ids": []}}
    return ImageConfig({**laid_over(base, plan), **diff_ids})


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


def _destinations(recipe: Recipe, world: World, registry: str | None, pins: Pins | None = None) -> Iterator[Reference]:
    """Every name that a push would give the image; a placeholder that is not known yet stands for itself."""
    if registry is not None:
        spec, repository = recipe.spec, world.settings.registry(registry).repository(recipe.spec.name)
        for tag in expand(spec.tags, spec.labels, pins) if pins else spec.tags:
            yield repository.tagged(PLACEHOLDER.sub(r"\1", tag))


def _elsewhere(references: Iterator[Reference] | Sequence[Reference | None]) -> tuple[Reference, ...]:
    """References on other machines: a registry on loopback is for trying, and no platform pulls from it."""
    return tuple(
        one for one in references if one is not None and not is_loopback(one.host.rpartition(":")[0] or one.host)
    )


def _logged_in(reference: Reference) -> bool:
    from buildkit.registries.auth import find

    try:
        return find(reference.host, reference.repository) is not None
    except ModelpackError:
        return False
