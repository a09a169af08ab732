"""The exit codes."""

from __future__ import annotations

from buildkit.errors import EXIT_CODES
from docs.generate.markdown import code, plain, table


def page() -> str:
    """The page, from the codes that the command ends with."""
    return "\n\n".join(
        [
            "# The exit codes",
            table(("code", "what it means"), [(code(str(number)), plain(what)) for number, what in EXIT_CODES.items()]),
            "What failed is on stderr: `error:` with what is wrong and where, and `hint:` with what to do about it. stdout has results"
            " alone, also when some of them failed: `modelpack build` of several recipes prints the images that were built. With"
            " `--json` an error, and an interruption too, is a line of JSON on stderr, with `event`, `what`, `problems` and `hint`.",
        ]
    )
