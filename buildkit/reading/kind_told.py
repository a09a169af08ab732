"""Which kind of recipe a file says that it is, without reading it as YAML: a folder may hold thousands of manifests and charts."""

from __future__ import annotations

import re
from pathlib import Path

from buildkit.reading.written import LARGEST

_KIND = re.compile(r"""^["']?kind["']?\s*:\s*["']?([\w.-]+)""", re.MULTILINE)
_IN_JSON = re.compile(r'"kind"\s*:\s*"([\w.-]+)"')


def kind_told(path: Path) -> str | None:
    """What a file says its kind is; None where it says none, or cannot be read."""
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST).decode("utf-8-sig", errors="replace")
    except OSError:
        return None
    found = (_IN_JSON if text.lstrip().startswith("{") else _KIND).search(text)
    return found[1] if found else None
