"""JSON that came from outside: from a registry, an archive, a scanner, another program's file."""

from __future__ import annotations

import json
from typing import Any


def parse(text: bytes | str) -> Any:
    """Reads JSON; raises ValueError for what is none, also where it is nested deeper than Python reads it."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested without end") from error
