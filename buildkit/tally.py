"""What a transfer will cost, said before it begins, and what it did cost, said when it is over."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence

from buildkit.events import Began, Emit, Ended, Event
from buildkit.oci.image import Image, Layer

_MEMORY = "less than 150 MB of memory"
"""What the benchmarks hold the embedded engine to, however large the model is."""


def human(size: float) -> str:
    """Bytes for a person, in powers of 1000 as registries and disks count them."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.2f} TB"


def forecast(name: str, images: Sequence[Image]) -> str:
    """One line: how much is read and sent at most, and how much is known and only looked for."""
    layers = {layer.blob.key: layer for image in images for layer in image.layers}
    new = [layer for layer in layers.values() if layer.blob.digest is None]
    known = [layer for layer in layers.values() if layer.blob.digest is not None]
    parts = []
    if new:
        parts.append(f"{_layers(new)} to read and send, through {_MEMORY}, nothing of it on disk")
    if known:
        parts.append(f"{_layers(known)} with known digests, sent only where missing")
    return f"{name}: " + "; ".join(parts)


class Tally:
    """Passes events on and counts what became of every blob."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._totals: dict[str, int] = {}
        self._bytes: Counter[str] = Counter()
        self._count: Counter[str] = Counter()
        self._lock = threading.Lock()

    def emit(self, event: Event) -> None:
        """Takes one event."""
        with self._lock:
            if isinstance(event, Began):
                self._totals[event.key] = event.total or 0
            elif isinstance(event, Ended) and event.key in self._totals:
                self._bytes[event.outcome] += self._totals[event.key]
                self._count[event.outcome] += 1
        self._emit(event)

    def summary(self, name: str) -> str:
        """One line: how many layers and bytes were sent, mounted, or there already."""
        told = [f"{outcome} {self._count[outcome]} ({human(self._bytes[outcome])})" for outcome in sorted(self._count)]
        return f"{name}: layers {', '.join(told)}" if told else f"{name}: no layers"


def _layers(layers: Sequence[Layer]) -> str:
    count = "1 layer" if len(layers) == 1 else f"{len(layers)} layers"
    return f"{count} ({human(sum(layer.blob.size for layer in layers))})"
