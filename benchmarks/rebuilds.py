"""Works in which most of the model is in the registry already, or is pushed by several processes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from benchmarks import data
from benchmarks.ground import Ground
from benchmarks.measure import Command, measured
from benchmarks.transfers import MODELPACK, REFERENCE
from benchmarks.work import Contender, Target, Work, slower

FOLDER = "modelpack, folder"
PROCESSES = 4
_MIB = float(data.MIB)


class Built:
    """An image that was pushed once: its recipe with the lock, its cache, its namespace in the registry."""

    def __init__(self, ground: Ground, model: Path | str, namespace: str) -> None:
        self._ground = ground
        self._namespace = namespace
        self._recipe = ground.recipe(model)
        self._cache = ground.fresh("cache")
        measured(self.again(), ())
        self._lock = (self._recipe / "recipe.lock").read_bytes()

    def again(self, *options: str) -> Command:
        """The command that builds it again."""
        return self._ground.modelpack(self._recipe, *options, cache=self._cache, namespace=self._namespace)

    def as_it_was(self) -> None:
        """Lets the lock be what it was after the first build."""
        (self._recipe / "recipe.lock").write_bytes(self._lock)


def _linked(ground: Ground, models: Path) -> Path:
    """The same files under other names, so that one of them can be replaced."""
    folder = ground.fresh("changed") / "models"
    folder.mkdir()
    for path in models.iterdir():
        (folder / path.name).hardlink_to(path)
    return folder


def shard_changed(ground: Ground) -> Work:
    """One shard of four is another one; the rest is in the registry."""
    models, name = ground.shards(2, 4), data.shard_name(1, 4)
    size = (models / name).stat().st_size
    changed, alone = _linked(ground, models), ground.fresh("alone")
    from_hub = Built(ground, ground.publish(models, "bench/sharded"), "hub")
    from_folder = Built(ground, changed, "folder")

    def change(number: int) -> Command:
        data.write_shard(changed / name, size, 100 + number)
        (alone / name).unlink(missing_ok=True)
        (alone / name).hardlink_to(changed / name)
        ground.publish(changed, "bench/sharded")
        return ground.reference(alone, repository=f"bench/alone-{number}")

    def again(built: Built, *options: str) -> Command:
        built.as_it_was()
        return built.again(*options)

    half = size / _MIB
    return Work(
        f"shard-changed: one shard of {half:.0f} MiB of 4 changed, per-file",
        [
            Contender(REFERENCE, change),
            Contender(MODELPACK, lambda number: again(from_hub, "--upgrade")),
            Contender(FOLDER, lambda number: again(from_folder)),
        ],
        [
            Target("time of the reference sending that shard alone", slower(MODELPACK, REFERENCE), 1.15),
            Target("the same from a folder", slower(FOLDER, REFERENCE), 1.15),
            Target("up beyond the shard", lambda found: found[MODELPACK].sent / _MIB - half, 1.0, unit="MiB"),
            Target("down beyond the shard", lambda found: found[MODELPACK].received / _MIB - half, 1.0, unit="MiB"),
        ],
    )


def base_changed(ground: Ground) -> Work:
    """Another base under the same tag: a new config and manifest, and no byte of the model."""
    models = ground.shards(2, 4)
    from_hub = Built(ground, ground.publish(models), "hub")
    from_folder = Built(ground, models, "folder")

    def moved(number: int) -> Command:
        ground.registry.move_base(number)
        return from_hub.again("--upgrade")

    return Work(
        f"base-changed: only the base of a model of {2 * ground.scale:g} GiB moved",
        [Contender(MODELPACK, moved), Contender(FOLDER, lambda number: from_folder.again("--upgrade"))],
        [
            Target("seconds, from a hub", lambda found: found[MODELPACK].wall, 1.5, unit="s"),
            Target("seconds, from a folder", lambda found: found[FOLDER].wall, 1.5, unit="s"),
            Target("up", lambda found: found[MODELPACK].sent / _MIB, 1.0, unit="MiB"),
            Target("down", lambda found: found[MODELPACK].received / _MIB, 1.0, unit="MiB"),
        ],
        against=MODELPACK,
    )


def nothing_changed(ground: Ground) -> Work:
    """A build of what is there."""
    models = ground.shards(2, 4)
    from_hub = Built(ground, ground.publish(models), "hub")
    from_folder = Built(ground, models, "folder")
    return Work(
        f"nothing-changed: a model of {2 * ground.scale:g} GiB built again",
        [
            Contender(MODELPACK, lambda number: from_hub.again()),
            Contender("modelpack, --upgrade", lambda number: from_hub.again("--upgrade")),
            Contender(FOLDER, lambda number: from_folder.again()),
        ],
        [
            Target("seconds, from a hub", lambda found: found[MODELPACK].wall, 1.0, unit="s"),
            Target(
                "seconds, from a hub that is asked", lambda found: found["modelpack, --upgrade"].wall, 1.0, unit="s"
            ),
            Target("requests", lambda found: found[MODELPACK].requests, 8, unit=""),
            Target("requests with --upgrade", lambda found: found["modelpack, --upgrade"].requests, 8, unit=""),
            Target("seconds, from a folder", lambda found: found[FOLDER].wall, 1.0, unit="s"),
        ],
        against=MODELPACK,
    )


def machines(ground: Ground) -> Work:
    """16 shards by four processes that know nothing of each other, and the manifest by one of them."""
    recipe = ground.recipe(ground.publish(ground.shards(2, 16), "bench/sixteen"))
    measured(ground.lock(recipe), ())
    alone, together = "one process", f"{PROCESSES} processes"
    digests: dict[str, str] = {}

    def keep(name: str) -> None:
        digests[name] = ground.registry.digest("bench/model")

    def by_one(number: int) -> Command:
        ground.registry.reset()
        return ground.modelpack(_copied(ground, recipe))

    def by_many(number: int) -> Command:
        ground.registry.reset()
        return _by_many(ground, recipe)

    return Work(
        f"machines: {2 * ground.scale:g} GiB in 16 shards, by one process and by {PROCESSES} with --shard and --assemble",
        [Contender(alone, by_one, lambda: keep(alone)), Contender(together, by_many, lambda: keep(together))],
        [
            Target("different digests", lambda found: len(set(digests.values())) - 1, 0, unit=""),
            Target(
                "sent more than once", lambda found: (found[together].sent - found[alone].sent) / _MIB, 1.0, unit="MiB"
            ),
        ],
        against=alone,
    )


def _copied(ground: Ground, recipe: Path) -> Path:
    return Path(shutil.copytree(recipe, ground.fresh("machine"), dirs_exist_ok=True))


def _by_many(ground: Ground, recipe: Path) -> Command:
    """A shell that starts the processes, each with a folder and a cache of its own, waits for all, and assembles."""
    lines, waits = [], []
    for index in range(PROCESSES):
        command = ground.modelpack(_copied(ground, recipe), "--shard", f"{index}/{PROCESSES}")
        cache = command.environment["MODELPACK_CACHE_DIR"]
        lines.append(
            f"(cd {command.folder}; MODELPACK_CACHE_DIR={cache} exec {' '.join(command.arguments)}) & p{index}=$!"
        )
        waits.append(f"wait $p{index}")
    last = ground.modelpack(_copied(ground, recipe), "--assemble")
    return replace(last, arguments=("sh", "-ec", "\n".join([*lines, *waits, " ".join(last.arguments)])))
