"""The commands that make images of recipes: build, push, lock, render."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from buildkit.cli.app import app
from buildkit.cli.each_recipe import each, each_assembled, each_recipe, each_shard, in_turn
from buildkit.cli.options import (
    EngineName,
    Json,
    Locked,
    ManifestFormat,
    OneRecipe,
    OptionalRecipes,
    Quiet,
    Recipes,
    RegistryNames,
    Upgrade,
    form_named,
    policy_of,
)
from buildkit.cli.plain_help import RECIPES
from buildkit.cli.session import session
from buildkit.cli.terminal import print_path

if TYPE_CHECKING:
    from buildkit.recipe import Recipe
    from buildkit.world import World


@app.command(rich_help_panel=RECIPES)
def build(
    recipes: Recipes,
    engine: Annotated[EngineName, typer.Option(help="What builds; auto takes the first that can.")] = EngineName.auto,
    push: Annotated[
        bool, typer.Option("--push", help="Push to --registry; models go there without touching the disk.")
    ] = False,
    registry: RegistryNames = None,
    output: Annotated[
        str | None, typer.Option(help="oci:DIR, oci-archive:FILE or docker-archive:FILE.", metavar="FORM:PATH")
    ] = None,
    manifest_format: ManifestFormat = None,
    locked: Locked = False,
    upgrade: Upgrade = False,
    builder: Annotated[str, typer.Option(help="A builder of docker buildx, of any driver.", metavar="NAME")] = "",
    shard: Annotated[
        str | None,
        typer.Option(help="Push only this machine's share of the layers; --assemble follows.", metavar="I/N"),
    ] = None,
    assemble: Annotated[
        bool, typer.Option("--assemble", help="Write the manifest over what the shards pushed.")
    ] = False,
    no_check: Annotated[
        bool, typer.Option("--no-check", help="Do not check the rules of the recipe's targets.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Build images, and with --push bring them to a registry.

    Example: modelpack build recipe.yaml --push --registry quay.io/me
    """
    from buildkit import flow
    from buildkit.delivery.output import Output

    if push != bool(registry):
        raise typer.BadParameter("--push and --registry go together: --push --registry R")
    if (shard or assemble) and (not push or output or (shard and assemble)):
        raise typer.BadParameter("--shard and --assemble go with --push, without --output, and one at a time")
    if (shard or assemble) and len(registry or ()) > 1:
        raise typer.BadParameter("--shard and --assemble go to one registry at a time")
    if manifest_format and not push:
        raise typer.BadParameter("--manifest-format goes with --push: an output has a form of its own")
    if output and len(recipes) > 1:
        raise typer.BadParameter("--output holds one image: build one recipe at a time")
    wanted = flow.Wanted(
        engine.value,
        policy_of(locked, upgrade),
        registry[0] if registry else None,
        Output.parse(output) if output else None,
        also=tuple(registry[1:]) if registry else (),
        form=form_named(manifest_format),
        builder=builder,
        check=not no_check,
    )
    if shard:
        each_shard(recipes, shard, wanted, as_json, quiet)
    elif assemble:
        each_assembled(recipes, wanted, as_json, quiet)
    else:
        each_recipe(
            recipes, as_json, quiet, in_turn(lambda recipe, world: flow.build(recipe, world, wanted)), wanted.registries
        )


@app.command(rich_help_panel=RECIPES)
def push(
    recipes: OptionalRecipes = None,
    registry: RegistryNames = None,
    manifest_format: ManifestFormat = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Push what was built, without building again.

    Example: modelpack push --registry quay.io/me
    """
    from buildkit import flow

    if not registry:
        raise typer.BadParameter("say where to: --registry R, a name from modelpack.yaml or HOST/PREFIX")
    form = form_named(manifest_format)
    pushing = in_turn(lambda recipe, world: flow.push(recipe, world, *registry, form=form))
    each_recipe(recipes or _locked_here(), as_json, quiet, pushing, registry)


@app.command(rich_help_panel=RECIPES)
def lock(
    recipes: Recipes,
    locked: Locked = False,
    upgrade: Upgrade = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only tell, with exit code 3, where a lock is not what its recipe says.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Pin what recipes name: commits, files, digests.

    Without options what is locked stays, and what moved meanwhile is told; --check asks the network only with --locked or
    --upgrade.

    Example: modelpack lock recipe.yaml --upgrade
    """
    from buildkit import flow
    from buildkit.policy import Policy

    if check and not (locked or upgrade):
        return _check_locks(recipes, quiet)
    if check:
        locked, upgrade = True, False
    policy = policy_of(locked, upgrade)

    def locking(recipe: Recipe, world: World) -> int:
        flow.lock(recipe, world, Policy.CHECK if policy is Policy.KEEP else policy)
        print_path(recipe.lock_path)
        return 0

    with session(False, quiet) as opened:
        code = each(recipes, opened, locking)
    if code:
        raise typer.Exit(code)
    return None


@app.command(rich_help_panel=RECIPES)
def render(
    recipe: OneRecipe,
    output: Annotated[
        Path | None, typer.Option(help="Write the Containerfile and what it adds into this folder.", metavar="DIR")
    ] = None,
    bake: Annotated[
        bool, typer.Option("--bake", help="Print every recipe under a folder as one docker-bake.json.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Print the Containerfile that buildx and podman build.

    Example: modelpack render recipe.yaml > Containerfile
    """
    from buildkit import flow

    if bake:
        _print_bake(recipe, output, quiet)
        return
    with session(False, quiet) as opened:
        read, world = opened.recipe(recipe)
        if output is None:
            sys.stdout.write(flow.render(read, world).containerfile)
        else:
            print_path(flow.render_into(read, world, output))


def _print_bake(folder: Path, output: Path | None, quiet: bool) -> None:
    """Prints a fleet as docker-bake.json; what cannot be built from a Containerfile is told, with exit code 1."""
    from buildkit.cli.render import show_error
    from buildkit.fleet.bake import bake
    from buildkit.fleet.found import recipes_in

    with session(False, quiet) as opened:
        document, problems = bake([opened.recipe(path) for path in recipes_in([folder])], output, ())
    print(json.dumps(document, ensure_ascii=False, indent=2))
    for problem in problems:
        show_error(problem)
    if problems:
        raise typer.Exit(1)


def _check_locks(paths: Sequence[Path], quiet: bool) -> None:
    """Every lock against its recipe, and nobody asked; raises Drifted with all that is out of date."""
    from buildkit.errors import Drifted, Problem
    from buildkit.fleet.found import recipes_in
    from buildkit.fleet.offline import offline

    stale: list[Problem] = []

    def compare(recipe: Recipe, world: World) -> int:
        for change in offline(recipe):
            old_new = " -> ".join(value for value in (change.old, change.new) if value)
            what = f"{change.reason} {change.what}: {old_new}" + (f" ({change.detail})" if change.detail else "")
            stale.append(Problem(str(recipe.lock_path), what.replace(":  (", ": (")))
        return 0

    there = [path for path in paths if path.exists()]
    missing = [path for path in paths if not path.exists()]
    with session(False, quiet) as opened:
        code = each([*missing, *(recipes_in(there) if there else ())], opened, compare)
    if stale:
        hint = "run 'modelpack lock RECIPE' (with --upgrade to take what moved), and commit the lock"
        raise Drifted("locks are not what their recipes say", stale, hint=hint)
    if code:
        raise typer.Exit(code)


def _locked_here() -> list[Path]:
    """``recipe.yaml`` here, else every recipe here that has a lock."""
    from buildkit.errors import InvalidInput

    if Path("recipe.yaml").is_file():
        return [Path("recipe.yaml")]
    found = [
        path
        for lock in sorted(Path().glob("*.lock"))
        for path in (lock.with_suffix(".yaml"), lock.with_suffix(".yml"))
        if path.is_file()
    ]
    if not found:
        raise InvalidInput(
            "there is no recipe.yaml and no locked recipe here",
            hint="name the recipe: modelpack push RECIPE --registry R",
        )
    return found
