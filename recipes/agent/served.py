"""What an agent's container starts, as whom, and with which variables."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema

from buildkit.process import process
from buildkit.reading.plain import Refusal, plain, shown
from recipes.agent.packages import ROOT

APP = "app"
USER = "1001"
_SERVED = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)", re.ASCII)
_FORMS = 'write module:app, which uvicorn serves, or a list: ["python3", "agent.py"]'


def _entrypoint(value: object) -> str | tuple[str, ...]:
    if isinstance(value, str):
        if not _SERVED.fullmatch(value):
            raise Refusal(f"{shown(value)} is not module:app", _FORMS)
        return value
    if not isinstance(value, list | tuple) or not all(isinstance(word, str) for word in value):
        raise Refusal("is neither module:app nor a list of texts", _FORMS)
    words = tuple(plain(word) for word in value)
    if not words or not words[0]:
        raise Refusal("must not be empty", _FORMS)
    if words[0] in ("uv", "uvx"):
        raise Refusal(
            f"{words[0]} is not in the image, which has the packages already", f"leave it out: {_without_uv(words)}"
        )
    return words


def _without_uv(words: Sequence[str]) -> str:
    rest = [word for word in words[1:] if word != "run"]
    return str(["python3" if word == "python" else word for word in rest]).replace("'", '"')


Entrypoint = Annotated[
    Any,
    PlainValidator(_entrypoint),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": f"^{_SERVED.pattern}$"},
                {"type": "array", "minItems": 1, "items": {"type": "string"}},
            ]
        }
    ),
]
"""``module:app``, or a program with its arguments, which no shell reads."""


def served_module(entrypoint: str | Sequence[str]) -> str | None:
    """The module of ``module:app``; None where a command is given."""
    return entrypoint.partition(":")[0] if isinstance(entrypoint, str) else None


def command_of(entrypoint: str | Sequence[str], port: int) -> list[str]:
    """What the container runs. ``module:app`` starts uvicorn on every interface, so that the platform reaches it."""
    if isinstance(entrypoint, str):
        return ["python3", "-m", "uvicorn", entrypoint, "--host", "0.0.0.0", "--port", str(port)]  # noqa: S104
    return list(entrypoint)


def process_of(
    command: Sequence[str], env: Mapping[str, str], port: int, labels: Mapping[str, str], roots: Sequence[str]
) -> dict[str, Any]:
    """The config of the image's process: a numeric user, and nothing that writes anywhere but into ``/tmp``."""
    code = [f"/{APP}" if root == "." else f"/{APP}/{root}" for root in roots]
    variables = {
        "HOME": "/tmp",  # noqa: S108
        "PATH": f"/{ROOT}/bin:${{PATH}}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": ":".join((*code, f"/{ROOT}")),
        "PYTHONUNBUFFERED": "1",
        "UV_CACHE_DIR": "/tmp/.cache/uv",  # noqa: S108
        "XDG_CACHE_HOME": "/tmp/.cache",  # noqa: S108
        **env,
    }
    return process(user=USER, folder=f"/{APP}", environment=variables, command=command, ports=(port,), labels=labels)
