"""What is attached to an image that was just pushed, where ``modelpack.yaml`` wants that of every push.

What makes it is loaded only there: most pushes attach nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from buildkit.delivery.push import Delivered
from buildkit.lockfile import lock as locks
from buildkit.lockfile.lock import Lock
from buildkit.recipe import Recipe
from buildkit.world import World

if TYPE_CHECKING:
    from buildkit.trust.signature import Signer


def ready_signer(world: World) -> Signer | None:
    """Who signs what is pushed, where the settings want that; raises where nobody could, before anything is done."""
    if not (world.settings.attest and world.settings.attest.sign):
        return None
    from buildkit.trust.signature import check_signer, signer_of

    signer = signer_of(world.settings)
    check_signer(signer)
    return signer


def attach(recipe: Recipe, world: World, delivered: Delivered, staged: Lock | None, signer: Signer | None) -> None:
    """Attaches what is known of an image, where the settings want that.

    Before the lock moves into place: what ends here, be it killed, is begun again by the next run, and not taken for done.
    Raises what attaching raises, told as that of an image that is pushed.
    """
    if world.settings.attest is None or not delivered.references or (delivered.unchanged and staged is None):
        return
    from buildkit.trust.attestation import attest_pushed

    lock = staged or locks.read(recipe.lock_path)
    assert lock is not None, "what was pushed is in the lock"
    # Other registries may be down, or have an older image.
    pushed = {name: delivered.digest_of(name) for name in delivered.references}
    attest_pushed(recipe, world, signer, replace(lock, pushed=pushed))
