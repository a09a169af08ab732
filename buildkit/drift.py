"""The lock against the world: what moved, said so that a person can decide. Pure: it asks nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from buildkit.errors import Problem
from buildkit.oci.reference import Reference
from buildkit.pin import ImagePin, Inventory, Pins

_SHOWN = 10
"""Files that are named one by one; more of them are counted."""


def moved(locked: Pins, now: Pins) -> list[Problem]:
    """What differs between the pins of the lock and the pins as they would be taken now."""
    images = [problem for key in sorted(now.images) for problem in _image(key, locked.images.get(key), now.images[key])]
    sources = [
        problem for key in sorted(now.sources) for problem in _source(key, locked.sources.get(key), now.sources[key])
    ]
    return images + sources


def _image(key: str, locked: ImagePin | None, now: ImagePin) -> Iterator[Problem]:
    if locked is None:
        yield Problem(key, f"{now.reference} is not in the lock")
        return
    old, new = locked.reference, now.reference
    if (old.name, old.tag) != (new.name, new.tag):
        yield Problem(key, f"the recipe names {_unpinned(new)}, the lock {_unpinned(old)}")
    elif old.digest != new.digest:
        yield Problem(key, f"{_unpinned(new)} was {old.digest} and is {new.digest}")
    elif locked.platforms != now.platforms:
        missing = sorted(str(platform) for platform in set(now.platforms) - set(locked.platforms))
        yield Problem(
            key, f"the lock has no {', '.join(missing)}" if missing else "the lock has other platforms than the recipe"
        )


def _unpinned(reference: Reference) -> str:
    """What a person wrote; a base that was named by its digest alone has no tag."""
    return str(replace(reference, digest=None))


def _source(key: str, locked: Inventory | None, now: Inventory) -> Iterator[Problem]:
    if locked is None:
        yield Problem(key, f"{now.name or now.type} is not in the lock")
        return
    if (locked.type, locked.name) != (now.type, now.name):
        yield Problem(key, f"the recipe names {now.type} {now.name}, the lock {locked.type} {locked.name}")
        return
    changes = list(_files(locked, now))
    if changes and locked.commit != now.commit:
        yield Problem(key, f"{now.name}@{now.revision} was {locked.commit} and is {now.commit}")
    yield from (Problem(key, change) for change in changes[:_SHOWN])
    if len(changes) > _SHOWN:
        yield Problem(key, f"and {len(changes) - _SHOWN} more files")


def _files(locked: Inventory, now: Inventory) -> Iterator[str]:
    old = {file.path: file for file in locked.files}
    new = {file.path: file for file in now.files}
    for path in sorted(old.keys() | new.keys()):
        if path not in old:
            yield f"{path} is new"
        elif path not in new:
            yield f"{path} is gone"
        elif old[path].proof != new[path].proof:
            yield f"{path} changed from {old[path].proof} to {new[path].proof}"
        elif old[path].executable != new[path].executable:
            yield f"{path} is {'' if new[path].executable else 'not '}executable now"
