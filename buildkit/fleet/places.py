"""Where an image goes, and what must be served there: from the lock's pushes, or from the registries that were named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from buildkit.errors import InvalidInput
from buildkit.fleet.state import Change, Target
from buildkit.lock import Lock
from buildkit.oci.manifest import INDEXES, Document, Index, Manifest
from buildkit.oci.reference import Digest, Platform, Reference
from buildkit.recipe import Recipe
from buildkit.registries.client import Repository
from buildkit.settings import Settings
from buildkit.world import World


def targets(recipe: Recipe, lock: Lock | None, settings: Settings, registries: Sequence[str]) -> tuple[Target, ...]:
    """The registries that are named; else those it was pushed to; else the only one that ``modelpack.yaml`` describes.

    Raises InvalidInput where the lock's references are of another name than the recipe's.
    """
    if registries:
        return tuple(_named(text, recipe, settings) for text in registries)
    names = sorted({Reference.parse(reference).name for reference in (lock.pushed if lock else ())})
    if names:
        return tuple(_pushed_to(name, recipe, settings) for name in names)
    only = list(settings.registries)
    return (_named(only[0], recipe, settings),) if len(only) == 1 else ()


def digest_of(recipe: Recipe, lock: Lock) -> Digest | None:
    """What a tag of the image in the lock points to; None where it was not built for each of the recipe's platforms."""
    platforms = [Platform.parse(platform) for platform in recipe.spec.platforms]
    if not platforms or any(platform not in lock.images for platform in platforms):
        return None
    if len(platforms) == 1:
        return lock.images[platforms[0]].manifest.digest
    manifests = [(platform, lock.images[platform].manifest) for platform in sorted(platforms)]
    return Index.write([replace(one, platform=platform) for platform, one in manifests], {}).document.digest


def missing(
    recipe: Recipe, lock: Lock, target: Target, world: World, digest: Digest
) -> Iterator[tuple[str, Change | None]]:
    """Every reference that must serve the image there, with what is wrong with it; raises RegistryFailed."""
    store = world.repository(target.repository)
    for tag in _tags(recipe, lock, target, digest):
        reference = f"{target.repository.name}:{tag}"
        served = store.digest(tag)
        detail = "there is no such tag" if served is None else "it serves another image"
        right = served == digest or (served == lock.pushed.get(reference) and _same_configs(store, tag, recipe, lock))
        yield reference, None if right else Change("missing", reference, digest, served or "", detail)


def _same_configs(store: Repository, tag: str, recipe: Recipe, lock: Lock) -> bool:
    """Whether a tag serves the lock's image with its manifest in another form: the config of each platform is the same."""
    document = store.resolve(tag)
    if document is None:
        return False
    found: list[Document | None] = [document]
    if document.media_type in INDEXES:
        found = [store.resolve(entry.digest) for entry in Index.read(document).manifests]
    configs = {Manifest.read(one).config.digest for one in found if one}
    platforms = [Platform.parse(platform) for platform in recipe.spec.platforms]
    return configs == {lock.images[platform].config for platform in platforms}


def _tags(recipe: Recipe, lock: Lock, target: Target, digest: Digest) -> list[str]:
    """The recipe's tags. Those with a placeholder are what the last push made of them."""
    fixed = [tag for tag in recipe.spec.tags if "{" not in tag]
    if len(fixed) == len(recipe.spec.tags):
        return fixed
    pushed = [Reference.parse(reference) for reference, served in lock.pushed.items() if served == digest]
    made = [one.tag for one in pushed if one.name == target.repository.name and one.tag]
    return sorted({*fixed, *made})


def _named(text: str, recipe: Recipe, settings: Settings) -> Target:
    return Target(text, settings.registry(text).repository(recipe.spec.name))


def _pushed_to(name: str, recipe: Recipe, settings: Settings) -> Target:
    for known, registry in settings.registries.items():
        if registry.repository(recipe.spec.name).name == name:
            return Target(known, registry.repository(recipe.spec.name))
    place = name.removesuffix(f"/{recipe.spec.name}")
    if place == name:
        what = f"{recipe.lock_path} says that it was pushed as {name}, and the recipe calls it {recipe.spec.name}"
        raise InvalidInput(what, hint="say once where it goes now: modelpack rebuild RECIPE --registry R")
    return Target(place, Reference.parse(name))
