"""The registries that a fleet is pushed to, without asking any of them."""

from __future__ import annotations

from pathlib import Path

from buildkit.fleet.found import recipes_in
from buildkit.lockfile import lock as locks
from buildkit.oci.reference import Reference
from buildkit.recipe import load
from buildkit.settings import find


def hosts_of(folder: Path) -> set[str]:
    """Hosts that ``modelpack.yaml`` describes and that locks name; raises InvalidInput for what cannot be read."""
    hosts: set[str] = set()
    for path in recipes_in([folder]):
        recipe = load(path)
        lock = locks.read(recipe.lock_path)
        hosts |= {registry.host for registry in find(recipe.folder).registries.values()}
        hosts |= {Reference.parse(reference).host for reference in (lock.pushed if lock else ())}
    return hosts
