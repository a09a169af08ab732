"""The status of a fleet: the locks against the recipes, the hubs, the registries and this modelpack, and nothing changed.

It relies on what every kind has: the digest of the recipe, the pins, the plan's digest, and what a registry serves. An
image is compared with what *it* was made from, not with the lock's pins: a lock that was upgraded in a pull request has
newer pins than the image that it names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from buildkit.adapting import planned
from buildkit.engines.embedded import Embedded
from buildkit.errors import ModelpackError
from buildkit.fleet.asking import Questions
from buildkit.fleet.clashes import clashes, references_of
from buildkit.fleet.places import missing, targets
from buildkit.fleet.state import Change, Reason, State, Target, Weight
from buildkit.fleet.weigh import weigh
from buildkit.kinds import template_of
from buildkit.lockfile import lock as locks
from buildkit.lockfile import made
from buildkit.lockfile.lock import Lock
from buildkit.lockfile.served import digest_of
from buildkit.machine.parallel import Stop, each
from buildkit.oci import tar
from buildkit.oci.reference import Digest
from buildkit.pin import ImagePin, Inventory, Pins
from buildkit.plan import Plan
from buildkit.policy import asked, in_same_words
from buildkit.recipe import Recipe
from buildkit.spec import FolderRef
from buildkit.world import World

JOBS = 16
"""Images that are asked for at the same time: hubs and registries answer 429 to much more, which is heeded."""

Open = Callable[[Path], tuple[Recipe, World]]


def fleet(
    paths: Sequence[Path], opened: Open, registries: Sequence[str], *, force: bool = False, jobs: int = JOBS
) -> list[State]:
    """The state of every recipe, in order. What cannot be read or asked is in the state's problems and ends nothing.

    Neither does what two recipes would both tag: it is a problem of both.
    """
    questions, stop = Questions(), Stop()

    def ask(path: Path) -> State:
        try:
            recipe, world = opened(path)
        except ModelpackError as error:
            return State(path.stem, str(path), problems=(error,))
        return state_of(recipe, world, questions, registries, force=force)

    states = each(paths, ask, jobs, stop)
    wrong = clashes({state.recipe.path: state.references for state in states if state.recipe})
    return [
        replace(state, problems=(*state.problems, wrong[state.recipe.path]))
        if state.recipe and state.recipe.path in wrong
        else state
        for state in states
    ]


def state_of(
    recipe: Recipe, world: World, questions: Questions, registries: Sequence[str], *, force: bool = False
) -> State:
    """What moved under one image. Raises nothing that a hub, a registry or a file may answer."""
    unanswered = _Unanswered()
    state = State(recipe.spec.name, str(recipe.path), recipe)
    with unanswered:
        state = replace(state, lock=locks.read(recipe.lock_path))
    if unanswered.problems:
        return replace(state, problems=tuple(unanswered.problems))
    lock = state.lock
    with unanswered:
        state = replace(state, targets=targets(recipe, lock, world.settings, registries))
    now = _now(recipe, lock, world, questions, unanswered)
    with unanswered:
        state = replace(state, references=references_of(recipe, None if unanswered.problems else now, state.targets))
    changes = [Change("forced", "", detail="a rebuild was asked for")] if force else []
    changes += _changes(recipe, lock, now, unanswered)
    if lock and lock.images:
        found, served = _served(recipe, lock, state.targets, world, unanswered)
        changes, state = [*changes, *found], replace(state, served=served)
    weight = Weight()
    if changes and not unanswered.problems:
        with unanswered:
            plan = planned(recipe, now)
            state = replace(state, engine=_engine(lock, plan))
            weight = weigh(recipe, lock, plan, state.targets, world, questions)
    return replace(state, changes=tuple(changes), weight=weight, problems=tuple(unanswered.problems))


@dataclass
class _Unanswered:
    """A context manager that keeps what a question failed with, so that the others are asked all the same."""

    problems: list[ModelpackError] = field(default_factory=list)

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: object, traceback: object) -> bool:
        if isinstance(error, ModelpackError):
            self.problems.append(error)
            return True
        return False


def _now(recipe: Recipe, lock: Lock | None, world: World, questions: Questions, unanswered: _Unanswered) -> Pins:
    """What every input means now, in the lock's own words where no file of it moved."""
    kept = in_same_words(recipe, lock)
    platforms = sorted(recipe.spec.platforms_parsed)
    images: dict[str, ImagePin] = {}
    for key, reference in recipe.spec.images():
        if key in recipe.spec.builder_images:
            # What only builds is in no image: its moving is no drift.
            images |= {key: kept.images[key]} if key in kept.images else {}
            continue
        with unanswered:
            images[key] = questions.image(reference, platforms, kept.images.get(key), world)
    sources: dict[str, Inventory] = {}
    for key, source in recipe.spec.sources():
        locked = kept.sources.get(key)
        with unanswered:
            found = questions.source(source, recipe, None if isinstance(source, FolderRef) else locked, world)
            sources[key] = locked if locked and locked.fingerprint == found.fingerprint else found
    return Pins(images, sources, lock.pins.max_layer_size if lock else None)


def _changes(recipe: Recipe, lock: Lock | None, now: Pins, unanswered: _Unanswered) -> list[Change]:
    if lock is None or not lock.images:
        where = "there is no lock" if lock is None else "it is locked and was never built"
        return [Change("new", "", detail=where)]
    changes = [*_recipe(recipe, lock), *_inputs(recipe, lock, now), *tool_changes(recipe, lock)]
    if not changes and not unanswered.problems:
        with unanswered:
            changes += _planned(recipe, lock, now)
    return changes


def _recipe(recipe: Recipe, lock: Lock) -> Iterator[Change]:
    old = made.other(lock, "recipe", recipe.digest, lock.recipe)
    if old is not None:
        before, after = lock.asked, asked(recipe)
        words = [key for key in sorted(after) if before.get(key) != after[key]]
        yield Change("recipe", recipe.path.name, old, recipe.digest, f"also {', '.join(words)}" if words else "")


def _inputs(recipe: Recipe, lock: Lock, now: Pins) -> Iterator[Change]:
    """Inputs that the recipe asks for in the same words, and that mean something else than what the image was made from."""
    before, after = lock.asked, asked(recipe)
    same = {key for key in after if before.get(key) == after[key]}
    for key in sorted(same & set(now.images) - recipe.spec.builder_images):
        locked, new = lock.pins.images.get(key), now.images[key].reference
        old = made.other(lock, key, new.digest, locked.reference.digest if locked else None)
        if old is not None:
            yield Change("base", key, f"{new.name}:{new.tag}@{old}" if new.tag else f"{new.name}@{old}", str(new))
    for key in sorted(same & set(now.sources)):
        pinned, source = lock.pins.sources.get(key), now.sources[key]
        old = made.other(lock, key, source.fingerprint, pinned.fingerprint if pinned else None)
        if old is not None:
            reason: Reason = "python" if key in recipe.spec.python_inputs else "source"
            yield source_change(reason, key, old, pinned, source)


def source_change(reason: Reason, key: str, old: Digest, locked: Inventory | None, now: Inventory) -> Change:
    """How a source moved: the commits, or the fingerprints where there are none, and the files."""
    if locked is None or locked.fingerprint != old:
        return Change(reason, key, old, now.commit or now.fingerprint, "locked, and not built yet")
    before = {file.path: file.proof for file in locked.files}
    after = {file.path: file.proof for file in now.files}
    moved = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    shown = ", ".join(moved[:3]) + (f" and {len(moved) - 3} more" if len(moved) > 3 else "")
    return Change(reason, key, locked.commit or old, now.commit or now.fingerprint, shown)


def tool_changes(recipe: Recipe, lock: Lock) -> Iterator[Change]:
    """The embedded engine packs, the others build a template: only what made the image counts."""
    embedded = {image.packing for image in lock.images.values() if image.engine == "embedded"}
    for packing in sorted(embedded - {tar.PACKING}):
        yield Change("tool", "packing", packing, tar.PACKING, "layers are packed differently")
    template = template_of(recipe.kind)
    for old in made.templates(lock, template):
        yield Change("tool", "template", old, template, "the Containerfile is rendered from another template")


def _planned(recipe: Recipe, lock: Lock, now: Pins) -> Iterator[Change]:
    """Nothing else moved, and still another image is planned: the kind itself plans differently."""
    plan = planned(recipe, now).digest
    for platform, image in lock.images.items():
        if image.plan != plan and str(platform) in recipe.spec.platforms:
            yield Change("tool", "plan", image.plan, plan, f"{recipe.kind.name} plans it differently")
            return


def _engine(lock: Lock | None, plan: Plan) -> str:
    built = next((image.engine for image in lock.images.values()), "") if lock else ""
    return built or ("auto" if Embedded().lacks(plan) else Embedded.name)


def _served(
    recipe: Recipe, lock: Lock, places: Sequence[Target], world: World, unanswered: _Unanswered
) -> tuple[list[Change], dict[str, Digest]]:
    """What the registries lost, and what they serve."""
    found: list[Change] = []
    served: dict[str, Digest] = {}
    digest = digest_of(recipe, lock)
    for place in places if digest else ():
        assert digest
        with unanswered:
            for reference, there, change in missing(recipe, lock, place, world, digest):
                found += [change] if change else []
                served |= {reference: there} if there and not change else {}
    return found, served
