"""The layer of packages: wheels that are unpacked for linux/amd64 on whatever machine builds. Nothing of them is run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.resources import files as resources
from pathlib import Path
from tempfile import TemporaryDirectory

from buildkit.errors import EngineFailed, Problem
from buildkit.oci.manifest import canonical
from buildkit.oci.reference import Digest, Platform
from buildkit.pin import Source
from buildkit.plan import MadeLayer, Secret
from recipes.agent.compiler import compiler_for, uv
from recipes.agent.uvlock import OLDEST_GLIBC, Wheel

ROOT = "opt/packages"
REVISION = "2"
"""The revision of how wheels become files; another one makes another layer of the same wheels."""
SETTLE = "settle.py"
_SHOWN_LINES = 12


def requirements(wheels: Sequence[Wheel]) -> str:
    """The requirements file that means these wheels: each by its address and its sha256."""
    return "".join(f"{wheel.requirement}\n" for wheel in wheels)


def settings(indexes: Sequence[tuple[str, str]]) -> str:
    """uv's settings file with the project's indexes: by their names uv finds the credentials that it is given."""
    lines = []
    for name, url in indexes:
        lines += ["[[index]]", f"name = {_text(name)}", f"url = {_text(url)}", ""]
    return "\n".join(lines)


def _text(value: str) -> str:
    """A basic string of TOML, which is one of JSON's (toml.io, v1.0.0, "String")."""
    import json

    return json.dumps(value).replace("\x7f", "\\u007f")


def settle_program() -> str:
    """The text of the program that makes an installed folder the same everywhere."""
    return (resources("recipes.agent") / SETTLE).read_text(encoding="utf-8")


def options(python: str) -> list[str]:
    """How uv is told to unpack exactly the given wheels, and for which platform."""
    return [
        "--no-deps",
        "--require-hashes",
        "--only-binary=:all:",
        "--link-mode=copy",
        f"--python-version={python}",
        f"--python-platform=x86_64-manylinux_2_{OLDEST_GLIBC}",
    ]


def packages(
    wheels: Sequence[Wheel],
    python: str,
    indexes: Sequence[tuple[str, str]],
    secrets: Sequence[Secret],
    folder: Path | None,
) -> MadeLayer:
    """The layer with the wheels for a Python (``3.11``); ``folder`` is the recipe's, for secrets that are files."""
    told = requirements(wheels)
    key = Digest.of(canonical([REVISION, settle_program(), python, f"2.{OLDEST_GLIBC}", told]))

    def make(place: Path, platform: Platform, sources: Mapping[str, Source], base: Mapping[str, str]) -> None:
        with TemporaryDirectory(prefix="modelpack-uv-") as temporary:
            work = Path(temporary)
            listed, configured = work / "requirements.txt", work / "uv.toml"
            listed.write_text(told, encoding="utf-8", newline="\n")
            configured.write_text(settings(indexes), encoding="utf-8", newline="\n")
            command = [uv(), "pip", "install", "--quiet", f"--python={sys.executable}", f"--target={place}"]
            command += [*options(python), f"--config-file={configured}", f"--requirements={listed}"]
            _run(command, {**os.environ, **_credentials(secrets, folder)})
            _settle(place, work, python, compiler_for(python, base)[0])

    return MadeLayer("packages", key, ROOT, make, by=lambda base: compiler_for(python, base)[1])


def _credentials(secrets: Sequence[Secret], folder: Path | None) -> dict[str, str]:
    """The variables that secrets stand for: by their ids in capitals, as in a Containerfile's stage."""
    found = {}
    for secret in secrets:
        if secret.variable:
            if secret.variable not in os.environ:
                raise EngineFailed(
                    "a secret of the build is not there",
                    [Problem(secret.id, f"the environment variable {secret.variable} is not set", "set it")],
                )
            found[variable_of(secret.id)] = os.environ[secret.variable]
        elif folder is not None:
            try:
                found[variable_of(secret.id)] = (folder / secret.path).read_text(encoding="utf-8").rstrip("\n")
            except OSError as error:
                raise EngineFailed(
                    "a secret of the build is not there",
                    [Problem(secret.id, f"{secret.path} cannot be read: {error.strerror}")],
                ) from None
    return found


def variable_of(secret: str) -> str:
    """The variable that uv is given a secret in: ``uv_index_internal_password`` as ``UV_INDEX_INTERNAL_PASSWORD``."""
    return secret.upper().replace("-", "_").replace(".", "_")


def _settle(place: Path, work: Path, python: str, compiler: str) -> None:
    """Settles the installed files. In a folder of its own the program finds no module but Python's."""
    program = work / SETTLE
    program.write_text(settle_program(), encoding="utf-8", newline="\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    # Python 3.9 and 3.10 write sets in the order of their hashes.
    _run(
        [compiler or sys.executable, "-s", "-B", str(program), str(place), ROOT, python],
        {**kept, "PYTHONHASHSEED": "0"},
    )


def _run(command: Sequence[str], environment: Mapping[str, str]) -> None:
    done = subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        lines = [line.rstrip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise EngineFailed(
            "the packages could not be unpacked", [Problem("uv", line) for line in lines[-_SHOWN_LINES:]], _HINT
        )


_HINT = "the locked wheels must be reachable; an index that asks for a password is given it by 'secrets'"
