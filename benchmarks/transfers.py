"""Works in which a whole model moves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks import data
from benchmarks.ground import Ground
from benchmarks.measure import Command
from benchmarks.work import Contender, Target, Work, slower

MODELPACK, REFERENCE, FROM_HUB = "modelpack", "reference", "reference, hub"
_MIB = float(data.MIB)


def reference(ground: Ground, source: Path | str, *options: str, name: str = REFERENCE) -> Contender:
    """The reference uploader, into a registry that holds nothing."""

    def prepare(number: int) -> Command:
        ground.registry.reset()
        return ground.reference(source, *options)

    return Contender(name, prepare)


def modelpack(ground: Ground, model: Path | str, layers: str = "per-file", name: str = MODELPACK) -> Contender:
    """A first build and push: no lock, no cache, a registry that holds the base only."""

    def prepare(number: int) -> Command:
        ground.registry.reset()
        return ground.modelpack(ground.recipe(model, layers))

    return Contender(name, prepare)


def engine(ground: Ground, name: str, models: Path) -> Contender:
    """The Containerfile of :meth:`Ground.engine` with an engine whose store is empty."""

    def prepare(number: int) -> Command:
        ground.registry.reset()
        return ground.engine(name, models)

    return Contender(name, prepare, lambda: ground.forget(name), costly=True)


def nothing_written(name: str = MODELPACK) -> Target:
    """That no byte of the model went to the disk on the client's side."""
    return Target("written to disk by the client", lambda found: found[name].written / _MIB, 1.0, unit="MiB")


def folder(ground: Ground) -> Work:
    """2 GiB from a folder, against everybody."""
    models = ground.shards(2, 4)
    engines = [engine(ground, name, models) for name in ground.engines]
    in_memory = ground.registry.storage.is_relative_to("/dev/shm")
    podman, docker, crane = (12, 8, 1.8) if in_memory else (7, 4, 1)
    return Work(
        f"folder: {_size(ground, 2)} in 4 shards, per-file, from a folder",
        [reference(ground, models), modelpack(ground, models), *engines],
        [
            Target("time of the reference", slower(MODELPACK, REFERENCE), 1.10),
            Target(f"faster than podman, at least {podman} x", slower("podman", MODELPACK), podman, least=True),
            Target(f"faster than docker, at least {docker} x", slower("docker", MODELPACK), docker, least=True),
            Target(f"faster than crane, at least {crane} x", slower("crane", MODELPACK), crane, least=True),
            nothing_written(),
        ],
    )


def hub(ground: Ground) -> Work:
    """2 GiB from a hub whose files are in the page cache."""
    models = ground.shards(2, 4)
    source = ground.publish(models)
    urls = ",".join(ground.url(path.name) for path in sorted(models.iterdir()))
    return Work(
        f"hub: {_size(ground, 2)} in 4 shards, per-file, from a warm hub",
        [reference(ground, models), reference(ground, urls, name=FROM_HUB), modelpack(ground, source)],
        [
            Target("time of the reference from a folder", slower(MODELPACK, REFERENCE), 1.10),
            Target("time of the reference from the same hub", slower(MODELPACK, FROM_HUB), 1.10),
            nothing_written(),
        ],
    )


def squashed(ground: Ground) -> Work:
    """2 GiB as one layer: no parallel uploads for either."""
    models = ground.shards(2, 4)
    return Work(
        f"squashed: {_size(ground, 2)} in one layer, from a folder and from a warm hub",
        [
            reference(ground, models, "--one-layer"),
            modelpack(ground, models, "squashed"),
            modelpack(ground, ground.publish(models), "squashed", "modelpack, hub"),
        ],
        [
            Target("time of the reference", slower(MODELPACK, REFERENCE), 1.10),
            Target("time of the reference, from the hub", slower("modelpack, hub", REFERENCE), 1.10),
        ],
    )


def large(ground: Ground) -> Work:
    """Four times the model, in four times the time and the same memory."""
    less, more = ground.publish(ground.shards(2, 4), "bench/less"), ground.publish(ground.shards(8, 16), "bench/more")
    small, big = _size(ground, 2), _size(ground, 8)
    return Work(
        f"large: {big} in 16 shards and {small} in 4, from a warm hub",
        [modelpack(ground, less, name=small), modelpack(ground, more, name=big)],
        [
            Target("time, four times and 10 % at most", slower(big, small), 4.4),
            Target(
                "peak memory of the larger over the smaller", lambda found: found[big].peak / found[small].peak, 1.10
            ),
            Target("peak memory", lambda found: found[big].peak / _MIB, 150, unit="MiB"),
            nothing_written(big),
        ],
        against=small,
        memory=9 << 30,
    )


def small_files(ground: Ground) -> Work:
    """20,000 files of 10 kB."""
    count = max(1, int(20_000 * ground.scale))
    models = data.many(ground.folder / f"data-{count}-files", count, count * 10_000)
    return Work(
        f"small-files: {count:,} files of 10 kB, from a folder",
        [reference(ground, models), modelpack(ground, models)],
        [
            Target("time of the reference", slower(MODELPACK, REFERENCE), 1.5),
            Target(
                "written by the client: lock and digests", lambda found: found[MODELPACK].written / _MIB, 10, unit="MiB"
            ),
        ],
    )


def slow_hub(ground: Ground) -> Work:
    """One file from a hub that gives 40 MB/s a connection after 50 ms."""
    models = ground.shards(1, 1)
    source = ground.publish(models, "bench/slow")
    url = ground.url(data.shard_name(0, 1), "bench/slow")
    quick = [reference(ground, url, name="one connection"), modelpack(ground, source)]
    return Work(
        f"slow-hub: one file of {_size(ground, 1)}, 40 MB/s a connection, 50 ms",
        [Contender(one.name, _slowly(ground, one), lambda: ground.hub.throttle(None)) for one in quick],
        [
            Target("faster than one connection, at least 3.5 x", slower("one connection", MODELPACK), 3.5, least=True),
            Target("peak memory", lambda found: found[MODELPACK].peak / _MIB, 150, unit="MiB"),
            nothing_written(),
        ],
        against="one connection",
    )


def _slowly(ground: Ground, contender: Contender) -> Callable[[int], Command]:
    def prepare(number: int) -> Command:
        ground.hub.throttle(40e6, 0.05)
        return contender.prepare(number)

    return prepare


def _size(ground: Ground, gibibytes: float) -> str:
    return f"{gibibytes * ground.scale:g} GiB"
