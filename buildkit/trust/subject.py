"""What is attested: a pushed image with its recipe, its lock, and what is known of its models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from buildkit.card import Card
from buildkit.errors import InvalidInput, Problem
from buildkit.events import Warned
from buildkit.lockfile import lock as locks
from buildkit.lockfile import made
from buildkit.lockfile.lock import Lock
from buildkit.lockfile.served import current, digest_of, served_manifests
from buildkit.oci.manifest import Descriptor
from buildkit.oci.reference import Digest, Reference
from buildkit.recipe import Recipe
from buildkit.registries.client import Repository
from buildkit.trust import licenses
from buildkit.trust.packages import Packages, packages
from buildkit.world import World


@dataclass(frozen=True)
class Pushed:
    """An image that was pushed. ``digest`` is its manifest's, or its index's where it has several platforms.

    ``served`` is the digest that each repository has of it: Docker's manifest of an image is another than the OCI one.
    """

    recipe: Recipe
    lock: Lock
    digest: Digest
    served: Mapping[str, Digest]

    @property
    def name(self) -> str:
        """The image's name in the recipe."""
        return self.recipe.spec.name

    @property
    def repositories(self) -> tuple[str, ...]:
        """Those that hold the image under this very digest."""
        return tuple(sorted(name for name, served in self.served.items() if served == self.digest))

    @property
    def references(self) -> tuple[Reference, ...]:
        """Where the image is, by digest."""
        return tuple(Reference.parse(f"{name}@{digest}") for name, digest in sorted(self.served.items()))


@dataclass(frozen=True)
class Subject(Pushed):
    """A pushed image with what is known of its models and packages: hub and layers were asked for that."""

    cards: Mapping[str, Card]
    packages: Packages

    @property
    def forms(self) -> tuple[Subject, ...]:
        """The image under each digest that it has somewhere."""
        return tuple(replace(self, digest=digest) for digest in sorted(set(self.served.values())))


def subject_of(recipe: Recipe, world: World, lock: Lock | None = None) -> Subject:
    """What :func:`pushed_of` finds, and what is known of it; raises what that raises, and what hub and registry do.

    Layers that cannot be read are a warning.
    """
    pushed = pushed_of(recipe, world, lock)
    cards = licenses.cards(recipe, pushed.lock.pins, world)
    found = _packages(pushed.served, world)
    if found.unread:
        what = f"{pushed.name}: not all of its Python packages are known: {'; '.join(found.unread)}"
        world.emit(Warned(what, "its bill of materials says that it is incomplete: list them in another way as well"))
    return Subject(recipe, pushed.lock, pushed.digest, pushed.served, cards, found)


def pushed_of(recipe: Recipe, world: World, lock: Lock | None = None) -> Pushed:
    """The image that the lock says was pushed last; raises InvalidInput where none was, or from another recipe or inputs."""
    lock = lock or locks.read(recipe.lock_path)
    if lock is None or not lock.pushed:
        hint = f"run: modelpack build {recipe.typed} --push --registry R"
        raise InvalidInput(f"{recipe.spec.name} was not pushed yet", hint=hint)
    if lock.recipe != recipe.digest:
        raise InvalidInput(
            f"{recipe.path} changed since its image was pushed", hint=f"build and push {recipe.path} again"
        )
    if newer := [Problem(key, "was locked anew, and is not in the image yet") for key in made.newer(recipe, lock)]:
        what = f"{recipe.lock_path} has newer inputs than its image"
        raise InvalidInput(what, newer, hint=f"build and push {recipe.path}")
    served = {Reference.parse(name).name: digest for name, digest in current(recipe, lock, world).items()}
    if not served:
        hint = f"run: modelpack push {recipe.typed} --registry R"
        raise InvalidInput(f"what {recipe.path} last built is not in a registry, or not any more", hint=hint)
    own = digest_of(recipe, lock)
    digest = next((one for one in served.values() if one == own), served[min(served)])
    return Pushed(recipe, lock, digest, served)


def _packages(served: Mapping[str, Digest], world: World) -> Packages:
    """The Python packages of all platforms' images, from the first repository whose layers can all be read, else from the first."""
    known: list[Packages] = []
    for name, digest in sorted(served.items()):
        known.append(_packages_in(world.repository(Reference.parse(name)), digest))
        if not known[-1].unread:
            return known[-1]
    return known[0]


def _packages_in(store: Repository, digest: Digest) -> Packages:
    each = [packages(store, manifest) for manifest in served_manifests(store, digest)]
    if not each:
        return Packages(unread=(f"{store.reference.name}@{digest} is not there any more",))
    found = {package for one in each for package in one.found}
    return Packages(tuple(sorted(found)), tuple(text for one in each for text in one.unread))


def places(subject: Subject, world: World) -> list[tuple[Repository, Descriptor]]:
    """The repositories that hold the image under its digest, each with the image's descriptor; raises InvalidInput where it is gone."""
    found = []
    for name in subject.repositories:
        store = world.repository(Reference.parse(name))
        document = store.resolve(subject.digest)
        if document is None:
            raise InvalidInput(f"{name}@{subject.digest} is not there any more", hint="push the image again")
        found.append((store, document.descriptor()))
    return found
