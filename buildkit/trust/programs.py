"""Programs of others that are asked about an image: cosign, trivy, grype. Started by name with a list, never through a shell."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from buildkit.errors import EngineFailed, Problem
from buildkit.registries.auth import find

_ENDING_SECONDS = 5
_SHOWN_LINES = 12


@dataclass(frozen=True)
class Said:
    """What a program answered: its exit code and its two streams."""

    code: int
    out: str
    err: str


def installed(*names: str) -> str | None:
    """The first of some programs that is installed."""
    return next((name for name in names if shutil.which(name)), None)


def ask(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Said:
    """Runs a program to its end; interrupted, it ends it first. Raises EngineFailed where it cannot be started."""
    started = {**os.environ, **(environment or {})}
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            errors="replace", env=started,
        )  # fmt: skip
    except OSError as error:
        raise EngineFailed(f"{command[0]} cannot be started: {error.strerror}", hint=f"install {command[0]}") from None
    with process:
        try:
            out, err = process.communicate()
        except BaseException:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_ENDING_SECONDS)
            process.kill()
            raise
    return Said(process.returncode, out, err)


def failed(name: str, said: Said, doing: str) -> EngineFailed:
    """The failure of a program, with the last lines that it printed."""
    lines = [line.strip() for line in (said.err or said.out).splitlines() if line.strip()]
    return EngineFailed(f"{name} could not {doing}", [Problem("", line) for line in lines[-_SHOWN_LINES:]])


@contextmanager
def logged_in(host: str, repository: str) -> Iterator[Mapping[str, str]]:
    """An environment in which a program finds the credentials that this project found, wherever those are kept.

    They are in a file that only this user reads, gone afterwards. Without credentials the environment stays as it is.
    """
    found = find(host, repository)
    if found is None:
        yield {}
        return
    basic = base64.b64encode(f"{found.username}:{found.password}".encode()).decode()
    entry = {"identitytoken": found.identity_token} if found.identity_token else {"auth": basic}
    key = "https://index.docker.io/v1/" if host == "docker.io" else host
    with TemporaryDirectory(prefix="modelpack-secret-") as folder:
        path = Path(folder) / "config.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps({"auths": {key: entry}}), encoding="utf-8")
        yield {"DOCKER_CONFIG": folder}
