"""Where ``--output`` writes: a layout in a folder, or an archive."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, cast

from buildkit.errors import InvalidInput, Problem

Form = Literal["oci", "oci-archive", "docker-archive"]


@dataclass(frozen=True)
class Output:
    """Where ``--output`` writes: ``oci:DIR``, ``oci-archive:FILE`` or ``docker-archive:FILE``."""

    form: Form
    path: Path

    FORMS: ClassVar = ("oci", "oci-archive", "docker-archive")

    @classmethod
    def parse(cls, text: str) -> Output:
        """Reads the option; raises InvalidInput."""
        form, colon, name = text.partition(":")
        if form not in cls.FORMS or not colon or not name:
            raise InvalidInput(
                f"{text!r} is no output",
                [Problem("--output", "it must say what is written and where")],
                hint="oci:DIR, oci-archive:FILE or docker-archive:FILE",
            )
        path = Path(name)
        if form == "oci" and path.exists() and not path.is_dir():
            raise InvalidInput(
                f"{path} is not a folder", hint="an OCI layout is a folder; for a file use oci-archive:FILE"
            )
        if form != "oci" and path.exists() and not path.is_file():
            raise InvalidInput(f"{path} is not a file", hint=f"name a file that {form} may write")
        # A link is written through, and never replaced.
        return cls(cast(Form, form), path.resolve())
