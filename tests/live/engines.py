"""Real docker and podman with storage of their own, steered by environment variables alone.

Product code starts ``docker`` and ``podman`` as subprocesses that inherit ``os.environ``, so what is yielded here is
environment variables, and nothing of the developer's own engines, credentials or images is read or touched.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.live.daemons import TAIL_CHARACTERS, DaemonError, daemon
from tests.live.install import program

DOCKER_SECONDS = 90.0
# Modest on purpose: without CAP_SYS_RESOURCE podman was refused its own hard limit of processes (seen: 96365), for a
# reason not looked into, and was granted this.
MOST_OPEN_FILES, MOST_PROCESSES = 16384, 16384
# Set, even to nothing, these make podman speak to a service elsewhere: they can only be taken away.
ELSEWHERE = ("CONTAINER_HOST", "CONTAINER_CONNECTION")
INSTALL = "`python tests/live/install.py` installs it"


class EngineMissingError(Exception):
    """An engine is not installed, or does not run here; the message says which and why."""


@dataclass(frozen=True)
class Docker:
    """A running dockerd: the variables that lead ``docker`` and ``docker buildx`` to it, and its log."""

    environment: Mapping[str, str]
    socket: Path
    log: Path


def _mount_points() -> list[tuple[Path, str]]:
    """Every mount point of this process with its file system type, after proc(5), in the order they were mounted."""
    points = []
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        fields, _, source = line.partition(" - ")
        point = fields.split()[4].encode("ascii", "surrogateescape").decode("unicode_escape")
        points.append((Path(point), source.split()[0]))
    return points


def _filesystem(folder: Path) -> str:
    """The type of the file system that a folder lies on."""
    around = [(len(point.parts), kind) for point, kind in _mount_points() if folder.is_relative_to(point)]
    return max(around, key=lambda one: one[0])[1]  # the last of equals would be a remount of the same kind


def remove_tree(folder: Path) -> None:
    """Delete a folder that an engine used: unmount what it left mounted below it, deepest first, then remove it."""
    for point, _ in reversed(_mount_points()):
        if point.is_relative_to(folder.resolve()):
            subprocess.run(["umount", "--lazy", str(point)], check=False, capture_output=True)
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _short_folder() -> Iterator[Path]:
    """A folder whose name is short: the path of a unix socket has at most 108 bytes (unix(7)).

    Nor does podman fail where its run folder has a long name: `podman run` was seen to take 20 s more there.
    """
    folder = Path(tempfile.mkdtemp(prefix="mp", dir="/tmp"))
    try:
        yield folder
    finally:
        remove_tree(folder)


def _answers(environment: Mapping[str, str]) -> bool:
    docker = program("docker") or "docker"
    command = [docker, "version", "--format", "{{.Server.Version}}"]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, check=False)
    return done.returncode == 0 and bool(done.stdout.strip())


def _docker_environment(folder: Path, socket: Path) -> dict[str, str]:
    config = folder / "docker-config"
    config.mkdir(parents=True, exist_ok=True)
    (config / "config.json").write_text("{}\n", encoding="utf-8")
    return {
        "DOCKER_HOST": f"unix://{socket}",
        "DOCKER_CONFIG": str(config),  # credentials, and buildx's builders
        "DOCKER_CONTEXT": "",
        "BUILDX_BUILDER": "",
    }


def _dockerd(folder: Path, run: Path, mirrors: Sequence[str], settings: Mapping[str, object]) -> list[str]:
    """The command line: nothing of a dockerd or a containerd that this machine may run itself is shared."""
    file = folder / "daemon.json"
    file.write_text(json.dumps(settings), encoding="utf-8")
    # containerd takes no name that ends in an underscore, and a temporary folder's may.
    namespace = f"modelpack-{run.name.replace('_', '0')}"
    return [
        program("dockerd") or "dockerd",
        f"--config-file={file}",
        f"--host=unix://{run / 'docker.sock'}",
        f"--data-root={folder / 'data'}",
        f"--exec-root={run / 'exec'}",
        f"--pidfile={run / 'docker.pid'}",
        f"--containerd-namespace={namespace}",
        f"--containerd-plugins-namespace={namespace}-plugins",
        *(f"--registry-mirror={mirror}" for mirror in mirrors),
    ]


@contextlib.contextmanager
def start_docker(folder: Path, *mirrors: str, containerd_store: bool = False) -> Iterator[Docker]:
    """Run a dockerd of our own until the block ends.

    Args:
        folder: where images and the log go.
        mirrors: URLs of registries to ask in place of Docker Hub (dockerd knows mirrors for no other registry).
        containerd_store: hold images in containerd, as new installations of docker 29 do, and not under overlay2: then
            the docker driver of buildx can write an OCI layout and build for several platforms at once.

    Raises:
        EngineMissingError: it is not installed, we are not root, or it did not start; the end of its log is in the message.
    """
    absent = [name for name in ("docker", "dockerd", "containerd", "runc") if program(name) is None]
    if absent:
        raise EngineMissingError(f"{', '.join(absent)} not installed; {INSTALL}")
    if os.geteuid() != 0:
        raise EngineMissingError("starting a dockerd of our own needs root")
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "dockerd.log"
    with _short_folder() as run:
        socket = run / "docker.sock"
        environment = _docker_environment(folder, socket)
        with contextlib.ExitStack() as running:
            running.callback(remove_tree, folder / "data")
            settings = {"features": {"containerd-snapshotter": True}} if containerd_store else {}
            command = _dockerd(folder, run, mirrors, settings)
            try:
                running.enter_context(
                    daemon(
                        command,
                        log,
                        lambda: _answers(environment),
                        environment=dict(os.environ),
                        seconds=DOCKER_SECONDS,
                    )
                )
            except DaemonError as error:
                raise EngineMissingError(str(error)) from error
            yield Docker(environment, socket, log)


def _within(name: str, most: int) -> int:
    """A value for a resource limit (``RLIMIT_…``) that this process may hand on."""
    import resource  # not on every system, and these files must be importable where no engine is

    _, hard = resource.getrlimit(getattr(resource, name))
    return most if hard == resource.RLIM_INFINITY else min(hard, most)


def _containers_conf(folder: Path, run: Path) -> str:
    """containers.conf(5), with what podman needs on a machine with hybrid cgroups, low limits or no systemd."""
    files = _within("RLIMIT_NOFILE", MOST_OPEN_FILES)
    processes = _within("RLIMIT_NPROC", MOST_PROCESSES)
    ulimits = [f"nofile={files}:{files}", f"nproc={processes}:{processes}"]
    engine = ['events_logger = "file"', 'lock_type = "file"', f'tmp_dir = "{run / "tmp"}"']
    if program("runc"):
        engine.append('runtime = "runc"')  # crun refuses RUN where cgroups are hybrid
    if not Path("/run/systemd/system").exists():
        engine.append('cgroup_manager = "cgroupfs"')
    return "\n".join(
        [
            "[containers]",
            f"default_ulimits = {json.dumps(ulimits)}",
            "[engine]",
            *engine,
            "[network]",
            'network_backend = "netavark"',
            f'network_config_dir = "{folder / "networks"}"',
            "",
        ]
    )


def _storage_conf(folder: Path, run: Path) -> str:
    """containers-storage.conf(5); overlay cannot lie on overlay, as it would where the tests run in a container."""
    driver = "vfs" if _filesystem(folder.resolve()) == "overlay" else "overlay"
    lines = [f'driver = "{driver}"', f'graphroot = "{folder / "storage"}"', f'runroot = "{run / "run"}"']
    return "\n".join(["[storage]", *lines, ""])


def _registries_conf(mirrors: Mapping[str, str]) -> str:
    """containers-registries.conf(5): plain HTTP is taken on 127.0.0.1 (any port), nowhere else."""
    sections = ["unqualified-search-registries = []", "[[registry]]", 'location = "127.0.0.1"', "insecure = true"]
    for prefix, location in mirrors.items():
        sections += ["[[registry]]", f'prefix = "{prefix}"', f'location = "{location}"']
        if location.startswith("127.0.0.1"):
            sections.append("insecure = true")
    return "\n".join([*sections, ""])


def _podman_files(folder: Path, run: Path, mirrors: Mapping[str, str]) -> dict[str, str]:
    texts = {
        "CONTAINERS_CONF": ("containers.conf", _containers_conf(folder, run)),
        "CONTAINERS_STORAGE_CONF": ("storage.conf", _storage_conf(folder, run)),
        "CONTAINERS_REGISTRIES_CONF": ("registries.conf", _registries_conf(mirrors)),
        "REGISTRY_AUTH_FILE": ("auth.json", "{}\n"),  # podman refuses a name that is not there
    }
    for name, text in texts.values():
        (folder / name).write_text(text, encoding="utf-8")
    return {variable: str(folder / name) for variable, (name, _) in texts.items()}


@contextlib.contextmanager
def podman_environment(folder: Path, mirrors: Mapping[str, str] | None = None) -> Iterator[dict[str, str]]:
    """The variables that give ``podman``, ``buildah`` and ``skopeo`` storage and settings of their own in ``folder``.

    Variables named in ``ELSEWHERE`` must be taken out of the environment beside setting these. The storage is emptied and removed when the block ends.

    Args:
        folder: where images, settings and locks go.
        mirrors: for a registry's name or a part of it (``registry.access.redhat.com``), where it is asked instead
            (``127.0.0.1:PORT``).

    Raises:
        EngineMissingError: podman is not installed, or does not answer with these settings.
    """
    binary = program("podman")
    if binary is None:
        raise EngineMissingError(f"podman is not installed; {INSTALL}")
    folder.mkdir(parents=True, exist_ok=True)
    with _short_folder() as run:
        environment = _podman_files(folder, run, mirrors or {})
        whole = {**{name: value for name, value in os.environ.items() if name not in ELSEWHERE}, **environment}
        done = subprocess.run([binary, "info"], env=whole, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = done.stderr[-TAIL_CHARACTERS:].strip()
            raise EngineMissingError(f"`podman info` ended with {done.returncode}: {said}")
        try:
            yield environment
        finally:
            # Images are removed with the folder: to have podman forget them one by one takes longer than many a test.
            command = [binary, "rm", "--all", "--force", "--time", "0"]
            subprocess.run(command, env=whole, capture_output=True, check=False)
            for name in ("storage", "networks"):
                remove_tree(folder / name)
