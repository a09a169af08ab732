"""Verification: an image is brought to an engine, run as each target runs it, and asked what the target asks."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from buildkit import flow
from buildkit.checks.examine import chosen
from buildkit.delivery.deliver import export
from buildkit.delivery.destination import Wish
from buildkit.delivery.output import Output
from buildkit.errors import EngineFailed, InvalidInput, ModelpackError
from buildkit.events import Said
from buildkit.judging.chosen import chosen_targets, waivers
from buildkit.lockfile import lock as locks
from buildkit.lockfile.served import current
from buildkit.machine.cache import cache_folder
from buildkit.oci.layout import Layout
from buildkit.oci.manifest import Manifest
from buildkit.oci.reference import Reference
from buildkit.opening import ON_THIS_DISK, open_image
from buildkit.policy import asked as asked_by
from buildkit.probe.asked import Asked, samples_of
from buildkit.probe.containers import Engine, Served
from buildkit.probe.session import Patience, Probe, Session
from buildkit.recipe import Recipe
from buildkit.target_settings import TargetSettings
from buildkit.targets import Target, load
from buildkit.verifying.report import Report, report_of
from buildkit.world import World


@dataclass(frozen=True)
class Chosen:
    """What a person chose on the command line beside the image: it wins over what the recipe says of the target."""

    targets: tuple[str, ...] = ()
    artifact: Path | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    passed: tuple[str, ...] = ()
    patience: Patience = field(default_factory=Patience)


@dataclass(frozen=True)
class Obtained:
    """An image that an engine has: its name there, what a person calls it, and where its blobs lie, if that is known."""

    name: str
    image: str
    served: Served | None


def verify(image: str, recipe: Recipe | None, world: World, engine: Engine, choice: Chosen) -> tuple[Report, ...]:
    """Runs the image for every chosen target, else for those of its recipe; containers never stay.

    Raises InvalidInput where there is no image or no target, and EngineFailed.
    """
    plans, waived = chosen_targets(recipe, choice.targets, choice.changes), waivers(recipe)
    with obtained(image, recipe, world, engine) as got:
        return _reports(got, recipe, world, engine, choice, plans, waived)


def verify_pushed(image: str, recipe: Recipe, world: World, engine: Engine, choice: Chosen) -> tuple[Report, ...]:
    """The same for an image of a recipe that lies in a registry, whatever the lock says; it is not left in the engine."""
    plans, waived = chosen_targets(recipe, choice.targets, choice.changes), waivers(recipe)
    got = _pulled(image, world, engine)
    try:
        return _reports(got, recipe, world, engine, choice, plans, waived)
    finally:
        engine.forget(got.image)


def _reports(
    got: Obtained,
    recipe: Recipe | None,
    world: World,
    engine: Engine,
    choice: Chosen,
    plans: Sequence[tuple[Target, TargetSettings]],
    waived: Mapping[str, str],
) -> tuple[Report, ...]:
    reports = []
    for target, settings in plans:
        session = Session(engine, got.image, got.served, choice.patience, world.emit, choice.passed)
        with asked(settings, recipe, choice) as wanted:
            probes: Sequence[Probe] = load(target.running)(wanted)
            outcomes = [outcome for probe in probes for outcome in probe.outcomes(session)]
        reports.append(report_of(target, got.name, engine.name, outcomes, session.logs, waived))
    return tuple(reports)


@contextmanager
def asked(settings: TargetSettings, recipe: Recipe | None, choice: Chosen) -> Iterator[Asked]:
    """What is asked under these settings, with an empty folder where there is no artefact."""
    folder = recipe.folder if recipe else Path.cwd()
    named = getattr(settings, "artifact", None)
    artifact = choice.artifact or (folder / named if named else None)
    if artifact is not None and not artifact.is_dir():
        raise InvalidInput(f"there is no artefact folder {artifact}", hint="name a folder: --artifact DIR")
    with tempfile.TemporaryDirectory(prefix="modelpack-") as empty:
        Path(empty).chmod(0o755)
        yield Asked(settings, (artifact or Path(empty)).resolve(), samples_of(settings, folder))


@contextmanager
def obtained(image: str, recipe: Recipe | None, world: World, engine: Engine) -> Iterator[Obtained]:
    """The image in the engine: pulled as a platform would, or loaded, and then removed from the engine again."""
    if recipe is not None:
        pushed = pushed_reference(recipe, world)
        if pushed:
            yield _pulled(pushed, world, engine)
            return
        with _built(recipe, world) as layout, _loaded(layout, recipe.spec.name, world, engine) as got:
            yield got
    elif image.partition(":")[0] in ON_THIS_DISK:
        with _loaded(image, image, world, engine) as got:
            yield got
    else:
        yield _pulled(image, world, engine)


def pushed_reference(recipe: Recipe, world: World) -> str | None:
    """The name with its digest under which the lock says that this very recipe was pushed; raises RegistryFailed."""
    lock = locks.read(recipe.lock_path)
    if lock is None or lock.recipe != recipe.digest or lock.asked != asked_by(recipe):
        return None
    return next((f"{name}@{digest}" for name, digest in current(recipe, lock, world).items()), None)


@contextmanager
def _built(recipe: Recipe, world: World) -> Iterator[str]:
    """The image in a layout that is gone afterwards; the lock is not touched."""
    made = flow.make(recipe, world, flow.Wanted())
    cache_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="verify-", dir=cache_folder(), ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "layout"
        export(made.images, Output("oci", path), Wish(recipe.spec.name, ("verify",)), world)
        yield f"oci:{path}"


@contextmanager
def _loaded(image: str, name: str, world: World, engine: Engine) -> Iterator[Obtained]:
    served = _served(image, world)
    world.emit(Said(f"{engine.name}: loading {name}"))
    loaded = engine.load(served)
    try:
        yield Obtained(name, loaded, served)
    finally:
        engine.forget(loaded)


def _served(image: str, world: World) -> Served:
    opened = open_image(image, world)
    store = opened.store
    document = chosen(opened.document(), store, None, image)
    return Served(store, Manifest.read(document), store.folder if isinstance(store, Layout) else None)


def _pulled(image: str, world: World, engine: Engine) -> Obtained:
    """From its registry by digest; an image that only the engine has, as after ``podman build``, is taken from there."""
    local = engine.find(image)
    if local and (image.startswith("localhost/") or "/" not in image):
        return Obtained(image, local, None)
    try:
        served = _served(image, world)
        named = world.settings.located(Reference.parse(image))
        pinned = f"{named.name}@{served.manifest.document.digest}"
        world.emit(Said(f"{engine.name}: pulling {pinned}"))
        return Obtained(
            f"{image.partition('@')[0]}@{served.manifest.document.digest}",
            engine.pull(pinned, plain_http=world.settings.plain_http(named.host)),
            served,
        )
    except ModelpackError as error:
        if local is None:
            raise
        what = error.what if not isinstance(error, EngineFailed) else f"{engine.name} could not pull it"
        world.emit(Said(f"{engine.name}: {what}; the image of that name that it has is taken"))
        return Obtained(image, local, None)
