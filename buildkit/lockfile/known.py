"""Digests of layers that this machine has packed once, by what decided their bytes.

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
from buildkit.oci.reference import Digest

_KEPT_SECONDS = 90 * 24 * 3600


class KnownLayers:
    """A folder with a file for each layer: its name is the layer's key, its content the digest."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, keys: Iterable[str]) -> dict[str, Digest]:
        """The digests that are known, by key; what cannot be read is not known."""
        found = {}
        for key in keys:
            with contextlib.suppress(OSError, InvalidInput, UnicodeDecodeError):
                found[key] = Digest(self._place(key).read_text(encoding="ascii").strip())
        return found

    def learn(self, key: str, digest: Digest) -> None:
        """Remembers a digest; where that cannot be written it is not remembered."""
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._prune()
            with AtomicFile(self._folder) as atomic:
                atomic.file.write(f"{digest}\n".encode())
                atomic.keep(self._place(key))

    def _place(self, key: str) -> Path:
        return self._folder / Digest.of(key.encode()).hex

    def _prune(self) -> None:
        oldest = time.time() - _KEPT_SECONDS
        for path in self._folder.iterdir():
            if path.stat().st_mtime < oldest:
                path.unlink(missing_ok=True)
