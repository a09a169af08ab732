"""Models of synthetic bytes that do not compress, made once and kept for the run."""

from __future__ import annotations

from pathlib import Path

from tests.fakes.content import Synthetic

GIB, MIB = 1 << 30, 1 << 20
SMALL = {"config.json": b'{"architectures": ["Benchmark"]}\n', "README.md": b"# synthetic\n"}
FILES_A_FOLDER = 200


def shards(folder: Path, total: int, count: int) -> Path:
    """A model of ``count`` shards with ``total`` bytes together, and two small files; made unless it is there."""
    models = folder / "models"
    if not models.exists():
        making = folder / "making"
        making.mkdir(parents=True)
        for number in range(count):
            write_shard(making / shard_name(number, count), total // count, number)
        for name, data in SMALL.items():
            (making / name).write_bytes(data)
        making.rename(models)
    return models


def shard_name(number: int, count: int) -> str:
    """The name that the hub's libraries give a shard."""
    return f"model-{number + 1:05}-of-{count:05}.safetensors"


def write_shard(path: Path, size: int, seed: int) -> None:
    """Writes ``size`` bytes; another seed gives other bytes."""
    path.unlink(missing_ok=True)
    with path.open("wb", buffering=0) as file:
        for piece in Synthetic(size, seed).pieces(0, size):
            file.write(piece)


def many(folder: Path, count: int, total: int) -> Path:
    """A model of ``count`` small files in folders of 200; made unless it is there."""
    models = folder / "models"
    if not models.exists():
        making = folder / "making"
        size = total // count
        for number in range(count):
            place = making / f"part-{number // FILES_A_FOLDER:03}"
            if number % FILES_A_FOLDER == 0:
                place.mkdir(parents=True)
            start = number * size
            (place / f"file-{number:05}.bin").write_bytes(Synthetic(start + size, 77).read(start, start + size))
        making.rename(models)
    return models
