"""Which of the names in a lock are on its image: a registry may hold it under another digest, with Docker's manifest."""

from __future__ import annotations

from dataclasses import replace

from buildkit.lockfile.lock import Lock
from buildkit.oci.manifest import Index, Manifest, manifests_of
from buildkit.oci.reference import Digest, Reference
from buildkit.recipe import Recipe
from buildkit.registries.client import Repository
from buildkit.world import World


def digest_of(recipe: Recipe, lock: Lock) -> Digest | None:
    """What a tag of the image in the lock points to; None where it was not built for each of the recipe's platforms."""
    platforms = recipe.spec.platforms_parsed
    if not platforms or any(platform not in lock.images for platform in platforms):
        return None
    if len(platforms) == 1:
        return lock.images[platforms[0]].manifest.digest
    manifests = [(platform, lock.images[platform].manifest) for platform in sorted(platforms)]
    return Index.write([replace(one, platform=platform) for platform, one in manifests]).document.digest


def served_digest(lock: Lock) -> str:
    """The digest under which a lock's names serve its image: that of the index, where there are several platforms."""
    own = {str(image.manifest.digest) for image in lock.images.values()}
    pushed = [str(digest) for digest in lock.pushed.values()]
    return next((digest for digest in pushed if digest in own), next(iter(pushed or own), ""))


def current(recipe: Recipe, lock: Lock, world: World) -> dict[str, Digest]:
    """The pushed names that are on the lock's image, in whichever form, sorted; raises RegistryFailed.

    A registry is asked only where its digest is not the image's own: it is Docker's form, or an older image.
    """
    own = digest_of(recipe, lock)
    return {
        name: digest
        for name, digest in sorted(lock.pushed.items())
        if digest == own or _holds(name, digest, lock, world)
    }


def same_configs(store: Repository, name: str, lock: Lock) -> bool:
    """Whether a tag or digest serves the lock's image with its manifest in another form: the configs are the same."""
    configs = {manifest.config.digest for manifest in served_manifests(store, name)}
    return configs == {image.config for image in lock.images.values()}


def served_manifests(store: Repository, name: str) -> list[Manifest]:
    """The manifests of all platforms under a tag or digest; empty where there is none of this name."""
    document = store.resolve(name)
    return manifests_of(document, store.resolve) if document else []


def _holds(name: str, digest: Digest, lock: Lock, world: World) -> bool:
    return same_configs(world.repository(Reference.parse(name)), digest, lock)
