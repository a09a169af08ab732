"""A model on a hub that is read through the cache of the hub's own library: downloaded once, kept, read from there."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from buildkit.errors import SourceFailed
from buildkit.events import Began, Emit, Ended, Moved, silent
from buildkit.pin import File, Inventory
from buildkit.reading.plain import Refusal, shown
from buildkit.sources import hub_cache
from buildkit.sources.hub_cache import CacheFailed, Keeping
from buildkit.sources.huggingface import HuggingFace
from buildkit.sources.refusals import refuse_offline

_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


class CachedHuggingFace:
    """Like :class:`HuggingFace`, for builds whose image is pushed later: what is read stays in the hub library's cache."""

    distant = True

    def __init__(self, hub: HuggingFace, emit: Emit = silent) -> None:
        self._hub = hub
        self._emit = emit

    def vouches(self, file: File) -> bool:
        """Never: what comes over a line, or lies where others write, is proven."""
        return False

    def remedy(self, file: File) -> str:
        """What to do where the file turned out not to be the pinned one."""
        return self._hub.remedy(file)

    def inventory(self) -> Inventory:
        """What the repository holds; see :meth:`HuggingFace.inventory`."""
        return self._hub.inventory()

    def open(self, file: File, start: int = 0) -> Iterator[bytes]:
        """Yields a file's bytes from ``start`` on, and keeps them where it is read from its beginning; raises SourceFailed."""
        if start or self._hub.cached(file):
            self._link(file)
            return self._hub.open(file, start)
        return self._watched(file)

    def _link(self, file: File) -> None:
        try:
            hub_cache.link(*self._hub.place(), file)
        except Refusal as refused:
            raise SourceFailed(f"{shown(file.path)} of {self._hub.ref.hf}: {refused}") from None

    def _watched(self, file: File) -> Iterator[bytes]:
        key = f"download {file.path}"
        self._emit(Began(key, file.path, file.size))
        try:
            for piece in self._kept(file):
                self._emit(Moved(key, len(piece)))
                yield piece
        except BaseException:
            self._emit(Ended(key, "failed"))
            raise
        self._emit(Ended(key, "read"))

    def _kept(self, file: File) -> Iterator[bytes]:
        refuse_offline(f"{file.path} of {self._hub.ref.hf} is not in the hub's cache")
        # What may not have a pointer is refused before anything is written for it.
        self._link(file)
        try:
            with Keeping(self._hub.place()[0], file) as keeping:
                yield from self._downloaded(file, keeping) if keeping.is_mine else self._hub.open(file)
        except CacheFailed as failed:
            raise _unkept(file, failed) from None
        self._link(file)

    def _downloaded(self, file: File, keeping: Keeping) -> Iterator[bytes]:
        yield from keeping.resumed()
        if not hub_cache.has_room(file.size - keeping.position):
            raise _no_room(file)
        if keeping.position < file.size or not file.size:
            for piece in self._hub.streamed(file, keeping.position):
                keeping.write(piece)
                yield piece
        keeping.keep()


def _unkept(file: File, failed: CacheFailed) -> SourceFailed:
    if failed.error.errno in _FULL:
        return _no_room(file)
    why = failed.error.strerror or type(failed.error).__name__
    return SourceFailed(
        f"the hub's cache {hub_cache.place()} may not be written: {why}", hint="set HF_HOME to a folder that may be"
    )


def _no_room(file: File) -> SourceFailed:
    return SourceFailed(
        f"the disk has no room for {file.path}: {file.size:,} bytes are needed in {hub_cache.place()}",
        hint="free some, set HF_HOME to another disk, or build with --push, which keeps nothing on disk",
    )
