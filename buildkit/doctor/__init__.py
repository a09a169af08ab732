"""``modelpack doctor``: what this machine has and lacks for each engine, hub, registry and target, and how to mend it."""

from __future__ import annotations

from collections.abc import Iterator

from buildkit.doctor.finding import Finding
from buildkit.doctor.machine import engines, machine, programs
from buildkit.doctor.places import hub, registries
from buildkit.doctor.platforms import platforms
from buildkit.world import World

__all__ = ["Finding", "examine"]


def examine(world: World, named: tuple[str, ...] = (), *, ask: bool = True) -> Iterator[Finding]:
    """Everything that a user might miss, in the order in which it is needed.

    ``named`` are registries besides those of ``modelpack.yaml``; without ``ask`` nobody on the network is asked.
    """
    yield from machine()
    found = list(engines())
    yield from found
    yield from hub(world, ask=ask)
    yield from registries(world, named, ask=ask)
    yield from platforms(found)
    yield from programs()
