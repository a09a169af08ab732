"""What happened, on its way into the lock; and what the lock says, on its way back into images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from buildkit.build import Context, Engine
from buildkit.done import Done
from buildkit.errors import Drifted, InvalidInput, Problem
from buildkit.kinds import template_of
from buildkit.lockfile import made
from buildkit.lockfile.lock import Lock, LockedImage, LockedLayer
from buildkit.lockfile.staged import NOTHING, Staged, check_writable
from buildkit.oci import tar
from buildkit.oci.copy import Sealing
from buildkit.oci.image import Image
from buildkit.oci.reference import Digest, Platform, Reference
from buildkit.pin import Pins
from buildkit.plan import Plan
from buildkit.recipe import Recipe

_TAGGED = "the tags have moved, and the same command again sends nothing twice"


class Record:
    """The lock of a build in progress. A context manager: what was staged and not committed is gone at its end."""

    def __init__(self, recipe: Recipe, lock: Lock, plan: Plan, engine: Engine) -> None:
        self._recipe = recipe
        self._lock = lock
        self._plan = plan
        self._engine = engine
        self._staged: Staged | None = None
        self._pushed = False

    def __enter__(self) -> Record:
        return self

    def expect(self, images: Sequence[Image], references: Sequence[str] = ()) -> None:
        """Raises InvalidInput, before anything is sent, where the lock will have to change and may not."""
        if not all(image.is_known for image in images) or any(one not in self._lock.pushed for one in references):
            check_writable(self._recipe.lock_path)

    def named(self, key: str) -> str:
        """The key: everything was read before it was sent."""
        return key

    def placed(self, images: Sequence[Image]) -> Sequence[Image]:
        """The images as they are, for the same reason."""
        return images

    def settle(self, pins: Pins, plan: Plan) -> None:
        """Takes the pins and the plan with what was learned of files that were read only while they were sent."""
        self._lock, self._plan = replace(self._lock, pins=pins), plan

    def stage(self, sealing: Sealing, images: Sequence[Image], references: Mapping[str, Digest] | None = None) -> None:
        """Writes the new lock beside the old one: after this it only has to be moved into its place."""
        if self._staged:
            self._staged.__exit__()
        locked = {image.platform: self._locked(image, sealing) for image in images}
        self._pushed = bool(references)
        pushed = renewed(self._lock.pushed, references or {}, self._recipe.spec.name)
        self._staged = Staged(self._recipe.lock_path, replace(self._lock, images=locked, pushed=pushed))

    @property
    def staged(self) -> Lock | None:
        """The lock that is about to be put in its place; None where it would say what it says already."""
        return self._staged.lock if self._staged and self._staged.is_new else None

    def commit(self, done: Done) -> None:
        """Puts the new lock in its place, and notes that in ``done``; what was pushed has its tags by then."""
        if self._staged:
            self._staged.commit(done, _TAGGED if self._pushed else NOTHING)

    def __exit__(self, *failure: object) -> None:
        if self._staged:
            self._staged.__exit__()

    def _locked(self, image: Image, sealing: Sealing) -> LockedImage:
        sealed = sealing.images[image.platform]
        above = [layer for layer in image.layers if layer.blob.origin is None]
        layers = tuple(LockedLayer(one.blob.key, one.blob.digest, one.blob.size) for one in above if one.blob.digest)
        return LockedImage(
            self._engine.name,
            tar.PACKING,
            self._plan.digest,
            sealed.manifest.document.descriptor(),
            sealed.manifest.config.digest,
            layers,
            {"recipe": self._lock.recipe, "template": template_of(self._recipe.kind)}
            | made.inputs(self._recipe, self._lock.pins),
        )


Approve = Callable[[Mapping[str, Digest]], None]
"""Looks at an image that is in its registries and has no tag yet, by what each name will be on; raises where it must not."""


class Approved:
    """A record that somebody approves of before it is staged: what is not approved gets no tag, and no lock."""

    def __init__(self, record: Record, approve: Approve) -> None:
        self._record = record
        self._approve: Approve | None = approve

    def expect(self, images: Sequence[Image], references: Sequence[str] = ()) -> None:
        """As the record does."""
        self._record.expect(images, references)

    def named(self, key: str) -> str:
        """As the record does."""
        return self._record.named(key)

    def placed(self, images: Sequence[Image]) -> Sequence[Image]:
        """As the record does."""
        return self._record.placed(images)

    def stage(self, sealing: Sealing, images: Sequence[Image], references: Mapping[str, Digest] | None = None) -> None:
        """Asks once: a registry that fails later changes nothing in the image."""
        if self._approve:
            self._approve(references or {})
            self._approve = None
        self._record.stage(sealing, images, references)


def renewed(before: Mapping[str, Digest], references: Mapping[str, Digest], image: str) -> dict[str, Digest]:
    """What was pushed: a repository that was pushed to has the new names alone, and one of another image's name has none.

    The tags that it had before, of another commit or day, are on older images, and a lock would grow with every night.
    Where a recipe calls its ``image`` something else by now, what was pushed under the old name is nobody's any more.
    """
    if not references:
        return dict(before)
    repositories = {Reference.parse(name).name for name in references}

    def stays(repository: str) -> bool:
        return repository.endswith(f"/{image}") and repository not in repositories

    return {name: digest for name, digest in before.items() if stays(Reference.parse(name).name)} | dict(references)


def refuse_another_image(images: Sequence[Image], lock: Lock, plan: Plan, engine: Engine, where: str) -> None:
    """Raises Drifted where this machine makes another image of the plan than the lock has.

    Recipe, pins and plan are the same by then: what differs is a program that makes the layers, such as a Python that
    compiles, a package manager, or the engine itself.
    """
    others = [problem for image in images for problem in _otherwise(image, lock, plan, engine)]
    if others:
        engines = {engine.name, *(locked.engine for locked in lock.images.values())}
        made = {problem.where for problem in others} - {_CONFIG}
        hint = _PROGRAM if made and engines == {"embedded"} else _BUILT
        raise Drifted(f"{where} promises another image", others, hint=hint)


_CONFIG = "the config"
_PROGRAM = "bring the program that the warning above names, or leave --locked out to make another image"
_BUILT = "leave --locked out to make another image, or run 'modelpack push' where the lock's image was built"


def _otherwise(image: Image, lock: Lock, plan: Plan, engine: Engine) -> Iterator[Problem]:
    """In what an image differs from the one that the lock has of the same plan."""
    locked = lock.images.get(image.platform)
    if locked is None or locked.plan != plan.digest or _is_packed_otherwise(locked, engine):
        return
    if locked.engine != engine.name:
        what = f"is {engine.name}, and {locked.engine} built the image of the lock ({image.platform})"
        yield Problem("the engine", what, f"use --engine {locked.engine}")
        return
    own = [layer.blob for layer in image.layers if layer.blob.origin is None]
    titles = [blob.title for blob in own if blob.key not in lock.layers]
    if not titles and image.is_known and image.seal().manifest.document.digest != locked.manifest.digest:
        titles = [_CONFIG]
    for title in titles:
        yield Problem(title, f"is made otherwise on this machine than for the lock ({image.platform})")


def _is_packed_otherwise(locked: LockedImage, engine: Engine) -> bool:
    """Whether the embedded engine packs layers otherwise by now; others pack by themselves."""
    return engine.name == "embedded" and locked.packing != tar.PACKING


def recall(plan: Plan, platform: Platform, lock: Lock, engine: Engine, context: Context) -> Image:
    """The image that the lock says was built for a platform; raises InvalidInput where it is another or not there."""
    locked = lock.images.get(platform)
    if locked is None or locked.plan != plan.digest or _is_packed_otherwise(locked, engine):
        raise InvalidInput(f"{plan.name} changed since it was built for {platform}", hint="run 'modelpack build' again")
    image = engine.recall(plan, platform, locked.manifest.digest, context)
    known = image.knowing(lock.layers) if image else None
    if known is None or not known.is_known or known.seal().manifest.document.digest != locked.manifest.digest:
        raise InvalidInput(
            f"what {engine.name} built for {platform} is not on this machine any more",
            hint="run 'modelpack build' again",
        )
    return known
