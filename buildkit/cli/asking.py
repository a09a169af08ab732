"""What is asked of a person; a pipeline says it with arguments, and is never asked."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from buildkit.cli.terminal import may_ask
from buildkit.errors import InvalidInput

KIND = "modelcar"
"""The kind of a recipe where nobody says another."""


def begun(kind: str | None, folder: Path | None, name: str | None) -> tuple[str, Path, str | None]:
    """What ``modelpack init`` begins with. Without a kind it is asked for, and all else not said, where somebody can answer.

    What was answered is told as the command that says the same.
    """
    if kind is not None or not may_ask():
        return kind or KIND, folder or Path(), name
    kind = _kind()
    folder = folder or Path(answer("Folder", "."))
    name = name or answer("Name of the image", _suggested(folder))
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
    while (chosen := answer("Kind", KIND)) not in summaries:
        print(f"There is no kind {chosen!r}: write one of the names above.", file=sys.stderr)
    return chosen


def _fitting(text: str, indent: int) -> str:
    """A sentence in lines that fit a terminal of 80 columns."""
    import textwrap

    return f"\n{' ' * indent}".join(textwrap.wrap(text, 79 - indent))


def answer(question: str, suggested: str | None = None) -> str:
    """What a person answers, or what is suggested; raises InvalidInput where they close the terminal's input instead."""
    with _answered(question):
        return str(typer.prompt(question, default=suggested, err=True)).strip()


def secret(question: str) -> str:
    """What a person types unseen; raises as answer does."""
    import getpass

    with _answered(question):
        return getpass.getpass(f"{question}: ")


@contextmanager
def _answered(question: str) -> Iterator[None]:
    """Tells Ctrl-C from Ctrl-D, which typer makes one and the same of."""
    try:
        yield
    except UnicodeDecodeError:
        raise InvalidInput(f"the answer to {question!r} is not UTF-8", hint="let the terminal send UTF-8") from None
    except (typer.Abort, KeyboardInterrupt, EOFError) as left:
        # What is said next has a line of its own.
        print(file=sys.stderr)
        if isinstance(left, KeyboardInterrupt) or isinstance(left.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        hint = "answer it, or say it with the arguments and options that --help tells"
        raise InvalidInput(f"the question {question!r} has no answer: the input ended", hint=hint) from None


def _suggested(folder: Path) -> str:
    from buildkit.start import name_of

    return name_of(folder)
