"""From what an image was made, and whether there is something else by now.

A lock that was upgraded in a pull request, or whose base a bot moved, pins newer inputs than the image that it names was
made from. Images of old locks do not say from what they were made: it was what the lock pins.
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit.lockfile.lock import Lock
from buildkit.oci.reference import Digest
from buildkit.pin import Pins
from buildkit.recipe import Recipe


def inputs(recipe: Recipe, pins: Pins) -> dict[str, Digest]:
    """What every input is, by its key, without the images that only build and leave nothing in the image."""
    builders = recipe.spec.builder_images
    images = {key: pin.reference.digest for key, pin in pins.images.items() if key not in builders}
    sources = {key: source.fingerprint for key, source in pins.sources.items()}
    return {key: digest for key, digest in images.items() if digest} | sources


def other(lock: Lock, key: str, now: Digest | None, pinned: Digest | None = None) -> Digest | None:
    """What an image was made from where that is not what there is ``now``; ``pinned`` is said for images of old locks."""
    made = sorted({image.made.get(key) or pinned or "" for image in lock.images.values()} - {now or ""})
    return next((Digest(digest) for digest in made if digest), None)


def templates(lock: Lock, now: Digest | None) -> list[str]:
    """The other templates that images were built from, "" for one that was not noted; the embedded engine needs none."""
    built = {image.made.get("template") or "" for image in lock.images.values() if image.engine != "embedded"}
    return sorted(built - {now or ""})


def newer(recipe: Recipe, lock: Lock) -> tuple[str, ...]:
    """What of its image the lock has newer by now: keys of inputs, and "recipe" or "template"."""
    return tuple(_newer(recipe, lock))


def _newer(recipe: Recipe, lock: Lock) -> Iterator[str]:
    if other(lock, "recipe", lock.recipe):
        yield "recipe"
    if any(templates(lock, lock.template)):
        yield "template"
    yield from (key for key, now in sorted(inputs(recipe, lock.pins).items()) if other(lock, key, now))
