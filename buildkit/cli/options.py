"""Arguments and options that several commands share, and what a combination of them means."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from buildkit.cli import completion
from buildkit.cli.render import speak_json

if TYPE_CHECKING:
    from buildkit.oci.form import Form
    from buildkit.policy import Policy

Recipes = Annotated[
    list[Path],
    typer.Argument(
        help="Recipes, or folders that hold a recipe.yaml; by default here.",
        metavar="RECIPE",
        default_factory=lambda: [Path()],
        show_default=False,
    ),
]
OptionalRecipes = Annotated[
    list[Path] | None,
    typer.Argument(help="Recipes; without one recipe.yaml, else every locked recipe here.", metavar="RECIPE"),
]
OneRecipe = Annotated[
    Path,
    typer.Argument(
        help="A recipe, or a folder that holds a recipe.yaml; by default here.",
        metavar="RECIPE",
        default_factory=Path,
        show_default=False,
    ),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json", callback=speak_json, is_eager=True, help="Print the result, and progress on stderr, as JSON."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but results and errors.")]
Locked = Annotated[
    bool,
    typer.Option("--locked", help="Refuse, with exit code 3, where anything moved since it was locked, or nothing is."),
]
Upgrade = Annotated[bool, typer.Option("--upgrade", help="Take what every input means now.")]
RegistryNames = Annotated[
    list[str] | None,
    typer.Option(
        "--registry",
        help="A registry of modelpack.yaml, 'ocir', or HOST/PREFIX. May be repeated.",
        metavar="R",
        autocompletion=completion.registries,
    ),
]


class EngineName(StrEnum):
    """The engines that can be asked for."""

    auto = "auto"
    embedded = "embedded"
    buildx = "buildx"
    podman = "podman"


class FormName(StrEnum):
    """The forms of a manifest."""

    oci = "oci"
    docker = "docker"


ManifestFormat = Annotated[
    FormName | None,
    typer.Option("--manifest-format", help="OCI, or Docker's v2s2; by default what the registry prefers."),
]


def form_named(name: FormName | None) -> Form | None:
    """The form of manifests that was asked for."""
    return None if name is None else "oci" if name is FormName.oci else "docker"


def policy_of(locked: bool, upgrade: bool) -> Policy:
    """What --locked and --upgrade ask for together; raises BadParameter where they contradict each other."""
    from buildkit.policy import Policy

    if locked and upgrade:
        raise typer.BadParameter("--locked and --upgrade contradict each other")
    return Policy.LOCKED if locked else Policy.UPGRADE if upgrade else Policy.KEEP
