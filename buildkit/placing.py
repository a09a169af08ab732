"""Where the files of an input lie in an image: a layer of them, with the directories above them."""

from __future__ import annotations

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

    Modes are octal. ``above`` are directories of the base that are not written again, such as ``home``: what a base has
    there, a link to another place even, stays as it is. By default only ``root`` and what is below it is written.
    """
    planned = [
        PlannedFile(Entry(f"{root}/{file.path}", file_mode, file.size), source, file)
        for file in sorted(files, key=lambda file: file.path)
    ]
    outside = {*parents(f"{root}"), *above}
    needed = {name for file in planned for name in parents(file.entry.name)} | {root}
    directories = [Entry(name, directory_mode, directory=True) for name in sorted(needed - outside)]
    return PlannedLayer(title, tuple(directories), tuple(sorted(planned, key=lambda file: file.entry.name)))
