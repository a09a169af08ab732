"""What a rebuild would move: asked of the registries, blob by blob, and only for images that need one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from buildkit.engines.embedded import Embedded
from buildkit.fleet.asking import Questions
from buildkit.fleet.state import Target, Weight
from buildkit.lockfile.known import KnownLayers
from buildkit.lockfile.lock import Lock
from buildkit.oci.reference import Digest, Reference
from buildkit.plan import Plan, PlannedLayer
from buildkit.recipe import Recipe
from buildkit.spec import FolderRef
from buildkit.world import World


@dataclass(frozen=True)
class _Piece:
    """A layer as a rebuild would put it: ``cost`` is what has to be read for it, ``origin`` where it can be mounted from."""

    key: str
    size: int
    cost: int
    digest: Digest | None
    origin: Reference | None = None


def weigh(
    recipe: Recipe, lock: Lock | None, plan: Plan, targets: Sequence[Target], world: World, questions: Questions
) -> Weight:
    """Bytes down and up. Without a target nothing is sent; raises what registries raise.

    Where an engine has to run something, what comes out is not known: then only what is read of the sources is told.
    """
    layers = [_above(layer, recipe, _digests(plan, lock)) for layer in plan.layers if isinstance(layer, PlannedLayer)]
    if Embedded().lacks(plan) or (lock and any(image.engine != Embedded.name for image in lock.images.values())):
        return Weight(sum(piece.cost for piece in layers))
    pieces = {piece.key: piece for piece in (*layers, *_bases(plan, world, questions))}
    needed: dict[str, int] = {}
    up = 0
    for target in targets:
        store = world.repository(target.repository)
        for piece in pieces.values():
            mounted = piece.origin is not None and piece.origin.host == target.repository.host
            if not mounted and not (piece.digest and store.has(piece.digest)):
                needed[piece.key] = piece.cost
                up += piece.size
    return Weight(sum(needed.values()), up) if targets else Weight(sum(piece.cost for piece in layers))


def _digests(plan: Plan, lock: Lock | None) -> Mapping[str, Digest]:
    keys = [layer.key for layer in plan.layers]
    return {**KnownLayers.here().of(keys), **(lock.layers if lock else {})}


def _above(layer: PlannedLayer, recipe: Recipe, known: Mapping[str, Digest]) -> _Piece:
    folders = {key for key, reference in recipe.spec.sources() if isinstance(reference, FolderRef)}
    cost = sum(file.file.size for file in layer.files if file.source not in folders)
    return _Piece(layer.key, layer.size, cost, known.get(layer.key))


def _bases(plan: Plan, world: World, questions: Questions) -> Iterator[_Piece]:
    for platform in plan.platforms if plan.base else ():
        assert plan.base
        for layer in questions.base_layers(plan.base, platform, world):
            yield _Piece(layer.digest, layer.size, layer.size, layer.digest, plan.base.reference)
