"""One recipe, one run at a time on a machine: who comes second finds everything done, instead of sending it all again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from buildkit.events import Said
from buildkit.machine.cache import cache_folder
from buildkit.machine.turn import turn
from buildkit.oci.reference import Digest
from buildkit.recipe import Recipe
from buildkit.world import World


@contextmanager
def alone(recipe: Recipe, world: World, wait: Callable[[float], None] | None = None) -> Iterator[None]:
    """Waits until no other process is at work on the recipe, and says so; ``wait`` takes seconds."""
    # One file for each recipe, wherever it is named from. It stays: to remove it would let two runs in.
    place = cache_folder() / "turns" / Digest.of(os.fsencode(recipe.path.resolve())).hex

    def waiting() -> None:
        world.emit(Said(f"{recipe.spec.name}: another modelpack is at work on it; waiting for it to end"))

    with turn(place, wait or world.stop.wait, waiting):
        yield
