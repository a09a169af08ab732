"""The table that a person reads, and what is reached."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from benchmarks.measure import Sample
from benchmarks.work import Target, Work, medians

_HEAD = ("", "wall s", "min-max", "ratio", "CPU s", "peak MiB", "written MiB", "up MiB", "down MiB", "requests")
_MIB = 1 << 20


def table(work: Work, samples: Mapping[str, Sequence[Sample]]) -> str:
    """Medians, one line for each contender; ``ratio`` is its time over that of the one it is compared with."""
    found = medians(samples)
    unit = found[work.against].wall
    rows = [_HEAD, *(_row(name, found[name], samples[name], unit) for name in samples)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    return "\n".join(
        "| " + " | ".join(_cell(*pair) for pair in zip(row, widths, strict=True)) + " |" for row in _ruled(rows, widths)
    )


def verdicts(work: Work, samples: Mapping[str, Sequence[Sample]]) -> list[tuple[str, bool]]:
    """One line for each target, and whether it was measured and missed."""
    found = medians(samples)
    judged = [(target, *target.reached(found)) for target in work.targets]
    return [
        (_verdict(target, figure, reached), not reached and not math.isnan(figure))
        for target, figure, reached in judged
    ]


def _row(name: str, middle: Sample, taken: Sequence[Sample], unit: float) -> tuple[str, ...]:
    walls = [sample.wall for sample in taken]
    sizes = (middle.peak, middle.written, middle.sent, middle.received)
    return (
        name,
        f"{middle.wall:.2f}",
        f"{min(walls):.2f}-{max(walls):.2f}",
        f"{middle.wall / unit:.2f}",
        f"{middle.cpu:.2f}",
        *(f"{size / _MIB:.1f}" for size in sizes),
        f"{middle.requests:.0f}",
    )


def _ruled(rows: Sequence[tuple[str, ...]], widths: Sequence[int]) -> list[tuple[str, ...]]:
    return [rows[0], tuple("-" * width for width in widths), *rows[1:]]


def _cell(text: str, width: int) -> str:
    return text.rjust(width) if text[:1].isdigit() else text.ljust(width)


def _verdict(target: Target, figure: float, reached: bool) -> str:
    if math.isnan(figure):
        return f"- {target.text}: not measured here"
    return f"- {target.text}: {figure:.2f} {target.unit} -> {'reached' if reached else 'MISSED'}"
