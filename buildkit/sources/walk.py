"""The files of a folder: regular ones, links that stay inside followed, everything else refused by name."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from buildkit.errors import Problem
from buildkit.sources.selection import printable

_SNAPSHOT = re.compile(r"models--(?P<name>[^/\\]+)[/\\]snapshots[/\\]")


@dataclass(frozen=True)
class Found:
    """A file of a folder: its path inside, with forward slashes, and what the disk says of it."""

    path: str
    place: str
    status: os.stat_result


@dataclass(frozen=True)
class Refused:
    """Something in a folder that cannot be a model's file: its path inside, why, and whether it would hold files itself."""

    path: str
    problem: Problem
    holds_files: bool


@dataclass(frozen=True)
class _Below:
    """A folder that is still to be walked: where it is, its path inside with a slash, and the real paths it is in."""

    place: str
    inside: str
    above: tuple[str, ...]


LeaveOut = Callable[[str, bool], bool]
"""Whether a path inside the folder, and the directory that it is where the second says so, is left out unread."""


def found(root: Path, leave_out: LeaveOut | None = None) -> Iterator[Found | Refused]:
    """Every file under ``root`` that is not left out, and a Refused for whatever cannot be a model's file."""
    top = _Below(str(root), "", (os.path.realpath(root),))
    # A stack and no recursion: a folder may be deeper than Python calls.
    walked = [_folder(top, leave_out or _left_out)]
    while walked:
        item = next(walked[-1], None)
        if item is None:
            walked.pop()
        elif isinstance(item, _Below):
            walked.append(_folder(item, leave_out or _left_out))
        else:
            yield item


def _left_out(path: str, is_directory: bool) -> bool:
    """What a model's folder never means: its git, and what the hub's library keeps beside its downloads."""
    return path.rpartition("/")[2] == ".git" or f"/{path}".endswith("/.cache/huggingface")


def _folder(folder: _Below, leave_out: LeaveOut) -> Iterator[Found | Refused | _Below]:
    try:
        with os.scandir(folder.place) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        yield _refused(
            folder.inside.rstrip("/") or ".", f"this folder cannot be read: {error.strerror}", _RIGHTS, holds_files=True
        )
        return
    for entry in listed:
        path = f"{folder.inside}{entry.name}"
        if not leave_out(path, _is_directory(entry)):
            yield _entry(entry, path, folder.above)


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, which is told later
        return False


def _entry(entry: os.DirEntry[str], path: str, above: tuple[str, ...]) -> Found | Refused | _Below:
    place = entry.path  # A Path for each of twenty thousand files would take longer than the disk does.
    try:
        status = os.stat(place)
        real = os.path.realpath(place, strict=True) if entry.is_symlink() or stat.S_ISDIR(status.st_mode) else ""
    except OSError as error:
        return _unreadable(entry, path, error)
    # A junction of Windows is a directory and no link, so every directory is looked at.
    if real and not is_inside(real, above[0]):
        what = f"this link leaves the folder: it leads to {printable(real)}"
        return _refused(path, what, _leaving_hint(place), holds_files=stat.S_ISDIR(status.st_mode))
    if stat.S_ISDIR(status.st_mode) and real in above:
        return _refused(path, "this link leads to a folder that it is in itself", "remove the link", holds_files=True)
    if stat.S_ISDIR(status.st_mode):
        return _Below(place, f"{path}/", (*above, real))
    if stat.S_ISREG(status.st_mode):
        return Found(path, place, status)
    return _refused(
        path, "this is a socket, a pipe or a device, and no file", "remove it, or leave it out with 'exclude'"
    )


def is_inside(real: str, root: str) -> bool:
    """Whether a path is the folder ``root`` or below it; both as ``os.path.realpath`` writes them."""
    real, root = os.path.normcase(real), os.path.normcase(root)
    return real == root or real.startswith(root.rstrip(os.sep) + os.sep)


def _unreadable(entry: os.DirEntry[str], path: str, error: OSError) -> Refused:
    if entry.is_symlink():
        return _refused(path, "this link leads nowhere", "remove the link, or restore what it led to")
    return _refused(path, f"this cannot be read: {error.strerror}", _RIGHTS)


_RIGHTS = "give yourself the right to read it"


def _refused(path: str, what: str, hint: str, *, holds_files: bool = False) -> Refused:
    return Refused(path, Problem(printable(path), what, hint), holds_files)


def _leaving_hint(place: str) -> str:
    snapshot = _SNAPSHOT.search(place)
    if not snapshot:
        return "put the file itself there, or leave the link out with 'exclude'"
    name = snapshot["name"].replace("--", "/", 1)
    return (
        f"this folder is the hub's cache of {name}, which holds links only: write 'hf: {name}' in the recipe, "
        f"or make a folder with: hf download {name} --local-dir DIR"
    )
