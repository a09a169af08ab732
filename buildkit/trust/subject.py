"""What is attested: a pushed image with its recipe, its lock, and what is known of its models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from buildkit import lock as locks
from buildkit.card import Card
from buildkit.errors import InvalidInput
from buildkit.lock import Lock
from buildkit.oci.manifest import Descriptor, Index
from buildkit.oci.reference import Digest, Reference
from buildkit.recipe import Recipe
from buildkit.registries.client import Repository
from buildkit.trust import licenses
from buildkit.trust.packages import Package, packages
from buildkit.world import World


@dataclass(frozen=True)
class Subject:
    """An image that was pushed. ``digest`` is its manifest's, or its index's where it has several platforms."""

    recipe: Recipe
    lock: Lock
    digest: Digest
    repositories: tuple[str, ...]
    cards: Mapping[str, Card]
    packages: tuple[Package, ...] = ()

    @property
    def name(self) -> str:
        """The image's name in the recipe."""
        return self.recipe.spec.name


def subject_of(recipe: Recipe, world: World) -> Subject:
    """The image that the lock says was pushed last; raises InvalidInput where none was, or from another recipe."""
    lock = locks.read(recipe.lock_path)
    if lock is None or not lock.pushed:
        hint = f"run: modelpack build {recipe.path} --push --registry R"
        raise InvalidInput(f"{recipe.spec.name} was not pushed yet, so there is nothing to attest", hint=hint)
    if lock.recipe != recipe.digest:
        raise InvalidInput(
            f"{recipe.path} changed since its image was pushed", hint=f"build and push {recipe.path} again"
        )
    digest = _pushed(recipe, lock)
    where = {Reference.parse(name).name for name, pushed in lock.pushed.items() if pushed == digest}
    repositories = tuple(sorted(where))
    found = _packages(lock, repositories, world)
    return Subject(recipe, lock, digest, repositories, licenses.cards(recipe, lock.pins, world), found)


def _packages(lock: Lock, repositories: tuple[str, ...], world: World) -> tuple[Package, ...]:
    """The Python packages of all platforms' images; none where a registry does not have the image in this form."""
    store = world.repository(Reference.parse(repositories[0])) if repositories else None
    manifests = [image.manifest.digest for image in lock.images.values()]
    return tuple(sorted({one for manifest in manifests for one in packages(store, manifest)})) if store else ()


def places(subject: Subject, world: World) -> list[tuple[Repository, Descriptor]]:
    """The repositories that hold the image, each with the image's descriptor; raises InvalidInput where it is gone."""
    found = []
    for name in subject.repositories:
        store = world.repository(Reference.parse(name))
        document = store.resolve(subject.digest)
        if document is None:
            raise InvalidInput(f"{name}@{subject.digest} is not there any more", hint="push the image again")
        found.append((store, document.descriptor()))
    return found


def _pushed(recipe: Recipe, lock: Lock) -> Digest:
    """The digest of the image as it was built last, among those that were pushed."""
    pushed = set(lock.pushed.values())
    manifests = {image.manifest.digest for image in lock.images.values()}
    entries = [replace(image.manifest, platform=platform) for platform, image in sorted(lock.images.items())]
    index = Index.write(entries, {})
    found = pushed & ({index.document.digest} if len(manifests) > 1 else manifests)
    if not found and len(pushed) > 1:
        hint = f"run: modelpack push {recipe.path} --registry R"
        raise InvalidInput(f"{recipe.spec.name} was built again since it was pushed", hint=hint)
    return next(iter(found or pushed))
