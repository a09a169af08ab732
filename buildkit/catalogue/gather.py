"""Everything that the catalogue tells, gathered from recipes, locks, git, and, where it may be asked, the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from buildkit.card import Card
from buildkit.catalogue.entry import Entry, Model, Part, Verdict
from buildkit.catalogue.history import history
from buildkit.checks.rule import Judged, Severity
from buildkit.errors import ModelpackError
from buildkit.fleet.state import State
from buildkit.fleet.status import JOBS, fleet
from buildkit.judging.recipes import check_recipe
from buildkit.lockfile import lock as locks
from buildkit.lockfile.lock import Lock, LockedImage
from buildkit.lockfile.made import newer
from buildkit.lockfile.served import served_digest
from buildkit.machine.parallel import Stop, each
from buildkit.oci.manifest import Manifest
from buildkit.oci.reference import Reference
from buildkit.pin import Inventory
from buildkit.recipe import Recipe
from buildkit.settings_file import ENDPOINT
from buildkit.spec import SourceRef
from buildkit.world import World

Open = Callable[[Path], tuple[Recipe, World]]


def gather(paths: Sequence[Path], opened: Open, *, ask: bool) -> list[Entry]:
    """An entry for every recipe, in order; one that cannot be read has a problem. Without ``ask`` nobody is asked."""
    states = {state.path: state for state in fleet(paths, opened, ())} if ask else {}

    def one(path: Path) -> Entry:
        try:
            recipe, world = opened(path)
            return _entry(recipe, world, states.get(str(recipe.path)), ask=ask)
        except ModelpackError as error:
            return Entry(path.parent.name or path.stem, str(path), problem=str(error))

    return each(paths, one, JOBS, Stop())


def _entry(recipe: Recipe, world: World, state: State | None, *, ask: bool) -> Entry:
    spec, lock = recipe.spec, locks.read(recipe.lock_path)
    base = lock.pins.images.get("base") if lock else None
    image = next(iter(lock.images.values()), None) if lock else None
    return Entry(
        name=spec.name,
        path=str(recipe.path),
        kind=recipe.kind.name,
        description=spec.labels.get("org.opencontainers.image.description", ""),
        references=tuple(lock.pushed) if lock else (),
        digest=served_digest(lock) if lock else "",
        platforms=tuple(spec.platforms),
        base=str(base.reference) if base else "",
        models=tuple(_models(recipe, lock, world, ask=ask)),
        parts=tuple(_parts(lock, image, world, ask=ask)),
        verdicts=tuple(_verdicts(recipe, world)) if ask else (),
        history=history(recipe.lock_path),
        labels=spec.labels,
        drift=_drift(state),
        newer=newer(recipe, lock) if lock else (),
    )


def _models(recipe: Recipe, lock: Lock | None, world: World, *, ask: bool) -> Iterator[Model]:
    for key, reference in recipe.spec.sources():
        inventory = lock.pins.sources.get(key) if lock else None
        if inventory:
            size, link, named = inventory.size, _link(inventory), inventory.name or key
            card, problem = _card(reference, inventory, world) if ask else (None, "")
            files = len(inventory.files)
            yield Model(key, inventory.type, named, inventory.commit, files, size, card, link, problem)


def _card(reference: SourceRef, inventory: Inventory, world: World) -> tuple[Card | None, str]:
    """A model's card, else why it is not known: a hub that fails is not a model without a license."""
    try:
        return world.card(reference, inventory), ""
    except ModelpackError as error:
        return None, str(error)


def _link(inventory: Inventory) -> str:
    return f"{ENDPOINT}/{inventory.name}/tree/{inventory.commit}" if inventory.type == "huggingface" else ""


def _parts(lock: Lock | None, image: LockedImage | None, world: World, *, ask: bool) -> Iterator[Part]:
    """The layers as the registry has them, the base's included; only those above the base where nobody is asked."""
    if image is None or lock is None:
        return
    own = {str(layer.digest) for layer in image.layers}
    manifest = _served(lock, image, world) if ask else None
    if manifest:
        for layer in manifest.layers:
            title = layer.annotations.get("build.modelpack.layer.title", "")
            is_base = not title and str(layer.digest) not in own
            yield Part("base" if is_base else title or "layer", layer.size, str(layer.digest), is_base)
    else:
        yield from (
            Part(f"layer {number}", layer.size, str(layer.digest)) for number, layer in enumerate(image.layers, 1)
        )


def _served(lock: Lock, image: LockedImage, world: World) -> Manifest | None:
    for name in lock.pushed:
        reference = Reference.parse(name)
        try:
            document = world.repository(reference).resolve(image.manifest.digest)
        except ModelpackError:
            continue
        if document:
            return Manifest.read(document)
    return None


def _verdicts(recipe: Recipe, world: World) -> Iterator[Verdict]:
    for use in recipe.spec.targets:
        try:
            yield from map(_verdict, check_recipe(recipe, world, [use.name]))
        except ModelpackError as error:
            yield Verdict(use.name, problem=error.what)


def _verdict(judged: Judged) -> Verdict:
    def told(severity: Severity) -> tuple[str, ...]:
        found = [one for one in judged.findings if one.severity is severity and not one.waived]
        return tuple(dict.fromkeys(f"{one.rule.id}: {one.what}" for one in found))

    return Verdict(judged.target, told(Severity.ERROR), told(Severity.WARNING))


def _drift(state: State | None) -> tuple[str, ...] | None:
    if state is None or (state.problems and not state.changes):
        return None
    return tuple(dict.fromkeys(f"{one.reason}: {one.what}" if one.what else one.reason for one in state.changes))
