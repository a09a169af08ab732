"""How a model's files lie in the layers of a modelcar: names, owners, modes, and which file is in which layer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from buildkit.errors import InvalidInput, Problem
from buildkit.oci.tar import Entry
from buildkit.pin import File
from buildkit.plain import relative_path, shown
from buildkit.plan import PlannedFile, PlannedLayer, parents

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


def layered(files: Sequence[File], source: str, *, per_file: bool) -> tuple[PlannedLayer, ...]:
    """The layers for a model's files; raises InvalidInput naming every file that cannot be in an image."""
    _check(files)
    if not per_file:
        return (_layer("model", files, source),)
    small = [file for file in files if file.size < LARGE]
    large = [_layer(file.path, [file], source) for file in files if file.size >= LARGE]
    return tuple([_layer("small files", small, source), *large] if small else large)


def _layer(title: str, files: Iterable[File], source: str) -> PlannedLayer:
    planned = [PlannedFile(_entry(f"{FOLDER}/{file.path}", FILE_MODE, file.size), source, file) for file in files]
    above = sorted({directory for file in planned for directory in parents(file.entry.name)})
    directories = [_entry(directory, DIRECTORY_MODE, directory=True) for directory in above]
    return PlannedLayer(title, tuple(directories), tuple(sorted(planned, key=lambda file: file.entry.name)))


def _entry(name: str, mode: int, size: int = 0, *, directory: bool = False) -> Entry:
    return Entry(name, mode, size, directory, UID, GID, mtime=0)


def _check(files: Sequence[File]) -> None:
    problems = [Problem(shown(file.path, 120), why) for file in files if (why := _unfit(file.path))]
    problems += _clashes(file.path for file in files)
    if problems:
        count = f"{len(problems)} files" if len(problems) > 1 else "a file"
        raise InvalidInput(f"{count} of the model cannot be in an image", problems, hint="leave them out with 'exclude', or rename them")


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
