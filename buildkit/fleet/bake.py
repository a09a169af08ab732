"""A fleet as ``docker-bake.json``, for who would rather drive BuildKit by hand (docker buildx bake, "File reference")."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from buildkit import flow
from buildkit.containerfiles.image_places import relocated
from buildkit.errors import InvalidInput, ModelpackError
from buildkit.fleet.places import targets
from buildkit.lockfile import lock as locks
from buildkit.machine.atomic import write
from buildkit.recipe import Recipe
from buildkit.settings_file import ENDPOINT
from buildkit.tags import expand
from buildkit.world import World


def bake(
    opened: Sequence[tuple[Recipe, World]], output: Path | None, registries: Sequence[str]
) -> tuple[dict[str, Any], list[ModelpackError]]:
    """The document, with a target for each recipe, and what kept others out of it.

    Containerfiles go into a folder for each target under ``output``, else into the document. An image that has to be given
    files (an archive of a folder's) needs ``output``.
    """
    made: dict[str, Any] = {}
    problems: list[ModelpackError] = []
    for recipe, world in opened:
        try:
            name = _free(recipe.spec.name, made)
            target = _target(recipe, world, output / name if output else None, registries)
            made[name] = _literal(target)
        except ModelpackError as error:
            problems.append(error)
    return {"group": {"default": {"targets": list(made)}}, "target": made}, problems


def _target(recipe: Recipe, world: World, folder: Path | None, registries: Sequence[str]) -> dict[str, Any]:
    plan = flow.render(recipe, world)
    target: dict[str, Any] = {
        "context": str(recipe.folder.resolve()) if plan.context is not None or plan.copied else "",
        "platforms": list(recipe.spec.platforms),
        "tags": _names(recipe, world, registries),
        "args": {"SOURCE_DATE_EPOCH": "0", **plan.build_args},
        "attest": ["type=provenance,disabled=true"],
    }
    if folder is None:
        if plan.archives:
            hint = "say where to: --output DIR"
            raise InvalidInput(f"{recipe.spec.name} needs an archive of its files beside its Containerfile", hint=hint)
        target["dockerfile-inline"] = relocated(plan.containerfile, world.settings.located)
    else:
        path = flow.render_into(recipe, world, folder)
        write(path, relocated(plan.containerfile, world.settings.located).encode())
        target["dockerfile"] = str(path.resolve())
    # Nothing of a folder is sent where the Containerfile takes nothing from one.
    target["context"] = target["context"] or str((folder or recipe.folder).resolve())
    if "ARG HF_ENDPOINT" in plan.containerfile and world.settings.endpoint != ENDPOINT:
        target["args"]["HF_ENDPOINT"] = world.settings.endpoint
    secrets = [f"id={one.id},{f'env={one.variable}' if one.variable else f'src={one.path}'}" for one in plan.secrets]
    if "id=hf_token" in plan.containerfile:
        secrets.append("id=hf_token,env=HF_TOKEN")
    if secrets:
        target["secret"] = secrets
    return target


def _names(recipe: Recipe, world: World, registries: Sequence[str]) -> list[str]:
    spec, lock = recipe.spec, locks.read(recipe.lock_path)
    names = [place.repository.name for place in targets(recipe, lock, world.settings, registries)] or [spec.name]
    tags = expand(spec.tags, spec.labels, lock.pins) if lock else spec.tags
    return [f"{name}:{tag}" for name in names for tag in tags if "{" not in tag]


def _literal(value: Any) -> Any:
    """Values as bake reads them: ``${`` and ``%{`` begin an expression there (HCL, "JSON Syntax", template escapes)."""
    if isinstance(value, dict):
        return {key: _literal(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_literal(one) for one in value]
    return re.sub(r"([$%])\{", r"\1\1{", value) if isinstance(value, str) else value


def _free(name: str, taken: dict[str, Any]) -> str:
    """A target's name: letters, digits, ``_`` and ``-``; no other target's."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name)
    return next(one for one in (plain, *(f"{plain}-{number}" for number in range(2, 10_000))) if one not in taken)
