"""What a recipe may say about the process in its image: variables, ports, a command. And what the image's config makes of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from buildkit.inputs import some
from buildkit.reading.plain import Refusal, plain, shown

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_LONGEST_VALUE = 16 * 1024
BEHIND = "build.modelpack.port.behind"
"""A label: the port that only a proxy inside the image asks, and no platform."""
INIT = "/opt/modelpack/init"
"""The first process that modelpack brings along: it starts the words behind it."""


def _variable(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise Refusal(f"{shown(name)} is not a variable's name", "letters, digits and '_', not beginning with a digit")
    return name


def _value(text: str) -> str:
    if len(text) > _LONGEST_VALUE:
        raise Refusal(f"has {len(text)} characters; a variable has at most {_LONGEST_VALUE}")
    return plain(text)


Environment = dict[Annotated[str, AfterValidator(_variable)], Annotated[str, AfterValidator(_value)]]
"""Variables by name. They stand in the image for everybody to read: no secret belongs there."""
Port = Annotated[int, Field(ge=1, le=65535)]
Command = Annotated[tuple[Annotated[str, AfterValidator(plain)], ...], AfterValidator(some)]
"""A program and its arguments, one item each: nothing is read by a shell."""


_USER = re.compile(r"\d{1,10}(?::\d{1,10})?", re.ASCII)


def is_numeric_user(text: str) -> bool:
    """Whether it is UID or UID:GID: a name means nothing where the image's /etc/passwd is not read."""
    return bool(_USER.fullmatch(text))


def _user(text: str) -> str:
    if not is_numeric_user(text):
        raise Refusal(
            f"{shown(text)} is not a numeric user", "write a number such as 1000, or one with its group, 1000:0"
        )
    return text


NumericUser = Annotated[str, AfterValidator(_user)]


def variables(process: Mapping[str, Any]) -> dict[str, str]:
    """The environment of an image's config, in its order."""
    pairs = (str(variable).partition("=") for variable in process.get("Env") or ())
    return {name: value for name, _, value in pairs}


def process(
    *,
    user: str,
    folder: str,
    environment: Mapping[str, str],
    command: Sequence[str],
    ports: Sequence[int] = (),
    labels: Mapping[str, str],
    entrypoint: Sequence[str] = (),
) -> dict[str, Any]:
    """The config of an image's process in the words of image-spec, config.md; an empty entrypoint takes the base's away."""
    return {
        "User": user,
        "WorkingDir": folder,
        "Env": [f"{name}={environment[name]}" for name in sorted(environment)],
        "Entrypoint": list(entrypoint),
        "Cmd": list(command),
        "ExposedPorts": {f"{port}/tcp": {} for port in sorted(ports)},
        "Labels": dict(sorted(labels.items())),
    }
