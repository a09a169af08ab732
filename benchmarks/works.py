"""Every work by its name: what is done, by whom, and what it has to reach."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import rebuilds, transfers
from benchmarks.ground import Ground
from benchmarks.work import Work


@dataclass(frozen=True)
class Known:
    """How a work is made; whether it runs against a registry in memory too, and whether engines take part."""

    make: Callable[[Ground], Work]
    in_memory: bool = False
    engines: bool = False


WORKS = {
    "folder": Known(transfers.folder, in_memory=True, engines=True),
    "hub": Known(transfers.hub, in_memory=True),
    "squashed": Known(transfers.squashed, in_memory=True),
    "large": Known(transfers.large),
    "shard-changed": Known(rebuilds.shard_changed, in_memory=True),
    "base-changed": Known(rebuilds.base_changed),
    "nothing-changed": Known(rebuilds.nothing_changed),
    "small-files": Known(transfers.small_files, in_memory=True),
    "slow-hub": Known(transfers.slow_hub, in_memory=True),
    "machines": Known(rebuilds.machines),
}
