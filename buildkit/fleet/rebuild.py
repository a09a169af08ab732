"""Brings every image that needs it up to date: each by itself, so that none can keep another from being done.

It may be killed at any moment. Until a tag moves nothing is visible; the lock is moved into place after the tags; and what
was sent before is recognised by its digest, from the registry or this machine's cache. So the next run asks again what
moved, sends what is not there yet, and finds images that were tagged but not locked to be the very ones it would push.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from buildkit import flow
from buildkit.alone import alone
from buildkit.delivery.push import Delivered
from buildkit.errors import InvalidInput, ModelpackError, RegistryFailed
from buildkit.events import Began, Emit, Ended, Event, Moved
from buildkit.fleet.asking import Questions
from buildkit.fleet.state import INPUTS, State
from buildkit.fleet.status import state_of
from buildkit.lockfile import lock as locks
from buildkit.machine.parallel import Stop, Stopped, each
from buildkit.oci.manifest import INDEXES, Index, Manifest
from buildkit.oci.reference import Digest, Reference
from buildkit.oci.several import together
from buildkit.policy import Policy
from buildkit.recipe import Recipe
from buildkit.registries.client import Repository
from buildkit.world import World

Outcome = Literal["rebuilt", "current", "elsewhere", "failed"]
Check = Callable[[Recipe, World], None]
"""Looks at a recipe before it is built and raises ModelpackError where it must not be: then it is not built, and told."""
Look = Callable[[Recipe, World, Mapping[str, Digest]], None]
"""Looks at an image that lies in its registries without its tags, and raises ModelpackError where it must not get them."""
JOBS = 2
"""Images that are built at the same time; each moves several layers at once."""


@dataclass(frozen=True)
class Wish:
    """What a rebuild is asked for. ``engine`` "" is the one that built an image last; ``verify`` asks for every blob afterwards.

    ``look`` is shown every image before its tags move.
    """

    registries: tuple[str, ...] = ()
    engine: str = ""
    builder: str = ""
    verify: bool = False
    jobs: int = JOBS
    look: Look | None = None


@dataclass(frozen=True)
class Rebuilt:
    """What became of an image. ``elsewhere``: another run brought it up to date while this one waited for its turn.

    ``references`` are ``name:tag@sha256:...``, every tag that serves it now; some may where a registry ``failed``.
    ``sent`` are the bytes of the layers that had to move, each counted once however many registries took it.
    """

    state: State
    outcome: Outcome
    references: tuple[str, ...] = ()
    digest: Digest | None = None
    sent: int = 0
    error: ModelpackError | None = None


def no_check(recipe: Recipe, world: World) -> None:
    """Lets every recipe be built."""


def rebuild(
    states: Sequence[State],
    world_of: Callable[[State], World],
    wish: Wish,
    check: Check = no_check,
    told: Callable[[Rebuilt], None] = lambda rebuilt: None,
) -> list[Rebuilt]:
    """Rebuilds what moved and returns what became of every state, in order; ``told`` hears of each as soon as it is over.

    What could not be asked is not rebuilt: nobody knows what it should be.
    """
    stop = Stop()

    def one(state: State) -> Rebuilt:
        done = _one(state, world_of, wish, check, stop)
        told(done)
        return done

    return each(states, one, wish.jobs, stop)


def _one(state: State, world_of: Callable[[State], World], wish: Wish, check: Check, stop: Stop) -> Rebuilt:
    if state.problems or state.recipe is None:
        return Rebuilt(state, "failed", error=state.problems[0] if state.problems else None)
    if not state.changes:
        return Rebuilt(state, "current")
    try:
        world = world_of(state)
        counted = _Counted(world.emit, state.name)
        return _in_turn(state, state.recipe, replace(world, emit=counted.emit), wish, check, stop, counted)
    except ModelpackError as error:
        return Rebuilt(state, "failed", error=error)
    except Stopped:
        stop.check()
        # Somebody stopped this image alone: its own failure, in another of its threads.
        return Rebuilt(state, "failed", error=RegistryFailed(f"{state.name} was stopped", hint="run it again"))


def _in_turn(
    state: State, recipe: Recipe, world: World, wish: Wish, check: Check, stop: Stop, counted: _Counted
) -> Rebuilt:
    with alone(recipe, world, stop.wait):
        if locks.read(recipe.lock_path) != state.lock:
            forced = state.reasons == ("forced",)
            again = state_of(recipe, world, Questions(), wish.registries)
            if forced or (not again.changes and not again.problems):
                return Rebuilt(again, "elsewhere")
            state = again
        if state.problems:
            return Rebuilt(state, "failed", error=state.problems[0])
        check(recipe, world)
        return _brought(state, recipe, world, wish, counted)


def _brought(state: State, recipe: Recipe, world: World, wish: Wish, counted: _Counted) -> Rebuilt:
    """Builds once and pushes to every registry at once, so that a model is read once however many there are."""
    if not state.targets:
        hint = "name a registry: --registry R; or describe the only one in modelpack.yaml"
        raise InvalidInput(f"{state.name} was never pushed, so that it is not known where it goes", hint=hint)
    policy = Policy.UPGRADE if INPUTS & set(state.reasons) else Policy.KEEP
    engine = wish.engine or state.engine
    # A builder is for what buildx builds; a fleet has images that need none, too.
    builder = "" if engine in ("embedded", "podman") else wish.builder
    first, *also = (target.registry for target in state.targets)
    wanted = flow.Wanted(engine, policy, first, also=tuple(also), builder=builder)
    delivered = flow.build(recipe, world, wanted, partial(wish.look, recipe, world) if wish.look else None)
    if wish.verify:
        _verify(delivered, world)
    references = tuple(f"{name}@{delivered.digest_of(name)}" for name in delivered.references)
    error = together(delivered.failed) if delivered.failed else None
    outcome: Outcome = "failed" if error else "rebuilt"
    return Rebuilt(state, outcome, references, delivered.sealing.digest, counted.sent, error)


def _verify(delivered: Delivered, world: World) -> None:
    """Asks the registries for every manifest and blob that they took; raises RegistryFailed with the first that is lost."""
    asked: set[tuple[str, Digest]] = set()
    for text in delivered.references:
        reference, digest = Reference.parse(text), delivered.digest_of(text)
        store = world.repository(reference)
        if store.digest(reference.tag or "") != digest:
            raise RegistryFailed(f"{text} does not serve {digest}", hint=_AGAIN)
        if (reference.name, digest) not in asked:
            asked.add((reference.name, digest))
            _verify_whole(text, digest, store)


def _verify_whole(text: str, digest: Digest, store: Repository) -> None:
    document = store.resolve(digest)
    children = Index.read(document).manifests if document and document.media_type in INDEXES else ()
    for found in [store.resolve(one.digest) for one in children] or [document]:
        if found is None:
            raise RegistryFailed(f"{text} lacks a manifest", hint=_AGAIN)
        manifest = Manifest.read(found)
        lost = next((one.digest for one in (manifest.config, *manifest.layers) if not store.has(one.digest)), None)
        if lost:
            raise RegistryFailed(f"{text} lacks {lost}", hint=_AGAIN)


_AGAIN = "run the rebuild again"


class _Counted:
    """Names the image in its progress, since several move at once, and counts the bytes that were sent for it."""

    def __init__(self, emit: Emit, name: str) -> None:
        self._emit = emit
        self._name = name
        self._sizes: dict[str, int] = {}
        self.sent = 0

    def emit(self, event: Event) -> None:
        """Takes one event."""
        match event:
            case Began(key, label, total):
                self._sizes[key] = total or 0
                event = Began(f"{self._name} {key}", f"{self._name}: {label}", total)
            case Moved(key, amount):
                event = Moved(f"{self._name} {key}", amount)
            case Ended(key, outcome):
                self.sent += self._sizes.pop(key, 0) if outcome == "sent" else 0
                event = Ended(f"{self._name} {key}", outcome)
            case _:
                pass
        self._emit(event)
