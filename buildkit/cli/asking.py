"""What ``modelpack init`` asks of a person; a pipeline says it with arguments, and is never asked."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import typer

from buildkit.cli.terminal import may_ask

KIND = "modelcar"
"""The kind of a recipe where nobody says another."""


def begun(kind: str | None, folder: Path | None, name: str | None) -> tuple[str, Path, str | None]:
    """What to begin with. Without a kind it is asked for, with all that is not said, where somebody can answer.

    What was answered is told as the command that says the same.
    """
    if kind is not None or not may_ask():
        return kind or KIND, folder or Path(), name
    kind = _kind()
    folder = folder or Path(_answer("Folder", "."))
    name = name or _answer("Name of the image", _suggested(folder))
    said = ["modelpack", "init", kind, *([str(folder)] if folder != Path() else []), "--name", name]
    print(f"\nThe same without questions: {shlex.join(said)}", file=sys.stderr)
    return kind, folder, name


def _kind() -> str:
    from buildkit.kinds import kinds

    summaries = {name: (one.spec.__doc__ or "").partition("\n")[0] for name, one in kinds().items()}
    widest = max(map(len, summaries))
    print("What is the image to be?\n", file=sys.stderr)
    for name, summary in summaries.items():
        print(f"  {name:<{widest}}  {_fitting(summary, widest + 4)}", file=sys.stderr)
    print(file=sys.stderr)
    while (answer := _answer("Kind", KIND)) not in summaries:
        print(f"There is no kind {answer!r}: write one of the names above.", file=sys.stderr)
    return answer


def _fitting(text: str, indent: int) -> str:
    """A sentence in lines that fit a terminal of 80 columns."""
    import textwrap

    return f"\n{' ' * indent}".join(textwrap.wrap(text, 79 - indent))


def _answer(question: str, suggested: str) -> str:
    return str(typer.prompt(question, default=suggested, err=True)).strip()


def _suggested(folder: Path) -> str:
    from buildkit.start import name_of

    return name_of(folder)
