"""This machine: the cache, the engines, and the programs of others that some commands start."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from buildkit import __version__
from buildkit.amounts import human
from buildkit.doctor.finding import Finding
from buildkit.machine.cache import cache_folder
from buildkit.oci import hashing

_SECONDS = 20
_LITTLE_ROOM = 5_000_000_000
"""Bytes that a build with an engine of its own soon fills."""

_COMPILED_FOR = (("Linux", "x86_64"), ("Darwin", "x86_64"))
"""Where ``hatch_build.py`` compiles."""

_PROGRAMS = {
    "cosign": "signs and verifies: 'modelpack attest --sign', 'modelpack verify-signature'",
    "trivy": "scans for vulnerabilities: 'modelpack scan' (grype does too)",
    "grype": "scans for vulnerabilities: 'modelpack scan' (trivy does too)",
    "git": "the history of locks in 'modelpack catalog'",
}


def machine() -> Iterator[Finding]:
    """The tool itself, its cache, and the room there."""
    yield Finding(
        "tool", "modelpack", "ok", f"{__version__} on Python {platform.python_version()}, {platform.system()}"
    )
    yield _hashing()
    folder = cache_folder()
    # Path.is_dir raises below a folder that may not be entered, as another user's home is.
    there = next(one for one in (folder, *folder.parents) if os.path.isdir(one))
    if not os.access(there, os.W_OK):
        yield Finding(
            "tool", "cache", "broken", f"{there} may not be written", "set MODELPACK_CACHE_DIR to a folder that may"
        )
        return
    free = shutil.disk_usage(there).free
    told = f"{folder}, {human(free)} free"
    if free < _LITTLE_ROOM:
        mend = "make room, or build with --engine embedded and --push, which keeps nothing on disk"
        yield Finding("tool", "cache", "broken", told, mend)
    else:
        yield Finding("tool", "cache", "ok", told)


def _hashing() -> Finding:
    if hashing.PAIRED:
        return Finding("tool", "hashing", "ok", "a file and its layer in one pass")
    here = platform.system(), platform.machine()
    if here not in _COMPILED_FOR:
        return Finding("tool", "hashing", "ok", f"a file, then its layer: {' on '.join(here)} has no faster way yet")
    mend = "install modelpack again with a C compiler and Python's headers, where the processor has SHA extensions"
    return Finding("tool", "hashing", "missing", "a file, then its layer: twice the time", mend)


def engines() -> Iterator[Finding]:
    """The three engines: whether they are there and answer."""
    yield Finding("engine", "embedded", "ok", "needs nothing")
    yield _buildx()
    yield _podman()


def programs() -> Iterator[Finding]:
    """What some commands start."""
    for name, purpose in _PROGRAMS.items():
        found = shutil.which(name)
        if found:
            yield Finding("program", name, "ok", found)
        else:
            yield Finding("program", name, "missing", purpose, f"install {name} where that is wanted")


def _buildx() -> Finding:
    if shutil.which("docker") is None:
        return Finding(
            "engine", "buildx", "missing", "docker is not installed", "install docker with its buildx plugin"
        )
    code, said = _asked(["docker", "buildx", "version"])
    if code:
        return Finding("engine", "buildx", "broken", "docker has no buildx plugin", "install docker-buildx")
    version = said.split()[1] if len(said.split()) > 1 else said
    code, said = _asked(["docker", "version", "--format", "{{.Server.Version}}"])
    if code:
        return Finding(
            "engine", "buildx", "broken", f"docker does not answer: {_last(said)}", "start docker, or DOCKER_HOST"
        )
    return Finding("engine", "buildx", "ok", f"docker {said.strip()}, buildx {version}")


def _podman() -> Finding:
    if shutil.which("podman") is None:
        return Finding("engine", "podman", "missing", "is not installed", "install podman, where docker is not wanted")
    code, said = _asked(
        ["podman", "info", "--format", "{{.Version.Version}} {{.Host.Security.Rootless}} {{.Store.GraphRoot}}"]
    )
    if code:
        return Finding(
            "engine", "podman", "broken", f"does not answer: {_last(said)}", "run 'podman info' and mend what it says"
        )
    version, rootless, store = [*said.strip().split(" ", 2), "", ""][:3]
    if _hybrid_cgroups() and _runtime() == "crun":
        mend = "set 'runtime = \"runc\"' under [engine] in containers.conf"
        return Finding("engine", "podman", "broken", f"{version}: crun cannot run here, where cgroups are hybrid", mend)
    return Finding("engine", "podman", "ok", f"{version}{' rootless' if rootless == 'true' else ''}, images in {store}")


def _runtime() -> str:
    return _asked(["podman", "info", "--format", "{{.Host.OCIRuntime.Name}}"])[1].strip()


def _hybrid_cgroups() -> bool:
    """Both versions of control groups at once (crun refuses that with "cgroups in hybrid mode not supported")."""
    root = Path("/sys/fs/cgroup")
    return (root / "unified").is_dir() and not (root / "cgroup.controllers").is_file()


def _asked(command: Sequence[str]) -> tuple[int, str]:
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False)
        return done.returncode, done.stdout if done.returncode == 0 else done.stderr or done.stdout
    return 1, f"{command[0]} does not answer within {_SECONDS} seconds"


def _last(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it says nothing"
