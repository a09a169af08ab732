"""Looks at an image that lies in its registries and has no tag yet: its targets' rules, and the run that its targets make.

What is refused here is never tagged, so that nobody who pulls by tag gets it; the old image stays what the tags serve.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from buildkit.amounts import human
from buildkit.checks.examine import Examined
from buildkit.checks.rule import Judged
from buildkit.errors import EngineFailed
from buildkit.events import Emit, Event, Warned
from buildkit.judging.images import check_image
from buildkit.judging.judged import refuse
from buildkit.machine.parallel import Stop
from buildkit.oci.reference import Digest, Reference
from buildkit.probe.command_line import engine_named
from buildkit.probe.session import Patience
from buildkit.recipe import Recipe
from buildkit.verifying.verify import Chosen, verify_pushed
from buildkit.world import World

LARGEST_RUN = 10 * 1000**3
"""Bytes of an image's layers up to which it is pulled to be run: a machine that rebuilds a fleet has no room for more."""
_REMOVING_SECONDS = 60.0
"""How long an interrupted rebuild waits for an engine to remove its containers: a request in flight ends before."""


class Looking:
    """Looks at the images of a fleet, several at a time; the containers that it starts end with it."""

    def __init__(self) -> None:
        self._stop = Stop()
        self._changed = threading.Condition()
        self._running = 0

    def __call__(self, recipe: Recipe, world: World, references: Mapping[str, Digest]) -> None:
        """Raises CheckFailed where a target of the recipe would refuse the image; ``references`` are the tags to come."""
        if not recipe.spec.targets or not references:
            return
        tagged, digest = next(iter(references.items()))
        name = f"{Reference.parse(tagged).name}@{digest}"
        found, examined = check_image(name, world, (), recipe=recipe, known_as=tagged)
        hint = f"it got no tag; 'modelpack verify {name}' tells more; waive a rule in the recipe with its reason"
        refuse(found, name, hint)
        refuse(self._ran(recipe, world, name, examined), name, hint)

    def _ran(self, recipe: Recipe, world: World, name: str, examined: Examined) -> list[Judged]:
        if examined.size > LARGEST_RUN:
            why = f"it has {human(examined.size)}, and only what has {human(LARGEST_RUN)} is run in a rebuild"
            world.emit(Warned(f"{recipe.spec.name} is not run: {why}", hint=f"run: modelpack verify {name}"))
            return []
        try:
            choice = Chosen(patience=Patience(fast=True, sleep=self._stop.wait))
            watched = replace(world, emit=self._unless_stopped(world.emit))
            with self._counted():
                return [one.judged for one in verify_pushed(name, recipe, watched, engine_named(None), choice)]
        except EngineFailed as failure:
            world.emit(Warned(f"{recipe.spec.name} is not run as its targets do: {failure.what}", hint=failure.hint))
            return []

    def _unless_stopped(self, emit: Emit) -> Emit:
        """Raises Stopped where the next container would be started: each of them is told of first."""

        def told(event: Event) -> None:
            self._stop.check()
            emit(event)

        return told

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._changed:
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def close(self) -> None:
        """Stops what still runs, as when a rebuild is interrupted, and waits until its containers are removed."""
        self._stop.ask()
        with self._changed:
            self._changed.wait_for(lambda: self._running == 0, _REMOVING_SECONDS)


@contextmanager
def looking() -> Iterator[Looking]:
    """A Looking for the time of a block."""
    looking = Looking()
    try:
        yield looking
    finally:
        looking.close()
