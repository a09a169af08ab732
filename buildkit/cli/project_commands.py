"""The commands that begin a project and look at what came of it: inspect, init, schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from buildkit.cli import completion
from buildkit.cli.app import app
from buildkit.cli.options import Json
from buildkit.cli.plain_help import RECIPES
from buildkit.cli.session import session
from buildkit.cli.terminal import print_path


@app.command(rich_help_panel=RECIPES)
def inspect(
    image: Annotated[
        str,
        typer.Argument(help="A reference, oci:DIR or oci-archive:FILE.", metavar="REF|oci:DIR", show_default=False),
    ],
    as_json: Json = False,
) -> None:
    """Show what is in an image, and from where.

    Example: modelpack inspect oci:build/image
    """
    from buildkit.inspect import look

    with session(as_json, True) as opened:
        seen = look(image, opened.world(Path.cwd()))
    if as_json:
        print(json.dumps(seen.document(), ensure_ascii=False, indent=2))
    else:
        from buildkit.cli.tables import show_image

        show_image(seen)


@app.command(rich_help_panel=RECIPES)
def init(
    kind: Annotated[
        str | None,
        typer.Argument(
            help="The kind of recipe; by default modelcar.", metavar="KIND", autocompletion=completion.kinds
        ),
    ] = None,
    folder: Annotated[Path | None, typer.Argument(help="Where to; by default here.", metavar="DIR")] = None,
    name: Annotated[str | None, typer.Option(help="The image's name; by default the folder's.", metavar="NAME")] = None,
) -> None:
    """Write a recipe to start from.

    Without a kind it asks, at a terminal. Files that are there are never replaced.

    Example: modelpack init modelcar models/granite
    """
    from buildkit.cli.asking import begun
    from buildkit.start import start

    for path in start(*begun(kind, folder, name)):
        print_path(path)


@app.command(rich_help_panel=RECIPES)
def schema(
    kind: Annotated[
        str | None, typer.Argument(help="Only this kind.", metavar="KIND", autocompletion=completion.kinds)
    ] = None,
    lock: Annotated[bool, typer.Option("--lock", help="The schema of lockfiles instead.")] = False,
) -> None:
    """Print the JSON Schema of recipes, for editors.

    Example: modelpack schema > recipe.schema.json
    """
    from buildkit.recipe import schema as recipe_schema

    if lock:
        from buildkit.lockfile.form import schema as lock_schema

        print(json.dumps(lock_schema(), ensure_ascii=False, indent=2))
        return
    print(json.dumps(recipe_schema(kind), ensure_ascii=False, indent=2))
