"""A model in a folder: what is in it now, hashed once, and read where it lies."""

from __future__ import annotations

import os
import stat
import sys
import threading
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from buildkit.errors import InvalidInput, Problem, SourceFailed
from buildkit.events import Began, Emit, Ended, Moved, silent
from buildkit.inputs import HUB_REPOSITORY
from buildkit.pin import File, Inventory
from buildkit.sources import local, walk
from buildkit.sources.digests import DigestCache, identity, is_large, sha256
from buildkit.sources.selection import clashes, name_problem, printable, refuse_nothing, selected
from buildkit.sources.walk import Found, LeaveOut, Refused

_WHERE = "the path in the recipe counts from the recipe's own folder"
_HASHERS = 2
_POLL_SECONDS = 0.2


class Folder:
    """The files of a folder that a recipe selects. ``name`` is the folder as the recipe writes it.

    ``program``: it holds a program, of which it matters what may be executed, and which may be empty. ``listing``: large files
    that were certainly never read here are only listed; what they hash to is learned when they are read.
    """

    distant = False

    def __init__(
        self,
        path: Path,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        *,
        name: str = "",
        emit: Emit = silent,
        leave_out: LeaveOut | None = None,
        program: bool = False,
        listing: bool = False,
    ) -> None:
        self.path = path
        self._leave_out = leave_out
        self._program = program
        self.name = name or path.name
        self._include = include
        self._exclude = exclude
        self._emit = emit
        self._folders: dict[str, bool] = {}
        self._listing = listing
        self._lock = threading.Lock()
        self._opened: dict[str, Found] = {}
        self.learned: dict[str, str] = {}

    def inventory(self) -> Inventory:
        """Lists and hashes the files; raises InvalidInput with everything that cannot be taken, and SourceFailed."""
        everything = self._everything()
        files = self._taken(everything)
        cache = self._digests
        digests = {file.path: known for file in files if (known := cache.known(file))}
        unknown = [file for file in files if file.path not in digests]
        digests |= _Hashing([file for file in unknown if not self._may_wait(file)], self.name, self._emit).digests()
        hashed = {file.path: (file, digests[file.path]) for file in files if file.path in digests}
        cache.keep(hashed, map(_path, everything))
        return Inventory("folder", self.name, tuple(self._pinned(file, digests.get(file.path, "")) for file in files))

    def _may_wait(self, file: Found) -> bool:
        return self._listing and is_large(file) and self._digests.is_new(file)

    def last(self, path: str) -> str | None:
        """What the digests of this folder tell; see :class:`buildkit.pin.Listing`."""
        return self._digests.last(path)

    def learn(self, file: File, sha256: str) -> None:
        """Takes the digest of a file that was read, and remembers it; raises SourceFailed where it changed meanwhile."""
        with self._lock:
            found = self._opened[file.path]
            now = local.found(file.path, found.place, file.path)
            if identity(found.status) != identity(now.status) or self.learned.setdefault(file.path, sha256) != sha256:
                raise _changed(f"{printable(file.path)} in {self.name}")
            self._digests.add(found, sha256)

    def _pinned(self, file: Found, digest: str) -> File:
        executable = self._program and bool(file.status.st_mode & stat.S_IXUSR)
        return File(file.path, file.status.st_size, digest, executable=executable)

    def open(self, file: File, start: int = 0) -> Iterator[bytes]:
        """Yields a file's bytes from ``start`` on; raises SourceFailed where it is gone, unreadable or of another size."""
        parent, _, name = file.path.rpartition("/")
        folder = os.path.join(self.path, *parent.split("/"))
        what = f"{file.path} in {self.name}"
        place = os.path.join(folder, name)
        # What was checked when the folder was pinned may have been replaced by a link since.
        if not self._is_inside(folder) or (
            os.path.islink(place) and not walk.is_inside(os.path.realpath(place), self._root)
        ):
            raise SourceFailed(f"{what} is a link that leaves the folder", hint="it was not when the folder was pinned")
        if not file.is_read:
            self._opened[file.path] = local.found(file.path, place, what)
        yield from local.blocks(place, file, start, what)

    def vouches(self, file: File) -> bool:
        """Whether the file has the size, time and inode that it had when it was hashed to the pinned digest."""
        place = Path(os.path.join(self.path, *file.path.split("/")))
        try:
            return self._digests.known(Found(file.path, str(place), os.stat(place))) == file.sha256
        except OSError:
            return False

    def remedy(self, file: File) -> str:
        """What to do where the file turned out not to be the pinned one."""
        return "if the change is meant, build again"

    @cached_property
    def _digests(self) -> DigestCache:
        return DigestCache(self.path)

    @cached_property
    def _root(self) -> str:
        return os.path.realpath(self.path)

    def _is_inside(self, folder: str) -> bool:
        if folder not in self._folders:
            self._folders[folder] = walk.is_inside(os.path.realpath(folder), self._root)
        return self._folders[folder]

    def _everything(self) -> list[Found | Refused]:
        if not self.path.is_dir():
            what = "is a file, and no folder" if self.path.exists() else "is not there"
            raise InvalidInput(f"the folder {self.path} {what}", hint=f"{_WHERE}{self._or_a_repository}")
        return list(walk.found(self.path, self._leave_out))

    @property
    def _or_a_repository(self) -> str:
        """A model's name on a hub reads like a path of two folders."""
        is_model = self._leave_out is None and "/" in self.name and HUB_REPOSITORY.fullmatch(self.name)
        return f", or write hf://{self.name} for a model of the hub" if is_model else ""

    def _taken(self, everything: Sequence[Found | Refused]) -> list[Found]:
        chosen = selected(everything, self._include, self._exclude, key=_path)
        files = sorted((item for item in chosen if isinstance(item, Found)), key=_path)
        problems = [item.problem for item in self._refused(everything)]
        problems += [problem for file in files if (problem := name_problem(file.path, "") or _misread(file.path))]
        problems += clashes(file.path for file in files)
        if problems:
            hint = next(
                (problem.hint for problem in problems if problem.hint), "rename them, or leave them out with 'exclude'"
            )
            raise InvalidInput(f"the folder {self.path} holds what cannot be taken", problems, hint=hint)
        if everything or not self._program:
            refuse_nothing(files, [_path(item) for item in everything], f"the folder {self.path}")
        return files

    def _refused(self, everything: Sequence[Found | Refused]) -> list[Refused]:
        """What the recipe would take if it could; what holds files of unknown names counts unless it is excluded."""
        refused = [item for item in everything if isinstance(item, Refused)]
        files = selected([item for item in refused if not item.holds_files], self._include, self._exclude, key=_path)
        folders = selected([item for item in refused if item.holds_files], (), self._exclude, key=_path)
        return files + selected(folders, (), self._exclude, key=lambda item: f"{item.path}/")


class _Stopped(Exception):
    """Ends a thread's reading when the others' result is not wanted any more."""


class _Hashing:
    """Hashes files with two threads, which are daemons: reading a silent network disk must not outlive an interruption."""

    def __init__(self, files: Sequence[Found], name: str, emit: Emit) -> None:
        # The largest first, so that no thread is left alone with one at the end.
        self._files = iter(sorted(files, key=lambda file: file.status.st_size, reverse=True))
        self._count = len(files)
        self._total = sum(file.status.st_size for file in files)
        self._name = name
        self._emit = emit
        self._lock = threading.Lock()
        self._digests: dict[str, str] = {}
        self._failures: list[BaseException] = []

    def digests(self) -> dict[str, str]:
        """The sha256 of every file by path; raises SourceFailed where one cannot be read or changes meanwhile."""
        if not self._count:
            return {}
        key = f"hash {self._name}"
        self._emit(Began(key, self._name, self._total))
        threads = [
            threading.Thread(target=self._work, args=(key,), daemon=True) for _ in range(min(_HASHERS, self._count))
        ]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    thread.join(_POLL_SECONDS)
        except BaseException as interruption:
            self._failures.append(interruption)
            raise
        self._emit(Ended(key, "failed" if self._failures else "hashed"))
        if self._failures:
            raise self._failures[0]
        return self._digests

    def _work(self, key: str) -> None:
        try:
            while not self._failures and (file := self._next()):
                self._digests[file.path] = self._steady(file, key)
        except BaseException as failure:
            self._failures.append(failure)

    def _next(self) -> Found | None:
        with self._lock:
            return next(self._files, None)

    def _steady(self, file: Found, key: str) -> str:
        """The digest of a file that is after reading what it was before."""
        what = f"{printable(file.path)} in {self._name}"
        try:
            digest = sha256(file.place, lambda amount: self._moved(key, amount))
            now = os.stat(file.place)
        except OSError as error:
            raise local.unreadable(what, error) from None
        before = file.status
        if (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise _changed(what)
        return digest

    def _moved(self, key: str, amount: int) -> None:
        if self._failures:
            raise _Stopped
        with self._lock:
            self._emit(Moved(key, amount))


def _misread(path: str) -> Problem | None:
    """A name that means another one here: Python reads names by the locale's encoding, if that is not UTF-8 (PEP 383, PEP 540)."""
    encoding = sys.getfilesystemencoding()
    if path.isascii() or encoding == "utf-8":
        return None
    what = f"the name {printable(path)} was read as {encoding}, and would be another one elsewhere"
    return Problem("", what, "set PYTHONUTF8=1 in the environment, and run the same command again")


def _changed(what: str) -> SourceFailed:
    return SourceFailed(f"{what} was changed while it was read", hint="run it again when nothing writes there any more")


def _path(item: Found | Refused) -> str:
    return item.path
