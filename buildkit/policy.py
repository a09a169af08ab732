"""Which pins of the lock stay, and which are asked anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from typing import Any

from buildkit import drift
from buildkit.errors import Drifted, Problem
from buildkit.events import Said, Warned
from buildkit.lockfile.lock import Lock
from buildkit.oci.reference import Platform
from buildkit.pin import ImagePin, Inventory, Pins, pin_image, refuse_false_emptiness
from buildkit.recipe import Recipe
from buildkit.spec import FolderRef, SourceRef
from buildkit.world import World


class Policy(Enum):
    """KEEP: what is locked stays, what is not is asked. CHECK: the same, and what moved is told. LOCKED: what moved is
    refused. UPGRADE: everything is asked and taken."""

    KEEP = "keep"
    CHECK = "check"
    LOCKED = "locked"
    UPGRADE = "upgrade"


def asked(recipe: Recipe) -> dict[str, Any]:
    """Every input as the recipe asks for it: a pin is kept only as long as this stays the same."""
    images = {key: str(reference) for key, reference in recipe.spec.images()}
    sources = {
        key: reference.model_dump(mode="json", exclude_defaults=True) for key, reference in recipe.spec.sources()
    }
    return images | sources


def pin(recipe: Recipe, lock: Lock | None, world: World, policy: Policy, builders: bool) -> Pins:
    """Pins every input of a recipe; ``builders`` says whether images that only a Containerfile build needs are wanted.

    The limit that layers were split for stays, but under UPGRADE. Raises Drifted under LOCKED, SourceFailed where a file
    cannot be what it is told to be, and what the hub, the registries and the sources raise.
    """
    kept = lock.pins.max_layer_size if lock and policy is not Policy.UPGRADE else None
    pins = replace(_inputs(recipe, lock, world, policy, builders), max_layer_size=kept)
    for source in pins.sources.values():
        refuse_false_emptiness(source)
    return pins


def _inputs(recipe: Recipe, lock: Lock | None, world: World, policy: Policy, builders: bool) -> Pins:
    if policy is Policy.LOCKED and lock is None:
        raise Drifted(
            f"{recipe.lock_path} is not there, so nothing is locked", hint=f"run: modelpack lock {recipe.typed}"
        )
    kept = _kept(recipe, lock)
    if policy is Policy.KEEP:
        return _asked_anew(recipe, kept, world, builders)
    known_builders = _builders_of(recipe, kept)
    settled = {} if policy is Policy.UPGRADE else known_builders
    now = _calm(kept, _asked_anew(recipe, Pins(images=settled), world, builders or bool(known_builders)))
    if policy is Policy.LOCKED and lock is not None:
        _refuse_drift(recipe, lock, now)
        return now
    moved = drift.moved(kept, Pins(_common(now.images, kept.images), _common(now.sources, kept.sources)))
    if policy is Policy.UPGRADE:
        for change in moved:
            world.emit(Said(f"{recipe.spec.name}: {change}"))
        return now
    for change in moved:
        world.emit(Warned(f"{recipe.spec.name}: {change}", hint="take it with --upgrade"))
    return Pins({**now.images, **kept.images}, {**now.sources, **kept.sources})


def _refuse_drift(recipe: Recipe, lock: Lock, now: Pins) -> None:
    written = (
        [] if lock.recipe == recipe.digest else [Problem(str(recipe.path), "the recipe changed since it was locked")]
    )
    changes = written + drift.moved(lock.pins, now)
    if changes:
        raise Drifted(
            f"{recipe.lock_path} is out of date",
            changes,
            hint=f"take what moved with: modelpack lock --upgrade {recipe.typed}",
        )


def in_same_words(recipe: Recipe, lock: Lock | None) -> Pins:
    """The lock's pins of what the recipe still asks for in the same words."""
    if lock is None:
        return Pins()
    now = asked(recipe)
    same = {key for key in now if lock.asked.get(key) == now[key]}
    return Pins(
        {key: pin for key, pin in lock.pins.images.items() if key in same},
        {key: source for key, source in lock.pins.sources.items() if key in same},
    )


def _kept(recipe: Recipe, lock: Lock | None) -> Pins:
    """Of these the pins that need not be asked anew. A folder is never kept: its files are the truth."""
    same = in_same_words(recipe, lock)
    folders = {key for key, reference in recipe.spec.sources() if isinstance(reference, FolderRef)}
    images = {key: pin for key, pin in same.images.items() if _platforms(recipe, key) <= set(pin.platforms)}
    sources = {key: source for key, source in same.sources.items() if key not in folders}
    narrowed = {
        key: {platform: pin.platforms[platform] for platform in _platforms(recipe, key)} for key, pin in images.items()
    }
    return Pins({key: ImagePin(pin.reference, narrowed[key]) for key, pin in images.items()}, sources)


def _platforms(recipe: Recipe, key: str) -> set[Platform]:
    return set(recipe.spec.platforms_of(key))


def _asked_anew(recipe: Recipe, kept: Pins, world: World, builders: bool) -> Pins:
    images = {
        key: kept.images.get(key)
        or pin_image(
            reference, sorted(_platforms(recipe, key)), world.base(reference), world.settings.located(reference)
        )
        for key, reference in recipe.spec.images()
        if builders or key in kept.images or key not in recipe.spec.builder_images
    }
    sources = {
        key: kept.sources.get(key) or _inventory(reference, recipe, world) for key, reference in recipe.spec.sources()
    }
    return Pins(images, sources)


def read(recipe: Recipe, pins: Pins, world: World) -> Pins:
    """The same pins with every file read: a source that only listed some is asked again."""
    reading = replace(world, lists=False)
    unread = {key: one for key, one in recipe.spec.sources() if not pins.sources[key].is_read}
    return replace(
        pins, sources={**pins.sources, **{key: _inventory(one, recipe, reading) for key, one in unread.items()}}
    )


def _inventory(reference: SourceRef, recipe: Recipe, world: World) -> Inventory:
    return world.source(reference, recipe.folder).inventory()


def _calm(kept: Pins, now: Pins) -> Pins:
    """What was asked now, but with the lock's own words where only the name of the commit moved and no selected file."""
    sources = {
        key: kept.sources[key]
        if key in kept.sources and kept.sources[key].fingerprint == source.fingerprint
        else source
        for key, source in now.sources.items()
    }
    return Pins(now.images, sources)


def _builders_of(recipe: Recipe, kept: Pins) -> dict[str, ImagePin]:
    """An image that only builds never decides what is in the image: its moving is no drift."""
    return {key: pin for key, pin in kept.images.items() if key in recipe.spec.builder_images}


def _common(now: Mapping[str, Any], kept: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in now.items() if key in kept}
