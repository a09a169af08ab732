"""The commands for many images at once."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from buildkit.cli import completion
from buildkit.cli.app import app
from buildkit.cli.options import EngineName, Json, Quiet
from buildkit.cli.plain_help import FLEETS
from buildkit.cli.render import progress
from buildkit.cli.session import Session, session
from buildkit.cli.terminal import print_path
from buildkit.errors import ModelpackError
from buildkit.events import Warned

if TYPE_CHECKING:
    from buildkit.fleet.rebuild import Rebuilt, Wish
    from buildkit.fleet.state import State
    from buildkit.world import World

Places = Annotated[
    list[Path] | None,
    typer.Argument(help="Recipes, or folders that are searched for recipes; by default here.", metavar="RECIPE|DIR"),
]
Registries = Annotated[
    list[str] | None,
    typer.Option(
        "--registry",
        help="Instead of where each image was pushed to. May be repeated.",
        metavar="R",
        autocompletion=completion.registries,
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Every image, whether anything moved or not.")]


class Matrix(StrEnum):
    """Systems that take a matrix of jobs."""

    github = "github"
    gitlab = "gitlab"


@app.command(rich_help_panel=FLEETS)
def status(
    places: Places = None,
    registry: Registries = None,
    matrix: Annotated[
        Matrix | None, typer.Option(help="Print only the jobs that a CI system has to run, as its matrix.")
    ] = None,
    force: Force = False,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Images that are asked for at a time.", metavar="N")] = 16,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Tell what moved under every image, and change nothing.

    Exit code 3: something moved; 1: something could not be asked.

    Example: modelpack status models/
    """
    with session(as_json, quiet) as opened:
        states = _states(opened, places, registry or [], force, jobs)[0]
    _print_states(states, matrix, as_json)
    if code := _code(states):
        raise typer.Exit(code)


@app.command(rich_help_panel=FLEETS)
def rebuild(
    places: Places = None,
    registry: Registries = None,
    engine: Annotated[EngineName | None, typer.Option(help="What builds; by default what built an image last.")] = None,
    builder: Annotated[
        str, typer.Option(help="A builder of docker buildx, for what buildx builds.", metavar="NAME")
    ] = "",
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Images that are built at a time.", metavar="N")] = 2,
    force: Force = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be rebuilt.")] = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Check and run each image as its targets would before it gets its tags; ask for every blob.",
        ),
    ] = False,
    summary: Annotated[
        Path | None, typer.Option(help="Append what became of the images to this file, as Markdown.", metavar="FILE")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Bring every image up to date.

    What moved is locked, built and pushed, to where the image was pushed before. It may be killed and run again.

    Example: modelpack rebuild models/
    """
    from buildkit.fleet.rebuild import Wish

    wish = Wish(tuple(registry or ()), engine.value if engine else "", builder, verify, jobs)
    with session(as_json, quiet) as opened:
        states, worlds = _states(opened, places, wish.registries, force, jobs=16)
        if dry_run:
            _print_states(states, None, as_json)
            raise typer.Exit(1 if any(state.problems for state in states) else 0)
        with _looking(wish) as looked:
            done = _rebuilt(states, worlds, looked, as_json)
    _print_rebuilt(done, summary, as_json, quiet)
    if any(one.outcome == "failed" for one in done):
        raise typer.Exit(1)


@app.command(rich_help_panel=FLEETS)
def ci(
    system: Annotated[
        str,
        typer.Argument(
            help="github, gitlab, tekton, oci-devops or cron.", metavar="SYSTEM", autocompletion=completion.pipelines
        ),
    ],
    folder: Annotated[Path, typer.Argument(help="The fleet's folder in its repository.", metavar="DIR")] = Path(),
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write it here instead of printing it.", metavar="FILE")
    ] = None,
    schedule: Annotated[str, typer.Option(help="When it runs: cron's five fields.", metavar="CRON")] = "17 3 * * *",
    commit: Annotated[bool, typer.Option("--commit", help="Commit new locks at once, and propose none.")] = False,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Images that are built at a time.", metavar="N")] = 4,
) -> None:
    """Write a pipeline that keeps the images current.

    It runs every night at the top of the repository, and knows the registries of modelpack.yaml and of the locks.

    Example: modelpack ci github -o .github/workflows/images.yml
    """
    from buildkit.fleet.hosts import hosts_of
    from buildkit.machine.atomic import write
    from buildkit.pipelines import Wanted, pipeline
    from buildkit.pipelines.checkout import fleet_in, misplaced, top_of

    top = top_of(Path.cwd())
    wanted = Wanted(fleet_in(top or Path.cwd(), folder), schedule, commit, jobs)
    text = pipeline(system, wanted, hosts_of(folder))
    if output is None:
        sys.stdout.write(text)
        return
    write(output, text.encode())
    if system == "cron":
        output.chmod(0o755)
    print_path(output)
    if top and (wrong := misplaced(system, output, top)):
        with progress(as_json=False, quiet=False) as emit:
            emit(Warned(wrong, "move it there, or tell the system where it is"))


def _states(
    opened: Session, places: Sequence[Path] | None, registries: Sequence[str], force: bool, jobs: int
) -> tuple[list[State], dict[str, World]]:
    """The states of all recipes, and the world of each by its path."""
    from buildkit.fleet.found import recipes_in
    from buildkit.fleet.status import fleet
    from buildkit.recipe import Recipe

    worlds: dict[str, World] = {}

    def open_one(path: Path) -> tuple[Recipe, World]:
        recipe, world = opened.recipe(path)
        worlds[str(recipe.path)] = world
        return recipe, world

    return fleet(recipes_in(list(places or [Path()])), open_one, registries, force=force, jobs=jobs), worlds


def _print_states(states: Sequence[State], matrix: Matrix | None, as_json: bool) -> None:
    from buildkit.cli.render import show_error
    from buildkit.fleet import documents

    if matrix is Matrix.github:
        print(json.dumps(documents.github_matrix(states), ensure_ascii=False))
    elif matrix is Matrix.gitlab:
        print(json.dumps(documents.gitlab_matrix(states), ensure_ascii=False))
    elif as_json:
        print(json.dumps(documents.status_document(states), ensure_ascii=False, indent=2))
    else:
        from buildkit.cli.fleet_tables import show_states

        show_states(states)
    for state in states:
        for problem in state.problems:
            show_error(_of(state.name, problem))


def _of(name: str, error: ModelpackError) -> ModelpackError:
    """The failure with the image that it befell: where many are at work, nobody could tell whose it is."""
    if name in str(error):
        return error
    return ModelpackError(f"{name}: {error.what}", error.problems, error.hint)


def _code(states: Sequence[State]) -> int:
    """What could not be asked outweighs what moved: the others' answers are on stdout all the same."""
    if any(state.problems for state in states):
        return 1
    return 3 if any(state.changes for state in states) else 0


@contextmanager
def _looking(wish: Wish) -> Iterator[Wish]:
    """The wish with somebody who looks at the images, where that is wanted."""
    if not wish.verify:
        yield wish
        return
    from buildkit.fleet.looking import looking

    with looking() as look:
        yield replace(wish, look=look)


def _rebuilt(states: Sequence[State], worlds: dict[str, World], wish: Wish, as_json: bool) -> list[Rebuilt]:
    from buildkit.cli.render import show_error
    from buildkit.fleet.rebuild import rebuild

    one_at_a_time = threading.Lock()

    def told(one: Rebuilt) -> None:
        with one_at_a_time:
            if one.error:
                show_error(_of(one.state.name, one.error))
            if not as_json:
                print("".join(f"{reference}\n" for reference in one.references), end="", flush=True)

    return rebuild(states, lambda state: worlds[state.path], wish, told=told)


def _print_rebuilt(done: Sequence[Rebuilt], summary: Path | None, as_json: bool, quiet: bool) -> None:
    from buildkit.errors import InvalidInput
    from buildkit.fleet import documents
    from buildkit.machine.atomic import write

    if as_json:
        print(json.dumps(documents.rebuild_document(done), ensure_ascii=False, indent=2))
    elif not quiet:
        told = ", ".join(f"{count} {word}" for word, count in documents.counts(done).items() if count)
        print(f"rebuild: {told}", file=sys.stderr)
    if summary:
        try:
            before = summary.read_bytes() if summary.is_file() else b""
            write(summary, before + documents.summary(done).encode(errors="backslashreplace"))
        except OSError as error:
            raise InvalidInput(f"{summary} cannot be written: {error.strerror}", hint="the images are done") from None
