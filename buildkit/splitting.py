"""Layers are split where a registry would refuse them as they are; the lock says for which limit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from buildkit.adapting import form_for, planned
from buildkit.amounts import human
from buildkit.errors import Drifted, Problem
from buildkit.events import Said
from buildkit.oci.form import Form
from buildkit.pin import Pins
from buildkit.plan import PlannedLayer
from buildkit.recipe import Recipe
from buildkit.registries.limits import largest_layer
from buildkit.world import World

_HEADERS = 16 * 1024
"""Bytes that a file takes in a tar beside its content at most: its header, its long name, the directories above it."""


def split(recipe: Recipe, pins: Pins, registries: Sequence[str], form: Form | None, world: World) -> Pins:
    """The pins with the strictest limit of the registries, where it splits a layer; else the pins as they are.

    A limit that is pinned already stays as long as no registry has a stricter one. What a kind cannot split, and a single
    file that is too large, is refused when all of the image is known.
    """
    strictest = min(_limits(registries, form or form_for(recipe), world), default=None)
    if strictest is None or (pins.max_layer_size and pins.max_layer_size <= strictest[0]):
        return pins
    limit, name = strictest
    files = [file for source in pins.sources.values() for file in source.files]
    if sum(file.size + _HEADERS for file in files) <= limit:
        return pins
    layers = planned(recipe, pins).layers
    smaller = replace(pins, max_layer_size=limit)
    if all(layer.size <= limit for layer in layers if isinstance(layer, PlannedLayer)):
        return pins
    if len(planned(recipe, smaller).layers) == len(layers):
        return pins
    world.emit(Said(f"{recipe.spec.name}: its layers are split, as {name} takes at most {human(limit)} in one"))
    return smaller


def split_anew(recipe: Recipe, locked: Pins, fitting: Pins) -> Drifted:
    """Why the image that is in the lock cannot go to a registry: its layers would have to be split for it."""
    assert fitting.max_layer_size is not None
    was = f"at most {human(locked.max_layer_size)} each" if locked.max_layer_size else "not split"
    what = f"the locked layers are {was}, and a registry takes at most {human(fitting.max_layer_size)} in one"
    hint = f"lay them out anew, and push the result everywhere: modelpack build {recipe.typed} --push, without --locked"
    return Drifted(f"the image in {recipe.lock_path} cannot go there as it is", [Problem("", what)], hint=hint)


def _limits(registries: Sequence[str], form: Form | None, world: World) -> Iterator[tuple[int, str]]:
    for registry in registries:
        profile = world.profile(world.settings.registry(registry).host)
        limit = largest_layer(profile, form)
        if limit is not None:
            yield limit, profile.name
