"""``modelpack check``: a recipe judged by the rules of its targets, alone or in front of its build.

Known is the recipe, the plan, the config that the plan makes of its base's, the sizes that the hub tells and the files of
the planned layers; nothing is downloaded but manifests, and the few small files that say what others must be there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from buildkit.adapting import adapted
from buildkit.checks.rule import Judged, Severity
from buildkit.checks.subject import Given
from buildkit.errors import Unreachable
from buildkit.events import Said, Warned
from buildkit.judging.chosen import chosen_targets, waivers
from buildkit.judging.foreseen import foreseen
from buildkit.judging.judged import judged, refuse
from buildkit.judging.names import destinations, elsewhere, logged_in
from buildkit.lockfile import lock as locks
from buildkit.meant import natural_target, settings_in
from buildkit.pin import Pins
from buildkit.plan import Plan
from buildkit.policy import Policy, pin
from buildkit.recipe import Recipe
from buildkit.target_settings import TargetSettings
from buildkit.targets import ANY_PLATFORM, Target, target_named
from buildkit.world import World


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
        references = elsewhere(destinations(recipe, world, registry))
        given = Given(recipe=recipe, references=references, logged_in=logged_in)
        return tuple(replace(one, unasked=failure.what) for one in judged(chosen, given, waivers(recipe)))
    return judged(chosen, given, waivers(recipe))


def _looked_up(recipe: Recipe, world: World, targets: Sequence[str], registry: str | None) -> Given:
    pins = pin(recipe, locks.read(recipe.lock_path), world, Policy.KEEP, builders=False)
    plan = adapted(recipe.kind.plan(recipe.spec, pins), targets)
    return foreseen(recipe, pins, plan, world, registry)


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


def _natural(recipe: Recipe, world: World) -> tuple[Target, TargetSettings]:
    """The target of a recipe for which nobody names one."""
    name = natural_target(recipe)
    asked = f"for {name}, which the kind {recipe.kind.name} is made for" if name else "by what every platform asks"
    world.emit(Said(f"judged {asked}: neither --target nor 'targets' of the recipe names a platform"))
    if name is None:
        return ANY_PLATFORM, TargetSettings(name=ANY_PLATFORM.name)
    return target_named(name), settings_in(recipe, target_named(name).name, None)
