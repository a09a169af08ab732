"""Sizes as people write them: a number of bytes, or a number with a unit."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from buildkit.reading.plain import Refusal, shown

_UNITS = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
_WRITTEN = re.compile(r"(\d{1,18})(?:\.(\d{1,9}))? ?([kKMGT]?i?B)", re.ASCII)
_HINT = f"write bytes, or a number with a unit: {', '.join(_UNITS)}"
SMALLEST = 1024 * 1024


def size(value: Any) -> int:
    """Bytes; raises Refusal for what is no size, and for less than a mebibyte."""
    found = _WRITTEN.fullmatch(value) if isinstance(value, str) else None
    if found and found[3] in _UNITS:
        unit, fraction = _UNITS[found[3]], found[2] or ""
        amount: int = int(found[1]) * unit + int(f"0{fraction}") * unit // 10 ** len(fraction)
    elif isinstance(value, int) and not isinstance(value, bool):
        amount = int(value)
    else:
        raise Refusal(f"{shown(str(value))} is not a size", _HINT)
    if amount < SMALLEST:
        raise Refusal(f"{amount} bytes are too few", f"write at least {SMALLEST}")
    return amount


_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": SMALLEST},
        {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?(k|K|M|G|T)?i?B$"},
    ]
}
Size = Annotated[int, BeforeValidator(size), WithJsonSchema(_SCHEMA)]
"""A field that holds a number of bytes."""
