"""What a doctor finds: how it is, and what to do where it is not well."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

State = Literal["ok", "missing", "broken"]


@dataclass(frozen=True)
class Finding:
    """Something that is there (``ok``), is not (``missing``: needed only for some work), or does not work (``broken``)."""

    part: str
    name: str
    state: State
    what: str
    mend: str = ""

    def document(self) -> dict[str, Any]:
        """The same as a JSON document."""
        return asdict(self)
