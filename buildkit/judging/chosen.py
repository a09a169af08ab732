"""Which targets are meant, with which settings, and what is waived: one answer for all that asks something of a target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from buildkit.errors import InvalidInput, Problem
from buildkit.meant import natural_target, settings_in
from buildkit.reading.checked import choice
from buildkit.reading.plain import shown
from buildkit.recipe import Recipe
from buildkit.target_settings import SETTINGS, TargetSettings, full_name, names
from buildkit.targets import TARGETS, Target, target_named


def chosen_targets(
    recipe: Recipe | None, wanted: Sequence[str], changes: Mapping[str, Any] | None = None
) -> list[tuple[Target, TargetSettings]]:
    """The wanted targets, else those of the recipe, else the one that its kind is made for; each with its settings.

    What the recipe says of another mode of the same platform holds for a mode of which it says nothing. ``changes`` win
    over the recipe. Raises InvalidInput where there is no target, or where changes are none of its settings.
    """
    said = {full_name(one.name): one for one in recipe.spec.targets} if recipe else {}
    natural = natural_target(recipe) if recipe else None
    chosen = (
        [target_named(name).name for name in wanted] or list(said) or [full_name(name) for name in (natural,) if name]
    )
    if not chosen:
        hint = f"add --target T, or 'targets: [T]' to the recipe; there are: {', '.join(names())}"
        raise InvalidInput("nobody says which platform it is meant for", hint=hint)
    told = {name: _changed(name, said.get(name) or _relative(name, said), changes or {}) for name in chosen}
    return [(TARGETS[name], settings_in(recipe, name, settings)) for name, settings in told.items()]


def names_a_target(recipe: Recipe | None, wanted: Sequence[str]) -> bool:
    """Whether anybody says for which platform an image is: the command line, the recipe, or its kind."""
    return bool(wanted or (recipe and (recipe.spec.targets or natural_target(recipe))))


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


def _relative(name: str, said: Mapping[str, TargetSettings]) -> TargetSettings | None:
    """What the recipe says of another mode of the same platform."""
    for other, settings in said.items():
        if other.partition(":")[0] == name.partition(":")[0]:
            return settings.model_copy(update={"name": name})
    return None


def _changed(name: str, told: TargetSettings | None, changes: Mapping[str, Any]) -> TargetSettings | None:
    from pydantic import ValidationError

    if not changes:
        return told
    said = told.model_dump(exclude_unset=True, exclude={"name"}) if told else {}
    try:
        return SETTINGS[name.partition(":")[0]].model_validate({"name": name, **said, **changes})
    except ValidationError as error:
        problems = [
            Problem(f"--set {'.'.join(map(str, one['loc']))}", str(one["msg"]))
            for one in error.errors(include_url=False)
        ]
        raise InvalidInput(f"the settings of {name} cannot be used", problems) from None
