"""Where files lie in an image: those of an input as a layer with the directories above them, and those that a plan writes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from buildkit.oci.tar import Entry
from buildkit.pin import File
from buildkit.plan import PlannedFile, PlannedLayer, parents


def placed(
    title: str,
    files: Iterable[File],
    source: str,
    root: str,
    *,
    file_mode: int = 0o644,
    directory_mode: int = 0o755,
    above: tuple[str, ...] = (),
) -> PlannedLayer:
    """A layer with an input's files below ``root`` (``app``, ``home/models``), owned by root, without times.

    Modes are octal; a file that is a program may be run besides. ``above`` are directories of the base that are not
    written again, such as ``home``: what a base has there, a link to another place even, stays as it is. By default only
    ``root`` and what is below it is written.
    """
    planned = [
        PlannedFile(Entry(f"{root}/{file.path}", file_mode | _runnable(file), file.size), source, file)
        for file in sorted(files, key=lambda file: file.path)
    ]
    outside = {*parents(f"{root}"), *above}
    needed = {name for file in planned for name in parents(file.entry.name)} | {root}
    directories = [Entry(name, directory_mode, directory=True) for name in sorted(needed - outside)]
    return PlannedLayer(title, tuple(directories), tuple(sorted(planned, key=lambda file: file.entry.name)))


def laid_out(title: str, files: Iterable[File], source: str) -> PlannedLayer:
    """The files of an input under their own names: the context of a build, in which programs stay programs."""
    planned = [PlannedFile(Entry(file.path, 0o644 | _runnable(file), file.size), source, file) for file in files]
    directories = {name for file in planned for name in parents(file.entry.name)}
    entries = tuple(Entry(name, 0o755, directory=True) for name in sorted(directories))
    return PlannedLayer(title, entries, tuple(sorted(planned, key=lambda file: file.entry.name)))


def _runnable(file: File) -> int:
    return 0o111 if file.executable else 0


def written(name: str, text: str, *, mode: int = 0o644) -> PlannedFile:
    """A file that a plan writes itself, such as a configuration: ``name`` from the root, ``mode`` in octal, owned by root."""
    content = text.encode()
    file = File(name, len(content), sha256=hashlib.sha256(content).hexdigest())
    return PlannedFile(Entry(name, mode, len(content)), "", file, content)
