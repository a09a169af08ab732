"""One image from many machines: ``build --shard`` on each of them, ``build --assemble`` on one when they are done."""

from __future__ import annotations

from dataclasses import dataclass

from buildkit.delivery.deliver import deliver
from buildkit.delivery.push import Delivered
from buildkit.delivery.shard import Shard, forget, mark, marked, share
from buildkit.delivery.tally import Tally, forecast
from buildkit.engines.embedded import Embedded
from buildkit.errors import InvalidInput, Problem
from buildkit.events import Said
from buildkit.flow import Made, Wanted, going, make
from buildkit.lockfile.known import KnownLayers
from buildkit.lockfile.record import Record
from buildkit.oci.copy import put_all
from buildkit.oci.image import Layer
from buildkit.oci.reference import Digest
from buildkit.recipe import Recipe
from buildkit.registries.client import Repository
from buildkit.registries.limits import check
from buildkit.world import World


def push_shard(recipe: Recipe, world: World, wanted: Wanted, shard: Shard) -> list[Layer]:
    """Pushes a shard's share of the layers and remembers them in the registry; the lock is not touched.

    Returns the layers of the share. Raises what a push raises, and InvalidInput where there is no lock to agree upon.
    """
    made, store = _begin(recipe, world, wanted)
    unknown = _unknown(made)
    marks = marked(store, unknown)
    seen = KnownLayers.here()
    unmarked = seen.of(layer.blob.key for layer in unknown if layer.blob.key not in marks)
    layers = share([layer for image in made.images for layer in image.knowing(marks | unmarked).layers], shard)
    by_key = {layer.blob.key: layer for layer in layers}
    titles = ", ".join(layer.blob.title for layer in layers)
    world.emit(
        Said(f"{recipe.spec.name}: shard {shard.index} of {shard.count} has {len(layers)} layers: {titles or 'none'}")
    )

    def learned(key: str, digest: Digest) -> None:
        seen.learn(key, digest)
        mark(store, by_key[key], digest)

    world.emit(forecast(store.reference.name, layers))
    tally = Tally(world.emit)
    placed = put_all([layer.blob for layer in layers], store, tally.emit, world.stop, learned=learned)
    for key in unmarked.keys() & placed.keys():
        mark(store, by_key[key], placed[key])
    world.emit(tally.summary(store.reference.name))
    return layers


@dataclass(frozen=True)
class Assembled:
    """An image over the layers that shards pushed, and what nobody needs any more: the marks of these layers in ``store``."""

    delivered: Delivered
    store: Repository
    layers: tuple[Layer, ...]

    def forget(self) -> None:
        """Takes the marks away, also those of an earlier run that did not come to it."""
        forget(self.store, self.layers)


def assemble(recipe: Recipe, world: World, wanted: Wanted) -> Assembled:
    """Writes the manifest over the layers that the shards pushed; raises InvalidInput that names those which are missing."""
    made, store = _begin(recipe, world, wanted)
    known = marked(store, _unknown(made))
    images = [image.knowing(known) for image in made.images]
    missing = [layer for image in images for layer in image.layers if not _there(layer, store)]
    if missing:
        problems = {Problem(layer.blob.title, f"{layer.blob.size} bytes are not there yet") for layer in missing}
        hint = "run the shards that failed again: what they pushed is not pushed twice"
        raise InvalidInput(f"{recipe.spec.name} cannot be assembled yet", sorted(problems, key=str), hint=hint)
    with Record(recipe, made.drafted, made.plan, made.engine) as record:
        delivered = deliver(images, going(recipe, made.drafted.pins, wanted), world, record)
        record.commit(world.done)
    return Assembled(delivered, store, tuple(_own(made)))


def _begin(recipe: Recipe, world: World, wanted: Wanted) -> tuple[Made, Repository]:
    if not recipe.lock_path.is_file():
        hint = f"give every machine the same lock; to write one, run: modelpack lock {recipe.typed}"
        raise InvalidInput(f"{recipe.lock_path} is not there: machines could not agree on what to push", hint=hint)
    made = make(recipe, world, wanted)
    if made.engine.name != Embedded.name:
        raise InvalidInput(f"the {made.engine.name} engine cannot share its work", hint="use --engine embedded")
    target = world.settings.registry(wanted.registry or "")
    form = check(made.images, world.profile(target.host), wanted.form)
    if form != "oci":
        raise InvalidInput(
            f"machines cannot share the work for {target.host}: its manifests are Docker's, and layers become gzips",
            hint="push from one machine, without --shard and --assemble",
        )
    return made, world.repository(target.repository(recipe.spec.name))


def _own(made: Made) -> list[Layer]:
    found = {layer.blob.key: layer for image in made.images for layer in image.layers if not layer.blob.origin}
    return list(found.values())


def _unknown(made: Made) -> list[Layer]:
    return [layer for layer in _own(made) if not layer.blob.digest]


def _there(layer: Layer, store: Repository) -> bool:
    return layer.blob.digest is not None and store.has(layer.blob.digest)
