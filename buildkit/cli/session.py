"""What one run of a command shares: progress, settings per folder, connections, and one stop for everything."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from buildkit.cli.render import progress
from buildkit.done import Done
from buildkit.events import Emit

if TYPE_CHECKING:
    from buildkit.recipe import Recipe
    from buildkit.settings import Settings
    from buildkit.world import World


DONE = Done()
"""What this process has done that others see."""
_GRACE_SECONDS = 0.5
"""How long a registry is waited for when a command is interrupted."""


class Session:
    """Opens recipes, each read once and with the world that its folder's settings describe."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._recipes: dict[Path, Recipe] = {}
        self._settings: dict[Path, Settings] = {}
        self._worlds: list[World] = []

    def recipe(self, path: Path) -> tuple[Recipe, World]:
        """A recipe and a world of its own; raises InvalidInput with everything that is wrong in either file."""
        from buildkit.recipe import load

        if path not in self._recipes:
            self._recipes[path] = load(path)
        recipe = self._recipes[path]
        return recipe, self.world(recipe.folder)

    def world(self, folder: Path) -> World:
        """A world as a folder's ``modelpack.yaml`` describes it. A failure that stops one stops no other."""
        from buildkit.settings import find
        from buildkit.world import World

        if folder not in self._settings:
            self._settings[folder] = find(folder)
        world = World(self._settings[folder], self._emit, done=DONE)
        self._worlds.append(world)
        return world

    def stop(self) -> None:
        """Ends everything that goes on; after a command that is done there is nothing."""
        deadline = time.monotonic() + _GRACE_SECONDS
        for world in self._worlds:
            world.abandon(max(0.0, deadline - time.monotonic()))


@contextmanager
def session(as_json: bool, quiet: bool) -> Iterator[Session]:
    """A session that tells its progress, and that leaves nothing running behind."""
    with progress(as_json, quiet) as emit:
        opened = Session(emit)
        try:
            yield opened
        finally:
            opened.stop()
