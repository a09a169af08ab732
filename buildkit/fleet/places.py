"""Where an image goes, and what must be served there: from the lock's pushes, or from the registries that were named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from buildkit.errors import InvalidInput
from buildkit.fleet.state import Change, Target
from buildkit.lockfile.lock import Lock
from buildkit.lockfile.served import same_configs
from buildkit.oci.reference import Digest, Reference
from buildkit.recipe import Recipe
from buildkit.registries.client import Repository
from buildkit.settings import Settings
from buildkit.tags import expand, with_digest
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


def missing(
    recipe: Recipe, lock: Lock, target: Target, world: World, digest: Digest
) -> Iterator[tuple[str, Digest | None, Change | None]]:
    """Every reference that must serve the image there, what it serves, and what is wrong with it; raises RegistryFailed."""
    store = world.repository(target.repository)
    for tag in _tags(recipe, lock, target, store, digest):
        reference = f"{target.repository.name}:{tag}"
        served, pushed = store.digest(tag), lock.pushed.get(reference, digest)
        right = served == digest or (served == pushed and same_configs(store, tag, lock))
        yield reference, served, None if right else _wrong(reference, served, pushed, digest)


def _wrong(reference: str, served: Digest | None, pushed: Digest, digest: Digest) -> Change:
    if served is None:
        return Change("missing", reference, pushed, "", "there is no such tag")
    if served == pushed:
        return Change("missing", reference, served, digest, "it still serves the image before")
    return Change("missing", reference, pushed, served, "it serves another image")


def _tags(recipe: Recipe, lock: Lock, target: Target, store: Repository, digest: Digest) -> list[str]:
    """The recipe's tags. Those with a placeholder are what the last push of the image made of them, else what one now would."""
    spec = recipe.spec
    plain = [tag for tag in spec.tags if "{" not in tag]
    if len(plain) == len(spec.tags):
        return plain
    pushed = [(Reference.parse(name), served) for name, served in lock.pushed.items()]
    there = [(one.tag, served) for one, served in pushed if one.name == target.repository.name and one.tag]
    # The tags of an image before are right as they are. Docker's form of this one has another digest.
    made = [tag for tag, served in there if served == digest]
    made = made or [tag for tag, served in there if same_configs(store, served, lock)]
    return sorted({*plain, *(made or with_digest(expand(spec.tags, spec.labels, lock.pins), digest))})


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
