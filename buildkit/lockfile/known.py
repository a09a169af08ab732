"""Digests of layers that this machine has packed once, by what decided their bytes, and the repositories that took them.

A run that was cut off between its blobs and its manifest goes on from here: what it had sent is recognised and not sent
again. Nothing depends on it: without it a layer is packed once more.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from pathlib import Path

from buildkit.errors import InvalidInput
from buildkit.machine.atomic import AtomicFile
from buildkit.machine.cache import cache_folder
from buildkit.oci.reference import Digest, Reference

_KEPT_SECONDS = 90 * 24 * 3600
_HOMES_KEPT = 8


class KnownLayers:
    """A folder with two files for each layer: one named after its key tells its digest, one after its digest who took it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def here(cls) -> KnownLayers:
        """Those of this machine, in its cache."""
        return cls(cache_folder() / "layers")

    def of(self, keys: Iterable[str]) -> dict[str, Digest]:
        """The digests that are known, by key; what cannot be read is not known."""
        found = {}
        for key in keys:
            with contextlib.suppress(OSError, InvalidInput, UnicodeDecodeError):
                found[key] = Digest(self._place(key).read_text(encoding="ascii").strip())
        return found

    def learn(self, key: str, digest: Digest) -> None:
        """Remembers a digest; where that cannot be written it is not remembered."""
        self._write(key, digest)

    def _write(self, key: str, text: str) -> None:
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._prune()
            with AtomicFile(self._folder) as atomic:
                atomic.file.write(f"{text}\n".encode())
                atomic.keep(self._place(key))

    def homes(self, digest: Digest) -> tuple[Reference, ...]:
        """The repositories that took a layer from this machine, the newest first."""
        try:
            names = self._place(_homes_of(digest)).read_text(encoding="utf-8").split()
            return tuple(Reference.parse(name) for name in names)
        except (OSError, InvalidInput, UnicodeDecodeError):
            return ()

    def took(self, digest: Digest, home: Reference) -> None:
        """Remembers that a repository took a layer; where that cannot be written it is not remembered."""
        before = self.homes(digest)
        if home in before[:1]:
            return
        names = [home.name, *(one.name for one in before if one.name != home.name)][:_HOMES_KEPT]
        self._write(_homes_of(digest), " ".join(names))

    def gzip(self, tar: Digest) -> Digest | None:
        """The digest of a layer's gzip, as Docker's form has it, by that of its tar; None where it is not known."""
        return self.of([_gzip_of(tar)]).get(_gzip_of(tar))

    def learn_gzip(self, tar: Digest, gzip: Digest) -> None:
        """Remembers the digest of a layer's gzip."""
        self.learn(_gzip_of(tar), gzip)

    def _place(self, key: str) -> Path:
        return self._folder / Digest.of(key.encode()).hex

    def _prune(self) -> None:
        oldest = time.time() - _KEPT_SECONDS
        for path in self._folder.iterdir():
            # What another thread is writing is there for a moment under a name of its own.
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < oldest:
                    path.unlink()


def _gzip_of(tar: Digest) -> str:
    return f"gzip of {tar}"


def _homes_of(digest: Digest) -> str:
    return f"homes of {digest}"
