"""A command's work for every recipe that it was given: in turn, told as it goes, one failure beside the others' success."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from buildkit.cli.session import Session, session

if TYPE_CHECKING:
    from buildkit.delivery.push import Delivered
    from buildkit.flow import Wanted
    from buildkit.recipe import Recipe
    from buildkit.world import World

    Work = Callable[[Recipe, World], Delivered]


def each_shard(paths: Sequence[Path], text: str, wanted: Wanted, as_json: bool, quiet: bool) -> None:
    """Pushes a shard of every recipe; what it prints are the layers' names, since no image is done yet."""
    from buildkit import distributing
    from buildkit.delivery.shard import Shard

    shard = Shard.parse(text, os.environ)
    with session(as_json, quiet) as opened:
        pushed = [distributing.push_shard(*opened.recipe(path), wanted, shard) for path in paths]
    titles = [layer.blob.title for layers in pushed for layer in layers]
    print(json.dumps(titles, ensure_ascii=False) if as_json else "\n".join(titles))


def each_assembled(paths: Sequence[Path], wanted: Wanted, as_json: bool, quiet: bool) -> None:
    """Assembles every recipe; the marks are taken away when all is told, since the images need that no more."""
    from buildkit import distributing

    done: list[distributing.Assembled] = []

    def assembled(recipe: Recipe, world: World) -> Delivered:
        done.append(distributing.assemble(recipe, world, wanted))
        return done[-1].delivered

    def forget() -> None:
        for one in done:
            one.forget()

    each_recipe(paths, as_json, quiet, assembled, wanted.registries, forget)


def in_turn(work: Work) -> Work:
    """The work, but after what another run does with the same recipe: two at once would both send everything."""
    from buildkit.alone import alone

    def waiting(recipe: Recipe, world: World) -> Delivered:
        with alone(recipe, world):
            return work(recipe, world)

    return waiting


def each(paths: Sequence[Path], opened: Session, work: Callable[[Recipe, World], int]) -> int:
    """Does the work, which returns an exit code, for every recipe; one that fails is told and keeps no other from being done.

    Returns the worst code; raises what a recipe raises that is alone.
    """
    from buildkit.cli.render import show_error
    from buildkit.errors import ModelpackError

    code = 0
    for path in paths:
        try:
            code = max(code, work(*opened.recipe(path)))
        except ModelpackError as error:
            if len(paths) == 1:
                raise
            show_error(error)
            code = max(code, error.exit_code)
    return code


def each_recipe(
    paths: Sequence[Path],
    as_json: bool,
    quiet: bool,
    work: Work,
    registries: Sequence[str] = (),
    after: Callable[[], None] = lambda: None,
) -> None:
    """Delivers every recipe, and tells what came of each.

    Nothing is done where two of them would be pushed under one name to ``registries``. ``after`` is done when the results
    are printed.
    """
    from buildkit.cli.render import show_error
    from buildkit.cli.results import document, lines

    delivered = []

    def told(recipe: Recipe, world: World) -> int:
        one = work(recipe, world)
        delivered.append(one)
        if not as_json:
            print("\n".join(lines(one)), flush=True)
        for failure in one.failed.values():
            show_error(failure)
        return max((failure.exit_code for failure in one.failed.values()), default=0)

    with session(as_json, quiet) as opened:
        if registries and len(paths) > 1:
            _refuse_clashes(paths, registries, opened)
        code = each(paths, opened, told)
        if as_json:
            print(json.dumps([document(one) for one in delivered], ensure_ascii=False, indent=2), flush=True)
        after()
    if code:
        raise typer.Exit(code)


def _refuse_clashes(paths: Sequence[Path], registries: Sequence[str], opened: Session) -> None:
    from buildkit.errors import ModelpackError
    from buildkit.fleet.clashes import clashes, references_of
    from buildkit.fleet.places import targets
    from buildkit.lockfile import lock as locks

    wanted = {}
    for path in paths:
        # What is wrong with a recipe by itself is told in its turn.
        with suppress(ModelpackError):
            recipe, world = opened.recipe(path)
            lock = locks.read(recipe.lock_path)
            places = targets(recipe, lock, world.settings, registries)
            references = references_of(recipe, lock.pins if lock else None, places)
            wanted[recipe.path.resolve()] = recipe.path, references
    for clash in clashes(dict(wanted.values())).values():
        raise clash
