"""``modelpack doctor``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from buildkit.cli import completion
from buildkit.cli.app import app
from buildkit.cli.options import Json
from buildkit.cli.plain_help import PLACES
from buildkit.cli.session import session

if TYPE_CHECKING:
    from buildkit.doctor import Finding


@app.command(rich_help_panel=PLACES)
def doctor(
    registry: Annotated[
        list[str] | None,
        typer.Option(
            "--registry",
            help="A registry besides those of modelpack.yaml. May be repeated.",
            metavar="R",
            autocompletion=completion.registries,
        ),
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Ask nobody on the network.")] = False,
    as_json: Json = False,
) -> None:
    """Tell what this machine lacks, and how to mend it.

    Exit code 1: something is broken.

    Example: modelpack doctor --registry quay.io/me
    """
    from buildkit.doctor import examine

    with session(as_json, True) as opened:
        found = list(examine(opened.world(Path.cwd()), tuple(registry or ()), ask=not offline))
    if as_json:
        print(json.dumps([one.document() for one in found], ensure_ascii=False, indent=2))
    else:
        _show(found)
    if any(one.state == "broken" for one in found):
        raise typer.Exit(1)


def _alike(found: list[Finding]) -> Iterator[list[Finding]]:
    """Neighbours of whom the same is to be told: thirteen targets are one line."""
    for _, group in groupby(found, lambda one: (one.part, one.state, one.what, one.mend)):
        yield list(group)


def _show(found: list[Finding]) -> None:
    from rich.table import Table
    from rich.text import Text

    from buildkit.cli.render import printable
    from buildkit.cli.terminal import console

    colours = {"ok": "green", "missing": "yellow", "broken": "bold red"}
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="bold")
    for column in ("", "", "state", "what it is, and what to do"):
        table.add_column(column, overflow="fold")
    part = ""
    for alike in _alike(found):
        one, name = alike[0], ", ".join(each.name for each in alike)
        told = Text(printable(one.what))
        if one.mend:
            told.append(f"\n→ {printable(one.mend)}", style="dim")
        table.add_row(
            "" if one.part == part else one.part, Text(printable(name)), Text(one.state, colours[one.state]), told
        )
        part = one.part
    console().print(table)
