"""What a recipe means where it says nothing of its platform: the one that its kind is made for, and where it answers."""

from __future__ import annotations

from typing import Any

from buildkit.kinds import Answering, Meant
from buildkit.recipe import Recipe
from buildkit.target_settings import TargetSettings, settings_of

PORT_IS_TOLD = ("oci-data-science", "modelarts", "azureml", "vertex")
"""Platforms that are told the port (serverPort, the container API's, the routes', containerSpec.ports); others always ask the same."""


def natural_target(recipe: Recipe) -> str | None:
    """The target that a recipe is for which names none; None where any platform may be meant."""
    if recipe.spec.targets or not isinstance(recipe.kind, Meant):
        return None
    return recipe.kind.meant_for(recipe.spec)


def settings_in(recipe: Recipe | None, name: str, told: TargetSettings | None) -> TargetSettings:
    """What a recipe tells of a target, or its defaults; the port and paths are the recipe's own where the target's are not told."""
    settings = told or settings_of(name)
    own = _answers(recipe, settings.platform) if recipe else {}
    untold = {key: value for key, value in own.items() if key not in settings.model_fields_set}
    return settings.model_copy(update=untold) if untold else settings


def _answers(recipe: Recipe, platform: str) -> dict[str, Any]:
    port = getattr(recipe.spec, "port", None) if platform in PORT_IS_TOLD else None
    paths = recipe.kind.answers(recipe.spec, platform) if isinstance(recipe.kind, Answering) else {}
    return {**({"port": port} if isinstance(port, int) else {}), **paths}
