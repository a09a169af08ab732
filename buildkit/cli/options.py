"""Options that several commands share: which registries, and which form of manifests."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from buildkit.cli import completion

if TYPE_CHECKING:
    from buildkit.oci.form import Form

RegistryNames = Annotated[
    list[str] | None,
    typer.Option(
        "--registry",
        help="A registry of modelpack.yaml, 'ocir', or HOST/PREFIX; several times for several.",
        metavar="R",
        autocompletion=completion.registries,
    ),
]


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
