"""How a model's files lie in the layers of a modelcar: names, owners, modes, and which file is in which layer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from buildkit.errors import InvalidInput, Problem
from buildkit.oci import tar
from buildkit.oci.tar import Entry
from buildkit.pin import File
from buildkit.plan import PlannedFile, PlannedLayer, parents
from buildkit.reading.plain import relative_path, shown

FOLDER = "models"
"""KServe looks for the model in ``/models``, and for layer members whose names begin with exactly ``models/``."""
UID, GID = 1001, 0
"""OpenShift runs containers as a random user of the group 0."""
FILE_MODE, DIRECTORY_MODE = 0o444, 0o555
LARGE = 64 * 1024 * 1024
"""Bytes from which on a file has a layer of its own under ``layers: per-file``; cog draws the line at the same size."""

_LONGEST_PART = 255
_LONGEST_PATH = 4095 - len(f"/{FOLDER}/")
"""Bytes: NAME_MAX and PATH_MAX of Linux, limits.h."""
_WHITEOUT = ".wh."
"""image-spec 1.1, layer.md, "Whiteouts": such a name deletes a file instead of being one."""


def layered(
    files: Sequence[File], source: str, *, per_file: bool, largest: int | None = None, split: int | None = None
) -> tuple[PlannedLayer, ...]:
    """The layers for a model's files, none of them of more than ``largest`` bytes, nor of ``split`` but for a single file.

    Raises InvalidInput naming every file that cannot be in an image, or in a layer.
    """
    _check(files)
    _check_sizes(files, largest)
    most = min((limit for limit in (largest, split) if limit is not None), default=None)
    if not per_file:
        return tuple(_bundles("model", files, source, most))
    small = [file for file in files if file.size < LARGE]
    large = [_layer(file.path, [file], source) for file in files if file.size >= LARGE]
    return (*_bundles("small files", small, source, most), *large)


def _bundles(title: str, files: Sequence[File], source: str, largest: int | None) -> Iterator[PlannedLayer]:
    """As few layers as the limit allows, each with neighbouring files: what belongs together changes together."""
    bundles: list[list[File]] = []
    room = 0
    for file in sorted(files, key=lambda file: file.path):
        needed = _room(file)
        if not bundles or (largest is not None and needed > room):
            bundles.append([])
            room = (largest or 0) - tar.length(())
        bundles[-1].append(file)
        room -= needed
    for number, bundle in enumerate(bundles, 1):
        yield _layer(title if len(bundles) == 1 else f"{title} {number} of {len(bundles)}", bundle, source)


def _room(file: File) -> int:
    """Bytes that a file takes in a layer at most: with its header, its padding, and all directories above it."""
    name = f"{FOLDER}/{file.path}"
    above = sum(_entry(directory, DIRECTORY_MODE, directory=True).length for directory in parents(name))
    return _entry(name, FILE_MODE, file.size).length + above


def _check_sizes(files: Sequence[File], largest: int | None) -> None:
    needed = {file.path: _room(file) + tar.length(()) for file in files}
    problems = [
        Problem(
            shown(path, 120), f"needs a layer of {size} bytes with its headers, and a layer has at most {largest} bytes"
        )
        for path, size in needed.items()
        if largest is not None and size > largest
    ]
    if problems:
        raise InvalidInput(
            "a file cannot be split over layers", problems, hint="raise max_layer_size, or leave the file out"
        )


def _layer(title: str, files: Iterable[File], source: str) -> PlannedLayer:
    planned = [PlannedFile(_entry(f"{FOLDER}/{file.path}", FILE_MODE, file.size), source, file) for file in files]
    above = sorted({directory for file in planned for directory in parents(file.entry.name)})
    directories = [_entry(directory, DIRECTORY_MODE, directory=True) for directory in above]
    return PlannedLayer(title, tuple(directories), tuple(sorted(planned, key=lambda file: file.entry.name)))


def _entry(name: str, mode: int, size: int = 0, *, directory: bool = False) -> Entry:
    return Entry(name, mode, size, directory, UID, GID, mtime=0)


def _check(files: Sequence[File]) -> None:
    reasons = {file.path: _unfit(file.path) for file in files}
    problems = [Problem(shown(path, 120), why) for path, why in reasons.items() if why]
    problems += _clashes(file.path for file in files if not reasons[file.path])
    if problems:
        count = f"{len(problems)} files" if len(problems) > 1 else "a file"
        raise InvalidInput(
            f"{count} of the model cannot be in an image",
            problems,
            hint="leave them out with 'exclude', or rename them",
        )


def _unfit(path: str) -> str | None:
    try:
        relative_path(path)
    except ValueError as error:
        return str(error)
    if any(part.startswith(_WHITEOUT) for part in path.split("/")):
        return f"a name that begins with {_WHITEOUT!r} would delete a file of the image"
    if any(len(part.encode()) > _LONGEST_PART for part in path.split("/")) or len(path.encode()) > _LONGEST_PATH:
        return f"the name is longer than Linux takes: {_LONGEST_PART} bytes a part, {_LONGEST_PATH} in all"
    return None


def _clashes(paths: Iterable[str]) -> Iterator[Problem]:
    for first, second in pairwise(sorted(paths, key=lambda path: path.split("/"))):
        if first == second:
            yield Problem(shown(first, 120), "is there twice")
        elif second.startswith(f"{first}/"):
            yield Problem(shown(first, 120), f"is both a file and the folder of {shown(second, 120)}")
