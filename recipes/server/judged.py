"""What must hold between a server's keys, and between them and the files beside the recipe: everything that is wrong at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from buildkit.reading.plain import Refusal, shown
from recipes.server import commands
from recipes.server.fields import CODE, within
from recipes.server.routes import unpaired

if TYPE_CHECKING:
    from recipes.server.kind import ServerSpec

RESERVED = ("MODEL_DEPLOYMENT_OCID", "MODEL_SERVING_PYTHON_VERSION", "TENANCY_OCID", "CONTAINER_CUSTOM_IMAGE")
"""OCI Data Science sets these itself (its documentation, "BYOC environment variables")."""
RESERVED_PREFIXES = ("AIP_", "KUBERNETES_", "OCI_RESOURCE_PRINCIPAL_")
"""Vertex AI ("Custom container requirements"), Kubernetes and OCI set these themselves."""

Found = Iterator[tuple[tuple[str | int, ...], Refusal]]


def refusals(spec: ServerSpec, folder: Path | None) -> Found:
    """Every refusal with the key it belongs to; ``folder`` is the recipe's, where it is known."""
    yield from _command(spec, folder)
    yield from _routes(spec)
    yield from _environment(spec)
    yield from _model(spec)
    yield from ((("requirements",), refusal) for refusal in spec.needed.refusals)


def _command(spec: ServerSpec, folder: Path | None) -> Found:
    key = "command" if spec.command else "entrypoint"
    if not spec.words:
        yield ("command",), Refusal("is missing: nothing would be started", "write [python, app.py], or what starts it")
        return
    told = [
        *commands.lengthy(spec.words),
        *commands.misdirected(spec.words, spec.listens, behind_proxy=bool(spec.routes)),
    ]
    if folder is not None and not spec.code:
        told += commands.forgotten_code(spec.words, folder)
    yield from (((key,), refusal) for refusal in told)


def _routes(spec: ServerSpec) -> Found:
    yield from ((("routes", path), refusal) for path, refusal in unpaired(spec.routes))
    if spec.routes and spec.listens == spec.port:
        hint = f"the server listens on server_port, say {8000 if spec.port != 8000 else 8001}, and nginx on port"
        yield ("server_port",), Refusal(f"is {spec.port}, as port is: nginx listens there", hint)
    if not spec.routes and spec.server_port is not None:
        yield ("server_port",), Refusal("means nothing without routes", "write port")
    if spec.routes and not spec.init:
        yield ("init",), Refusal("cannot be false with routes: it starts nginx and the server", "remove it")
    if spec.serve and not spec.init:
        yield ("init",), Refusal("cannot be false with serve: it is what ignores the argument", "remove it")


def _environment(spec: ServerSpec) -> Found:
    for name in spec.env:
        if name in RESERVED or name.startswith(RESERVED_PREFIXES):
            yield ("env", name), Refusal(f"{shown(name)} is reserved: a platform sets it itself", "remove it")


def _model(spec: ServerSpec) -> Found:
    if spec.model and spec.code and (within(spec.model_path, CODE) or within(CODE, spec.model_path)):
        yield ("model_path",), Refusal(f"{shown(spec.model_path)} lies in the code's {CODE}", "write /models")
