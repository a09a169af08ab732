"""podman and docker, driven by their command lines: lists of words, never a shell, with the environment passed through."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

from buildkit.engines.program import failed
from buildkit.errors import EngineFailed, InvalidInput, Problem
from buildkit.probe.archived import ONE, docker_archive, view_of
from buildkit.probe.containers import Container, Done, Engine, NotStarted, Served, Signal, State

NAMES = ("podman", "docker")
_ENGINE_SECONDS = 120.0
"""How long an engine may take for what takes it a moment; pulls and loads have no limit."""

_ENDING_SECONDS = 15.0
_NOT_RUN, _TOO_LATE = 126, 124
_LINES = "60"
_MOUNTED_IN = ("/etc", "/run", "/dev", "/proc", "/sys")
"""Folders that ``diff`` tells of since the engine itself mounts something below them; what else changes there is told."""


class _CommandLine:
    """What podman and docker have in common: nearly everything."""

    name = ""

    def start(self, name: str, container: Container) -> None:
        """Starts it; raises NotStarted. It may exist afterwards all the same, so that it is removed in any case."""
        done = _call([self.name, "run", "--detach", "--name", name, *self._options(container)])
        if done.code:
            raise NotStarted(done.code, done.said)

    def look(self, name: str) -> State:
        """How it stands, as ``inspect`` tells; a container that is not there does not run."""
        done = _call([self.name, "container", "inspect", name])
        if done.code:
            return State(False)
        found: dict[str, Any] = json.loads(done.said)[0]
        state = found["State"]
        ports = (found.get("NetworkSettings") or {}).get("Ports") or {}
        published = {
            int(inside.partition("/")[0]): int(one["HostPort"])
            for inside, bound in ports.items()
            for one in bound or []
            if one.get("HostPort")
        }
        return State(bool(state["Running"]), int(state["ExitCode"]), published, bool(state.get("OOMKilled")))

    def inside(self, name: str, words: tuple[str, ...], seconds: float) -> Done:
        """Runs a program inside with ``exec``, as the image's own user."""
        return _call([self.name, "exec", name, *words], seconds, both=True)

    def signal(self, name: str, signal: Signal) -> None:
        """Sends a signal; a container that has ended meanwhile does not mind."""
        _call([self.name, "kill", "--signal", signal, name])

    def remove(self, name: str) -> None:
        """Kills and removes it, with its anonymous volumes."""
        _call([self.name, "rm", "--force", "--volumes", name])

    def logs(self, name: str) -> str:
        """The last lines of both streams."""
        done = _call([self.name, "logs", "--tail", _LINES, name], both=True)
        return "" if done.code else done.said

    def follow(self, name: str) -> None:
        """Waits for ``logs --follow``, whose streams are ours."""
        process = subprocess.Popen(
            [self.name, "logs", "--follow", name], stdin=subprocess.DEVNULL, start_new_session=True
        )
        try:
            process.wait()
        finally:
            process.kill()
            process.wait()

    def changes(self, name: str) -> tuple[str, ...]:
        """What ``diff`` calls added or changed; folders that merely hold a change are left out."""
        lines = [line.split(" ", 1) for line in _call([self.name, "diff", name]).said.splitlines() if " " in line]
        paths = sorted(path for kind, path in lines if kind in ("A", "C") and path not in _MOUNTED_IN)
        return tuple(path for path in paths if not any(other.startswith(f"{path}/") for other in paths))

    def files(self, image: str) -> Iterator[bytes]:
        """The tar that ``export`` writes of a container which never ran."""
        created = _call([self.name, "create", "--network", "none", image, "/nothing-is-run"])
        if created.code:
            raise failed(self.name, created.said)
        container = created.said.split()[-1]
        command = [self.name, "export", container]
        try:
            with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
                assert process.stdout
                try:
                    while piece := process.stdout.read(1024 * 1024):
                        yield piece
                finally:
                    process.kill()
        finally:
            self.remove(container)

    def pull(self, reference: str, *, plain_http: bool) -> str:
        """Pulls; the credentials are the engine's own. Raises EngineFailed."""
        done = _call([self.name, "pull", "--quiet", *self._plain(plain_http), reference], seconds=None)
        if done.code:
            raise failed(self.name, done.said)
        found = self.find(reference)
        if found is None:
            raise EngineFailed(f"{self.name} pulled {reference} and does not find it")
        return found

    def load(self, served: Served) -> str:
        """Loads it as a docker-archive, which podman and every docker read."""
        with docker_archive(served) as (archive, name):
            done = _call([self.name, "load", "--quiet", "--input", str(archive)], seconds=None)
        if done.code:
            raise failed(self.name, done.said)
        for known in (name, f"localhost/{name}"):
            if self.find(known):
                return known
        raise EngineFailed(f"{self.name} loaded an image and does not find it as {name}")

    def find(self, name: str) -> str | None:
        """The id of an image that is here."""
        done = _call([self.name, "image", "inspect", "--format", "{{.Id}}", name])
        return None if done.code else done.said.split()[-1]

    def forget(self, image: str) -> None:
        """Removes a loaded image; one that a container still uses stays."""
        _call([self.name, "image", "rm", image])

    def _options(self, container: Container) -> list[str]:
        """The words of ``run`` for a container; all of them are the same for both engines."""
        words = ["--log-driver", self._log_driver, "--no-healthcheck"]
        for number, port in enumerate(container.ports):
            host_port = container.host_port if number == 0 else 0
            words += ["--publish", f"127.0.0.1:{host_port or ''}:{port}"]
        for key, value in container.environment.items():
            words += ["--env", f"{key}={value}"]
        for key in container.passed:
            words += ["--env", key]
        for flag, given in (("--user", container.user), ("--memory", container.memory)):
            words += [flag, given] if given else []
        if container.read_only:
            words += self._read_only
        for folder in container.temporary:
            words += ["--tmpfs", f"{folder}:rw,exec,mode=1777"]
        if container.mounts:
            # Without this SELinux refuses a folder that is not labelled for containers; labelling it would change it.
            words += ["--security-opt", "label=disable"]
        for mount in container.mounts:
            readonly = ",readonly" if mount.read_only else ""
            words += ["--mount", f"type=bind,source={mount.source},target={mount.target}{readonly}"]
        if container.processes_of:
            words += ["--pid", f"container:{container.processes_of}"]
        if container.entrypoint is not None:
            words += ["--entrypoint", container.entrypoint]
        return [*words, container.image, *container.arguments]

    _log_driver = ""
    _read_only: tuple[str, ...] = ()

    def _plain(self, plain_http: bool) -> list[str]:
        return []


class Podman(_CommandLine):
    """podman, rootless where the user is."""

    name = "podman"
    _log_driver = "k8s-file"
    # Of itself podman adds writable folders in memory (/run, /var/tmp), which a platform does not.
    _read_only = ("--read-only", "--read-only-tmpfs=false")

    def load(self, served: Served) -> str:
        """Pulls from its layout where it lies in one, without another copy; else loads a docker-archive of it."""
        with view_of(served) as view:
            done = _call(["podman", "pull", "--quiet", f"oci:{view}:{ONE}"], seconds=None) if view else Done(1, "")
        if done.code == 0:
            # podman takes the path alone for a name (libimage, copyFromDefault); by the name it is forgotten again.
            name = f"localhost{view}:latest"
            return name if self.find(name) else done.said.split()[-1]
        return super().load(served)

    def _plain(self, plain_http: bool) -> list[str]:
        return ["--tls-verify=false"] if plain_http else []


class Docker(_CommandLine):
    """docker, wherever DOCKER_HOST or its context leads."""

    name = "docker"
    _log_driver = "json-file"
    _read_only = ("--read-only",)


def engine_named(name: str | None, image: str = "") -> Engine:
    """The engine that was asked for, else the first that has the image, else the first that answers.

    Raises InvalidInput for another name, and EngineFailed where none answers.
    """
    if name is not None and name not in NAMES:
        raise InvalidInput(f"there is no container engine {name!r}", hint=f"the engines are: {', '.join(NAMES)}")
    problems, answering = [], []
    for engine in (Podman(), Docker()):
        if name not in (None, engine.name):
            continue
        problem = _silent(engine.name)
        if problem is None:
            answering.append(engine)
        else:
            problems.append(problem)
    having = [engine for engine in answering if len(answering) > 1 and image and engine.find(image)]
    for engine in (*having, *answering):
        return engine
    raise EngineFailed(
        "nothing is here that can run an image", problems, hint="install podman, or install and start docker"
    )


def _silent(program: str) -> Problem | None:
    if shutil.which(program) is None:
        return Problem(program, "is not installed")
    done = _call([program, "version", "--format", "{{.Client.Version}}"] if program == "podman" else [program, "info"])
    return None if done.code == 0 else Problem(program, done.said.strip().splitlines()[-1] if done.said else "failed")


def _call(command: list[str], seconds: float | None = _ENGINE_SECONDS, *, both: bool = False) -> Done:
    """Runs a command of an engine to its end. Ctrl-C at the terminal reaches us and not the engine: what it is doing is
    finished first, so that a container which is being made can be removed.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if both else subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        return Done(_TOO_LATE, (out or "") + (err or ""))
    except BaseException:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=_ENDING_SECONDS)
        process.kill()
        raise
    return Done(process.returncode, out if process.returncode == 0 or both else f"{out}{err}")
