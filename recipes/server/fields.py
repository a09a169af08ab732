"""The types of a server's keys: places in the image, ports, users, names of packages."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from buildkit.process import INIT, is_numeric_user
from buildkit.reading.plain import Refusal, plain, relative_path, shown
from buildkit.targets.oci_data_science.facts import MOUNT

CODE, OWN = "/app", INIT.rpartition("/")[0]
"""Where the code lies, and what modelpack adds: ``init`` and nginx's configuration."""
MOUNTS = (MOUNT, "/opt/ml/model", "/var/azureml-app")
"""Where OCI Data Science, SageMaker and Azure ML mount a model: what an image has there is hidden."""
_SYSTEM = ("/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sbin", "/sys", "/tmp", "/usr")  # noqa: S108
_TAKEN_PORTS = (24224, 8446, 8447)


def within(path: str, folder: str) -> bool:
    """Whether a path is a folder or lies below it."""
    return path == folder or path.startswith(f"{folder}/")


def _absolute(text: str) -> str:
    plain(text)
    if not text.startswith("/"):
        raise Refusal(f"{shown(text)} is not an absolute path", "begin it with /")
    try:
        return f"/{relative_path(text.strip('/'))}"
    except ValueError as error:
        raise Refusal(f"{shown(text)} {error}", "write a folder such as /models") from None


def _model_path(text: str) -> str:
    path = _absolute(text)
    hidden = next((mount for mount in MOUNTS if within(path, mount) or within(mount, path)), None)
    if hidden:
        raise Refusal(
            f"{shown(path)} is hidden by what a platform mounts at {hidden}", "write another, such as /models"
        )
    if any(within(path, folder) for folder in (*_SYSTEM, OWN)) or path == "/opt":
        raise Refusal(f"{shown(path)} belongs to the system", "write another, such as /models")
    return path


def _server_port(port: int) -> int:
    if not 1024 <= port <= 65535 or port in _TAKEN_PORTS:
        raise Refusal(
            f"platforms do not ask port {port}",
            f"take one of 1024 to 65535, but not {', '.join(map(str, _TAKEN_PORTS))}",
        )
    return port


def _user(text: str) -> str:
    if not is_numeric_user(text):
        raise Refusal(f"{shown(text)} is not a user's number", "write UID or UID:GID: platforms refuse names")
    return text


def _package(text: str) -> str:
    if not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9+._-]*(=[a-zA-Z0-9+.:~_-]+)?", text, re.ASCII):
        raise Refusal(f"{shown(text)} is not a package's name", "write it as the distribution does, such as libgomp1")
    return text


AbsolutePath = Annotated[str, AfterValidator(_absolute), Field(json_schema_extra={"pattern": "^/"})]
ModelPath = Annotated[str, AfterValidator(_model_path), Field(json_schema_extra={"pattern": "^/"})]
ServerPort = Annotated[int, AfterValidator(_server_port), Field(json_schema_extra={"minimum": 1024, "maximum": 65535})]
"""OCI Data Science: ports of 1024 to 65535, without 24224, 8446 and 8447 (BYOC required interfaces, "Exposed ports")."""
User = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if isinstance(value, int) and not isinstance(value, bool) else value),
    AfterValidator(_user),
    Field(json_schema_extra={"type": ["string", "integer"]}),
]
PackageName = Annotated[str, AfterValidator(_package)]
