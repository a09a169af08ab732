"""What a recipe means where it says nothing of its platform: the one that its kind is made for, and the port that it serves on."""

from __future__ import annotations

from buildkit.kinds import Meant
from buildkit.recipe import Recipe
from buildkit.target_settings import TargetSettings, settings_of

PORT_IS_TOLD = ("oci-data-science", "azureml", "vertex")
"""Platforms whose deployment names the port (serverPort, the routes' port, containerSpec.ports); others always ask the same."""


def natural_target(recipe: Recipe) -> str | None:
    """The target that a recipe is for which names none; None where any platform may be meant."""
    if recipe.spec.targets or not isinstance(recipe.kind, Meant):
        return None
    return recipe.kind.meant_for(recipe.spec)


def settings_in(recipe: Recipe | None, name: str, told: TargetSettings | None) -> TargetSettings:
    """What a recipe tells of a target, or its defaults; the port is the recipe's own where the target's is not told."""
    settings = told or settings_of(name)
    port = getattr(recipe.spec, "port", None) if recipe else None
    if settings.platform not in PORT_IS_TOLD or not isinstance(port, int) or "port" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"port": port})
