"""The types of what a recipe for Triton says: models, their configurations, packages, the user."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from buildkit.inputs import all_refused
from buildkit.reading.plain import Refusal, plain, shown
from buildkit.spec import SourceRef

_PINNED = re.compile(r"[A-Za-z0-9][\w.-]*(?:\[[\w.,\s-]+\])?==[\w.!+-]+", re.ASCII)
_OURS = ("--model-repository", "--model-store", "--http-port", "--grpc-port", "--metrics-port")


def _several(value: object) -> object:
    if value is None:
        return ()
    return value if isinstance(value, list | tuple) else [value]


class _OneOrMore:
    """Lets the schema say that one source may stand for a list of one."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        several = handler(schema)
        return {"anyOf": [several["items"], several]}


Models = Annotated[tuple[SourceRef, ...], BeforeValidator(_several), _OneOrMore()]


def _model_name(name: str) -> str:
    if not re.fullmatch(r"\w[\w.-]*", name, re.ASCII):
        raise Refusal(
            f"{shown(name)} is not a model's name", "letters, digits, '_', '-' and '.', as its folder is called"
        )
    return name


def _configs(configs: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Reads every configuration with Triton's own message; each fault is told at its key."""
    from buildkit.triton.config import of_mapping

    found = [
        ((name, *steps), refusal)
        for name, mapping in configs.items()
        for steps, refusal in of_mapping(name, mapping)[1]
    ]
    if found:
        raise all_refused(found)
    return configs


Configs = Annotated[dict[Annotated[str, AfterValidator(_model_name)], dict[str, Any]], AfterValidator(_configs)]


def backend_name(text: str) -> str:
    """Refuses what is no folder's name below ``backends``."""
    if not re.fullmatch(r"[A-Za-z][\w.-]*", text, re.ASCII):
        raise Refusal(f"{shown(text)} is not a backend's name", "write one such as python or onnxruntime")
    return text


def _package(text: str) -> str:
    plain(text)
    if not _PINNED.fullmatch(text):
        hint = "write NAME==VERSION; for more, give a 'requirements' file"
        raise Refusal(f"{shown(text)} is not a package in one version", hint)
    return text


PythonPackage = Annotated[str, AfterValidator(_package)]


def argument(text: str) -> str:
    """Refuses arguments that the recipe decides elsewhere."""
    name = text.partition("=")[0]
    if name in _OURS:
        raise Refusal(f"{name} is decided by 'variant' and 'baked'", "remove it")
    return text


def text_of(mapping: Mapping[str, Any], model: str) -> str:
    """The ``config.pbtxt`` that a recipe's mapping writes for a model."""
    from buildkit.triton.config import as_text, of_mapping

    return as_text(of_mapping(model, mapping)[0])
