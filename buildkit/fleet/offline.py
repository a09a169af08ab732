"""A lock against its recipe alone: what CI can refuse without asking anybody."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from buildkit.fleet.state import Change
from buildkit.fleet.status import source_change, tool_changes
from buildkit.lockfile import lock as locks
from buildkit.lockfile.lock import Lock
from buildkit.policy import asked
from buildkit.recipe import Recipe
from buildkit.sources.folder import Folder
from buildkit.spec import FolderRef


def offline(recipe: Recipe) -> list[Change]:
    """What can be said of a lock without asking the network: for ``modelpack lock --check``. Raises InvalidInput.

    A folder beside the recipe is read; hubs and registries are not asked.
    """
    lock = locks.read(recipe.lock_path)
    if lock is None:
        return [Change("new", recipe.lock_path.name, detail="there is no lock")]
    return [*_stale(recipe, lock), *_unpinned(recipe, lock)]


def _stale(recipe: Recipe, lock: Lock) -> Iterator[Change]:
    if lock.recipe != recipe.digest:
        yield Change("recipe", recipe.path.name, lock.recipe, recipe.digest)
    before, after = lock.asked, asked(recipe)
    for key in sorted(after):
        if before.get(key) != after[key] and key not in recipe.spec.builder_images:
            yield Change("recipe", key, _text(before, key), _text(after, key), "it is not locked in these words")
    yield from tool_changes(recipe, lock)


def _unpinned(recipe: Recipe, lock: Lock) -> Iterator[Change]:
    wanted = set(recipe.spec.platforms_parsed)
    for key, pin in lock.pins.images.items():
        if key not in recipe.spec.builder_images and not wanted <= set(pin.platforms):
            yield Change(
                "base", key, "", str(pin.reference), "its platforms are not pinned yet: a bot moved its digest"
            )
    for key, source in recipe.spec.sources():
        locked = lock.pins.sources.get(key)
        if isinstance(source, FolderRef) and locked:
            now = Folder(recipe.folder / source.path, source.include, source.exclude, name=source.path).inventory()
            if now.fingerprint != locked.fingerprint:
                yield source_change("source", key, locked.fingerprint, locked, now)


def _text(words: Mapping[str, object], key: str) -> str:
    found = words.get(key, "")
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False, sort_keys=True)
