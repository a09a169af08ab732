"""Digests of a folder's files, remembered between runs, so that what did not change is not read again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from buildkit.machine.atomic import AtomicFile
from buildkit.machine.cache import cache_folder
from buildkit.oci.parsing import parse
from buildkit.sources.walk import Found

LARGE = 64 * 1024 * 1024
"""Bytes. Smaller files are read before they are sent, and none of their blocks are kept in mind."""

_FORMAT = 2
_BLOCK = 1024 * 1024
_KEPT_SECONDS = 90 * 24 * 3600
_SETTLED_NS = 2_000_000_000
"""A file that was changed less than 2 s before it was hashed may change again without its time moving: file systems count
as coarsely as that. Its digest is not remembered."""

_SAMPLED = 32
_SAMPLE_BYTES = 4096
_SAMPLES_KEPT = 16

Digests = dict[str, tuple[list[int], str]]
Samples = dict[str, list[str]]


class DigestCache:
    """What the files of one folder hashed to: one JSON file for each folder, replaced as a whole and never needed.

    Two processes may use it at once: the one that ends last wins, and both are right.
    """

    def __init__(self, folder: Path) -> None:
        # Relative paths inside a file that is named after the folder: together the absolute path is the key.
        name = hashlib.sha256(os.path.realpath(folder).encode(errors="surrogateescape")).hexdigest()[:32]
        self._place = cache_folder() / "digests" / f"{name}.json"
        self._known, self._samples = _read(self._place)
        self._began = time.time_ns()

    def known(self, file: Found) -> str | None:
        """The sha256 of a file that has the size, time and inode it had when it was hashed; None where it must be read."""
        kept = self._known.get(file.path)
        return kept[1] if kept and kept[0] == identity(file.status) else None

    def is_new(self, file: Found) -> bool:
        """Whether what the file holds now was certainly never read here under this path.

        Blocks all over the file are compared with the same ones of what was read.
        """
        seen = self._samples.get(file.path, [])
        return not seen or bool((sample := _sample(file.place)) and sample not in seen)

    def last(self, path: str) -> str | None:
        """The sha256 that was read last under a path and is remembered, whatever is there now; None where none is."""
        kept = self._known.get(path)
        return kept[1] if kept else None

    def keep(self, hashed: Mapping[str, tuple[Found, str]], present: Iterable[str]) -> None:
        """Remembers these files, and of what was known those that are still ``present``: another recipe may take them.

        A failure to write is no failure of the build.
        """
        settled = self._began - _SETTLED_NS
        there = set(present)
        now = {path: kept for path, kept in self._known.items() if path in there and path not in hashed}
        now |= {
            path: (identity(file.status), sha256)
            for path, (file, sha256) in hashed.items()
            if file.status.st_mtime_ns < settled
        }
        samples = {path: seen for path, seen in self._samples.items() if path in there}
        self._keep(now, samples | self._sampled(file for file, _ in hashed.values() if not self.known(file)))

    def add(self, file: Found, digest: str) -> None:
        """Remembers one more file, at once: a run that is killed has not read it for nothing."""
        settled = file.status.st_mtime_ns < self._began - _SETTLED_NS
        now = {**self._known, file.path: (identity(file.status), digest)} if settled else self._known
        self._keep(now, self._samples | self._sampled([file]))

    def _sampled(self, files: Iterable[Found]) -> Samples:
        """The samples of the large ones of these files, after those that were taken under the same paths before."""
        samples = {}
        for file in files:
            if is_large(file) and (sample := _sample(file.place)):
                earlier = [one for one in self._samples.get(file.path, []) if one != sample]
                samples[file.path] = [*earlier, sample][-_SAMPLES_KEPT:]
        return samples

    def _keep(self, now: Digests, samples: Samples) -> None:
        if (now, samples) == (self._known, self._samples):
            return
        self._known, self._samples = now, samples
        # A cache that cannot be written costs time only; UnicodeError: a name of the file system's that is no text.
        with contextlib.suppress(OSError, UnicodeError):
            self._place.parent.mkdir(parents=True, exist_ok=True)
            _forget_old(self._place.parent)
            with AtomicFile(self._place.parent) as written:
                written.file.write(json.dumps({"format": _FORMAT, "files": now, "samples": samples}).encode())
                written.keep(self._place)


def is_large(file: Found) -> bool:
    """Whether reading the file once instead of twice is worth it."""
    return file.status.st_size >= LARGE


def sha256(place: str, moved: Callable[[int], None]) -> str:
    """Reads a file and returns its sha256; ``moved`` hears of every block and may raise to stop. Raises OSError."""
    digest = hashlib.sha256()
    buffer = bytearray(_BLOCK)
    view = memoryview(buffer)
    with open(place, "rb", buffering=0) as file:
        while amount := file.readinto(buffer):
            digest.update(view[:amount])
            moved(amount)
    return digest.hexdigest()


def identity(status: os.stat_result) -> list[int]:
    """What tells that a file is still the one that was hashed: size, times and, where the platform has one, inode (it is 0 on some file systems of Windows)."""
    # The time of the last change of any kind cannot be set: a file that was replaced by one with its size and times is found.
    return [status.st_size, status.st_mtime_ns, status.st_ino, *([status.st_ctime_ns] if os.name == "posix" else [])]


def _sample(place: str) -> str:
    """A digest of blocks all over a file and of its size; nothing where it cannot be read, which whoever reads it all will tell."""
    digest = hashlib.sha256()
    try:
        with open(place, "rb", buffering=0) as file:
            last = max(os.fstat(file.fileno()).st_size - _SAMPLE_BYTES, 0)
            digest.update(b"%d" % last)
            for number in range(_SAMPLED):
                file.seek(last * number // (_SAMPLED - 1))
                digest.update(file.read(_SAMPLE_BYTES))
    except OSError:
        return ""
    return digest.hexdigest()


def _read(place: Path) -> tuple[Digests, Samples]:
    try:
        content = parse(place.read_bytes())
        if content["format"] != _FORMAT:
            return {}, {}
        digests = {
            str(path): ([int(number) for number in identity], str(digest))
            for path, (identity, digest) in content["files"].items()
        }
        return digests, {str(path): [str(one) for one in seen] for path, seen in content["samples"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return {}, {}


def _forget_old(folder: Path) -> None:
    oldest = time.time() - _KEPT_SECONDS
    for entry in folder.iterdir():
        with contextlib.suppress(OSError):
            if entry.stat().st_mtime < oldest:
                entry.unlink()
