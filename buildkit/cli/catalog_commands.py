"""``modelpack catalog``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from buildkit.cli.app import app
from buildkit.cli.options import Quiet
from buildkit.cli.plain_help import FLEETS
from buildkit.cli.session import session
from buildkit.cli.terminal import print_path


@app.command(rich_help_panel=FLEETS)
def catalog(
    places: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Recipes, or folders that are searched for recipes; by default here.", metavar="RECIPE|DIR"
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder that the page is written into.", metavar="DIR")
    ] = Path("site"),
    title: Annotated[str, typer.Option(help="What the page is called.", metavar="TEXT")] = "Model images",
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask no hub and no registry: no licenses, checks or drift.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Write one page about every image of a fleet.

    It needs no server and no network.

    Example: modelpack catalog models/ -o site/
    """
    from buildkit.catalogue.gather import gather
    from buildkit.catalogue.page import page, write
    from buildkit.fleet.found import recipes_in

    with session(False, quiet) as opened:
        entries = gather(recipes_in(places or [Path()]), opened.recipe, ask=not offline)
        print_path(write(page(entries, title, asked=not offline), output))
