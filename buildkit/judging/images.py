"""``modelpack check --image``: an image as it was pushed, judged by what :mod:`buildkit.checks.examine` reads of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from buildkit.checks.examine import Examined, examine
from buildkit.checks.rule import Judged
from buildkit.checks.subject import Given
from buildkit.judging.chosen import chosen_targets, waivers
from buildkit.judging.judged import judged
from buildkit.judging.names import elsewhere, logged_in
from buildkit.oci.reference import Platform, Reference
from buildkit.recipe import Recipe
from buildkit.world import World

if TYPE_CHECKING:
    from buildkit.trust.scan import Scanned


def check_image(
    image: str,
    world: World,
    targets: Sequence[str],
    *,
    recipe: Recipe | None = None,
    known_as: str | None = None,
    platform: Platform | None = None,
    whole: bool = False,
    scanned: Callable[[Examined], Scanned | None] = lambda examined: None,
) -> tuple[tuple[Judged, ...], Examined]:
    """Judges an image as it was pushed. ``recipe`` tells what its targets need to know; ``known_as`` where it will go.

    ``scanned`` tells what a scanner found in it.
    """
    chosen = chosen_targets(recipe, targets)
    examined = examine(image, world, platform=platform, whole=whole)
    if examined.artifact and not all(target.artifacts for target, _ in chosen):
        raise examined.artifact
    given = Given(
        recipe=recipe,
        config=None if examined.artifact else examined.config,
        image=examined.pushed,
        files=None if examined.artifact else examined.files,
        references=elsewhere([Reference.parse(known_as)] if known_as else [examined.reference]),
        scanned=scanned(examined),
        logged_in=logged_in,
    )
    return judged(chosen, given, waivers(recipe)), examined
