"""Which Python of this machine compiles the packages: the very version that the base has, wherever one can be had.

Two patch versions of Python write nearly the same bytecode, not always: an image is the same whoever builds it only where
both compile with the same one. A base says which it has in its variable ``PYTHON_VERSION``, as Docker's official images do.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache

from buildkit.errors import Problem
from buildkit.machine.cache import cache_folder
from buildkit.plan import Maker

_SECONDS = 300
"""The longest that a download of Python, some 30 MB, may take."""


def uv() -> str:
    """The program uv that came with modelpack."""
    from uv import find_uv_bin

    return os.fspath(find_uv_bin())


def compiler_for(python: str, base: Mapping[str, str]) -> tuple[str, Maker]:
    """A Python of this machine for a recipe's ``python`` (``3.11``) above a base with these variables.

    The first is "" where there is none; the second says which one it is, and where that makes a difference.
    """
    told = base.get("PYTHON_VERSION", "")
    return _compiler(python, told if re.fullmatch(rf"{re.escape(python)}\.\d+", told) else "")


@cache
def _compiler(python: str, exact: str) -> tuple[str, Maker]:
    place = (_found(exact) or _fetched(exact)) if exact else ""
    place = place or _found(python)
    version = _asked(place, "-I", "-c", "import platform; print(platform.python_version())") if place else ""
    brought = f"'uv python install {exact or python}' brings it"
    if not version:
        lacking = Problem("packages", f"are without bytecode: this machine has no Python {exact or python}", brought)
        return "", Maker("without bytecode", lacking)
    made = f"bytecode by Python {version}"
    if not exact or version == exact:
        return place, Maker(made)
    what = f"have {made}, and the base has {exact}: it runs there, but buildx and podman may write it differently"
    return place, Maker(made, Problem("packages", what, brought))


def _found(version: str) -> str:
    """A Python that is here: any of this machine's, or one that was fetched before."""
    find = (uv(), "python", "find", "--no-project", "--no-python-downloads", f"cpython@{version}")
    return _asked(*find, "--system") or _asked(*find, "--managed-python", environment=_kept())


def _fetched(version: str) -> str:
    """A Python that uv fetches into modelpack's own cache; "" where it cannot, or ``UV_PYTHON_DOWNLOADS`` forbids it.

    Where the network is not there it is tried once, and the build goes on.
    """
    install = [uv(), "python", "install", "--quiet", "--no-bin", "--no-registry", f"cpython@{version}"]
    forbidden = os.environ.get("UV_PYTHON_DOWNLOADS", "") in ("never", "manual")
    if forbidden or _run(install, {**_kept(), "UV_HTTP_RETRIES": "0"}) is None:
        return ""
    return _found(version)


def _kept() -> dict[str, str]:
    return {"UV_PYTHON_INSTALL_DIR": os.fspath(cache_folder() / "python")}


def _asked(*command: str, environment: Mapping[str, str] | None = None) -> str:
    return _run(command, environment or {}) or ""


def _run(command: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """What a program printed; None where it failed, or never ended."""
    whole = {**os.environ, **environment}
    try:
        done = subprocess.run(
            command, env=whole, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
