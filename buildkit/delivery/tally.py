"""What a transfer will cost, said before it begins, and what it did cost, said when it is over."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Sequence

from buildkit.amounts import human
from buildkit.events import Began, Emit, Ended, Event, Forecast, Summary
from buildkit.oci.image import Layer

MEMORY = 150_000_000
"""Bytes. What the benchmarks hold the embedded engine to, however large the model is."""


def forecast(name: str, listed: Iterable[Layer]) -> Forecast:
    """How much of these layers is read and sent at most, and how much is known and only looked for."""
    layers, new, known = _sorted(listed)
    parts = []
    if new:
        parts.append(
            f"{_layers(new)} to read and send, through less than {human(MEMORY)} of memory, nothing of it on disk"
        )
    if known:
        parts.append(f"{_layers(known)} with known digests, sent only where missing")
    text = f"{name}: " + "; ".join(parts or ["nothing to send but the manifest"])
    return Forecast(name, text, _size(new), _size(known), MEMORY if layers else 0, 0)


def forecast_written(name: str, listed: Iterable[Layer]) -> Forecast:
    """The same where the layers are written to a layout or an archive: at most all of them are, to its disk."""
    layers, new, known = _sorted(listed)
    text = f"{name}: {_layers(layers)} to write there at most, through less than {human(MEMORY)} of memory"
    return Forecast(name, text, _size(new), _size(known), MEMORY, _size(layers))


class Tally:
    """Passes events on and notes what became of every blob."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._totals: dict[str, int] = {}
        self._ended: list[tuple[str, int]] = []
        self._lock = threading.Lock()

    def emit(self, event: Event) -> None:
        """Takes one event."""
        with self._lock:
            if isinstance(event, Began):
                self._totals[event.key] = event.total or 0
            elif isinstance(event, Ended) and event.key in self._totals:
                self._ended.append((event.outcome, self._totals[event.key]))
        self._emit(event)

    def summary(self, name: str, placed: Iterable[tuple[str, int]] | None = None) -> Summary:
        """How many layers and bytes were sent, mounted, or there already, and what was read of files for them.

        ``placed`` are outcomes and bytes of one of several registries, whose layers fared differently than all together.
        """
        moved, count = Counter[str](), Counter[str]()
        for outcome, size in self._ended if placed is None else placed:
            moved[outcome] += size
            count[outcome] += 1
        outcomes = {outcome: size for outcome, size in sorted(moved.items()) if outcome != "read"}
        told = [f"{outcome} {count[outcome]} ({human(size)})" for outcome, size in outcomes.items()]
        text = f"{name}: layers {', '.join(told)}" if told else f"{name}: no layers"
        return Summary(name, text, outcomes, sum(size for outcome, size in self._ended if outcome == "read"))


def _sorted(listed: Iterable[Layer]) -> tuple[list[Layer], list[Layer], list[Layer]]:
    """Every layer once, those that nobody knows the digest of, and those that are known."""
    layers = list({layer.blob.key: layer for layer in listed}.values())
    return (
        layers,
        [layer for layer in layers if layer.blob.digest is None],
        [layer for layer in layers if layer.blob.digest is not None],
    )


def _layers(layers: Sequence[Layer]) -> str:
    count = "1 layer" if len(layers) == 1 else f"{len(layers)} layers"
    return f"{count} ({human(_size(layers))})"


def _size(layers: Sequence[Layer]) -> int:
    return sum(layer.blob.size for layer in layers)
