"""The commands about registries: login, logout, copy."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from buildkit.cli import completion
from buildkit.cli.app import app
from buildkit.cli.options import Json, ManifestFormat, Quiet, form_named
from buildkit.cli.plain_help import PLACES
from buildkit.cli.session import session
from buildkit.cli.terminal import may_ask

if TYPE_CHECKING:
    from buildkit.delivery.copying import Copied
    from buildkit.registries.credentials import Credentials

_Registry = Annotated[
    str,
    typer.Argument(
        help="A registry of modelpack.yaml, or its host.",
        metavar="REGISTRY",
        show_default=False,
        autocompletion=completion.registries,
    ),
]


@app.command(rich_help_panel=PLACES)
def login(
    registry: _Registry,
    username: Annotated[str | None, typer.Option("--username", "-u", help="As whom.", metavar="NAME")] = None,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin.")] = False,
) -> None:
    """Log in to a registry.

    The login is tried first, and kept where docker and podman keep it: in a credential helper where there is one.

    Example: echo $TOKEN | modelpack login quay.io -u me+robot --password-stdin
    """
    from buildkit.login import log_in

    with session(False, False) as opened:
        world = opened.world(Path.cwd())
        kept = log_in(registry, lambda: _credentials(username, password_stdin), world)
    print(f"logged in to {kept.host}; the login is kept in {kept.where}", file=sys.stderr)


@app.command(rich_help_panel=PLACES)
def logout(registry: _Registry) -> None:
    """Forget a registry's login.

    Example: modelpack logout quay.io
    """
    from buildkit.login import log_out

    with session(False, False) as opened:
        removed = log_out(registry, opened.world(Path.cwd()))
    print(f"removed from {', '.join(removed)}" if removed else f"there was no login to {registry}", file=sys.stderr)


@app.command(rich_help_panel=PLACES)
def copy(
    image: Annotated[
        str, typer.Argument(help="A reference, or oci:DIR[:NAME].", metavar="REF|oci:DIR", show_default=False)
    ],
    registries: Annotated[
        list[str],
        typer.Argument(
            help="Where to: registries of modelpack.yaml, or HOST/PREFIX.",
            metavar="REGISTRY",
            show_default=False,
            autocompletion=completion.registries,
        ),
    ],
    name: Annotated[
        str, typer.Option(help="The repository's last part; by default the source's.", metavar="NAME")
    ] = "",
    tag: Annotated[
        list[str] | None, typer.Option(help="A tag; by default the source's. May be repeated.", metavar="TAG")
    ] = None,
    manifest_format: ManifestFormat = None,
    immutable: Annotated[bool, typer.Option("--immutable", help="Refuse to move a tag that exists.")] = False,
    referrers: Annotated[
        bool,
        typer.Option("--referrers/--no-referrers", help="With what lies beside it: signatures, provenance, bills."),
    ] = True,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Copy an image into registries, with the same digest.

    Layers are read once for all of them, and mounted within a registry.

    Example: modelpack copy quay.io/me/granite:v1 ghcr.io/me ocir
    """
    from buildkit.cli.render import show_error
    from buildkit.delivery.copying import Copy
    from buildkit.delivery.copying import copy as copy_image

    form = form_named(manifest_format)
    wanted = Copy(image, tuple(registries), name, tuple(tag or ()), form, immutable, referrers)
    with session(as_json, quiet) as opened:
        copied = copy_image(wanted, opened.world(Path.cwd()))
    _show(copied, as_json)
    for failure in copied.failed.values():
        show_error(failure)
    if copied.failed:
        raise typer.Exit(1)


def _show(copied: Copied, as_json: bool) -> None:
    import json

    references = [f"{name}@{digest}" for name, digest in copied.digests.items()]
    if not as_json:
        print("\n".join(references))
        return
    failed = {name: str(failure) for name, failure in copied.failed.items()}
    print(
        json.dumps(
            {"references": references, "unchanged": copied.unchanged, "failed": failed}, ensure_ascii=False, indent=2
        )
    )


def _credentials(username: str | None, password_stdin: bool) -> Credentials:
    """As whom to log in: from the options and stdin, or asked for where a person sits at a terminal."""
    from buildkit.cli.asking import answer, secret
    from buildkit.registries.credentials import Credentials

    interactive = may_ask()
    if not username and (password_stdin or not interactive):
        raise typer.BadParameter("say as whom: -u USER")
    if not password_stdin and not interactive:
        raise typer.BadParameter("there is no terminal to ask for the password: give it with --password-stdin")
    asked = username or answer("Username")
    password = _from_stdin() if password_stdin else secret("Password")
    if not password:
        raise typer.BadParameter("the password is empty")
    return Credentials(asked, password, found="the login that was just given")


def _from_stdin() -> str:
    # A stream that was closed before we began is none at all in Python.
    text = os.fsdecode(sys.stdin.buffer.read()) if sys.stdin else ""
    # One line end is the shell's; any other space may belong to the password.
    return text.removesuffix("\n").removesuffix("\r")
