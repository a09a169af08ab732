"""The command line as a whole, before any command is on it."""

from __future__ import annotations

from typing import Annotated

import typer

from buildkit import __version__
from buildkit.cli.plain_help import Group

app = typer.Typer(
    name="modelpack",
    cls=Group,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="Turns a recipe into a locked, pushed container image of a model.\n\nExample: modelpack init modelcar",
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"modelpack {__version__}")
        raise typer.Exit


@app.callback()
def modelpack(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Everything that all commands share."""
