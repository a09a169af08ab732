"""This machine: the cache, the engines, and the programs of others that some commands start."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

from buildkit import __version__
from buildkit.amounts import human
from buildkit.doctor.finding import Finding, State
from buildkit.engines import buildx
from buildkit.engines.program import asked, last_line
from buildkit.machine.cache import cache_folder
from buildkit.oci import hashing

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
    missing = buildx.missing()
    if missing:
        state: State = "broken" if shutil.which("docker") else "missing"
        return Finding("engine", "buildx", state, missing[0].what, missing[0].hint)
    version = asked(["docker", "buildx", "version"])[1].split()
    server = asked(["docker", "version", "--format", "{{.Server.Version}}"])[1].strip()
    return Finding("engine", "buildx", "ok", f"docker {server}, buildx {' '.join(version[1:2])}")


def _podman() -> Finding:
    if shutil.which("podman") is None:
        return Finding("engine", "podman", "missing", "is not installed", "install podman, where docker is not wanted")
    code, said = asked(
        ["podman", "info", "--format", "{{.Version.Version}} {{.Host.Security.Rootless}} {{.Store.GraphRoot}}"]
    )
    if code:
        return Finding(
            "engine",
            "podman",
            "broken",
            f"does not answer: {last_line(said)}",
            "run 'podman info' and mend what it says",
        )
    version, rootless, store = [*said.strip().split(" ", 2), "", ""][:3]
    if _hybrid_cgroups() and _runtime() == "crun":
        mend = "set 'runtime = \"runc\"' under [engine] in containers.conf"
        return Finding("engine", "podman", "broken", f"{version}: crun cannot run here, where cgroups are hybrid", mend)
    return Finding("engine", "podman", "ok", f"{version}{' rootless' if rootless == 'true' else ''}, images in {store}")


def _runtime() -> str:
    return asked(["podman", "info", "--format", "{{.Host.OCIRuntime.Name}}"])[1].strip()


def _hybrid_cgroups() -> bool:
    """Both versions of control groups at once (crun refuses that with "cgroups in hybrid mode not supported")."""
    root = Path("/sys/fs/cgroup")
    return (root / "unified").is_dir() and not (root / "cgroup.controllers").is_file()
