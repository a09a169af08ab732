"""``modelpack verify`` and ``modelpack run``: an image as its platform runs it."""

from __future__ import annotations

import json
import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from buildkit.cli import completion
from buildkit.cli.app import app
from buildkit.cli.options import Json, Quiet
from buildkit.cli.plain_help import PLATFORMS
from buildkit.cli.session import session

if TYPE_CHECKING:
    from buildkit.cli.session import Session
    from buildkit.recipe import Recipe
    from buildkit.world import World


class ContainerEngine(StrEnum):
    """What can run a container."""

    podman = "podman"
    docker = "docker"


ImageArgument = Annotated[
    str,
    typer.Argument(
        help="A recipe, a reference, or oci:DIR; by default the recipe here.",
        metavar="RECIPE|REF|oci:DIR",
        default_factory=lambda: ".",
        show_default=False,
    ),
]
Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        help="The platform; by default those of the recipe. May be repeated.",
        metavar="T",
        autocompletion=completion.targets,
    ),
]
ContainerEngineOption = Annotated[
    ContainerEngine | None, typer.Option("--engine", help="What runs it; by default the first that is here.")
]
Artifact = Annotated[
    Path | None, typer.Option(help="The folder that is mounted where the platform mounts a model.", metavar="DIR")
]
Samples = Annotated[
    list[str] | None,
    typer.Option(
        "--sample",
        help="A request that must be answered, METHOD:/PATH or METHOD:/PATH=BODY. May be repeated.",
        metavar="S",
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting of the target, such as port=5000. May be repeated.", metavar="KEY=VALUE"),
]

Passed = Annotated[
    list[str] | None,
    typer.Option(
        "--env",
        help="A variable of this shell that the container gets, too; its value is not shown. May be repeated.",
        metavar="NAME",
    ),
]


@app.command(rich_help_panel=PLATFORMS)
def verify(
    image: ImageArgument,
    target: Targets = None,
    engine: ContainerEngineOption = None,
    artifact: Artifact = None,
    sample: Samples = None,
    settings: Sets = None,
    env: Passed = None,
    fast: Annotated[
        bool, typer.Option("--fast", help="Wait less for what may never come; every rule is asked.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="End with exit code 1 on warnings, too.")] = False,
    github: Annotated[bool, typer.Option("--github", help="Print annotations for GitHub Actions.")] = False,
    sarif: Annotated[Path | None, typer.Option(help="Also write SARIF 2.1.0.", metavar="FILE")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run an image, and ask it what its platform asks.

    Example: modelpack verify quay.io/me/model:v1 --target oci-data-science
    """
    from buildkit.checks import report as machines
    from buildkit.cli.verified import tell
    from buildkit.machine.atomic import write
    from buildkit.probe.command_line import engine_named
    from buildkit.probe.session import Patience
    from buildkit.verifying.verify import Chosen
    from buildkit.verifying.verify import verify as run_probes

    choice = Chosen(tuple(target or ()), artifact, _changes(settings, sample), _passed(env), Patience(fast))
    with session(as_json, quiet) as opened:
        recipe, world = _opened(image, opened)
        reports = run_probes(image, recipe, world, engine_named(engine and engine.value, image), choice)
    judged = [report.judged for report in reports]
    if sarif is not None:
        text = json.dumps(machines.sarif(image, judged, image), ensure_ascii=False, indent=2)
        write(sarif, f"{text}\n".encode(errors="backslashreplace"))
    tell(reports, as_json=as_json, annotations=list(machines.github(judged, image)) if github else None)
    if machines.failed(judged, strict=strict):
        raise typer.Exit(1)


@app.command(rich_help_panel=PLATFORMS)
def run(
    image: ImageArgument,
    target: Annotated[
        str | None, typer.Option("--target", help="The platform.", metavar="T", autocompletion=completion.targets)
    ] = None,
    port: Annotated[
        int,
        typer.Option(
            help="The port of 127.0.0.1; 0 takes a free one.", metavar="N", min=0, max=65535, show_default=False
        ),
    ] = 0,
    engine: ContainerEngineOption = None,
    artifact: Artifact = None,
    settings: Sets = None,
    env: Passed = None,
    quiet: Quiet = False,
) -> None:
    """Run an image as its platform would, until Ctrl-C.

    Example: modelpack run recipe.yaml --target oci-data-science --port 8080 --artifact model
    """
    from buildkit.probe.command_line import engine_named
    from buildkit.verifying.foreground import run as run_container
    from buildkit.verifying.verify import Chosen

    choice = Chosen((target,) if target else (), artifact, _changes(settings, None), _passed(env))
    with session(False, quiet) as opened:
        recipe, world = _opened(image, opened)
        code = run_container(image, recipe, world, engine_named(engine and engine.value, image), choice, port)
    if code:
        raise typer.Exit(1)


def _opened(image: str, opened: Session) -> tuple[Recipe | None, World]:
    """The recipe where the text is the path of one, and the world of its folder."""
    path = Path(image)
    return (
        opened.recipe(path) if path.exists() or image.endswith((".yaml", ".yml")) else (None, opened.world(Path.cwd()))
    )


def _changes(settings: list[str] | None, samples: list[str] | None) -> dict[str, Any]:
    """Settings of the target from the command line; a value is read as JSON where it is JSON, else as text."""
    changes = {}
    for text in settings or ():
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"--set wants KEY=VALUE, and not {text!r}")
        changes[key] = _value(value)
    if samples:
        changes["samples"] = [_sample(text) for text in samples]
    return changes


def _passed(names: list[str] | None) -> tuple[str, ...]:
    """Names of variables that are set here."""
    missing = [name for name in names or () if name not in os.environ]
    if missing:
        raise typer.BadParameter(f"--env names {', '.join(missing)}, which is not set in this shell")
    return tuple(names or ())


def _sample(text: str) -> dict[str, Any]:
    request, equals, body = text.partition("=")
    method, colon, path = request.partition(":")
    if not colon or not path.startswith("/"):
        raise typer.BadParameter(f"--sample wants METHOD:/PATH or METHOD:/PATH=BODY, and not {text!r}")
    return {"method": method.upper(), "path": path} | ({"body": _value(body)} if equals else {})


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
