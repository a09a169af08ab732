"""The names that an image will have, and whether a platform that pulls by them could log in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from buildkit.errors import ModelpackError
from buildkit.machine.connections import is_loopback
from buildkit.oci.reference import Reference
from buildkit.pin import Pins
from buildkit.recipe import Recipe
from buildkit.tags import PLACEHOLDER, expand
from buildkit.world import World


def destinations(recipe: Recipe, world: World, registry: str | None, pins: Pins | None = None) -> Iterator[Reference]:
    """Every name that a push would give the image; a placeholder that is not known yet stands for itself."""
    if registry is not None:
        spec, repository = recipe.spec, world.settings.registry(registry).repository(recipe.spec.name)
        for tag in expand(spec.tags, spec.labels, pins) if pins else spec.tags:
            yield repository.tagged(PLACEHOLDER.sub(r"\1", tag))


def elsewhere(references: Iterator[Reference] | Sequence[Reference | None]) -> tuple[Reference, ...]:
    """References on other machines: a registry on loopback is for trying, and no platform pulls from it."""
    return tuple(
        one for one in references if one is not None and not is_loopback(one.host.rpartition(":")[0] or one.host)
    )


def logged_in(reference: Reference) -> bool:
    """Whether this machine has a login that a platform could be given for a repository."""
    from buildkit.registries.auth import find

    try:
        return find(reference.host, reference.repository) is not None
    except ModelpackError:
        return False
