"""A pytest plugin: an unmarked test fails when it starts an engine or talks to anything but this machine.

Load it with ``pytest_plugins = ["tests.guard"]`` in the top conftest. A test marked ``live`` or ``engine`` is left
alone. What a test starts in another Python process is not seen; what it starts through a shell is.

It watches audit events (PEP 578), so that no library can go round it: a hook cannot be removed, hence one hook for
the whole run, which looks at the test that runs now.
"""

from __future__ import annotations

import ipaddress
import os
import shlex
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

ENGINES = frozenset({"podman", "docker", "dockerd", "buildah", "skopeo", "buildx", "docker-buildx"})
# Programs that start what stands behind them on their command line.
LAUNCHERS = frozenset({"sh", "bash", "dash", "env", "sudo", "nice", "nohup", "timeout", "setsid", "xargs"})
FREE_MARKERS = ("live", "engine")
RESOLVING = frozenset({"socket.getaddrinfo", "socket.gethostbyname"})
CONNECTING = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})


class _Watch:
    """Which test is guarded now, where its own stand-in programs lie, and what it did that it may not do."""

    def __init__(self) -> None:
        self.guarded: str | None = None
        self.own_folder = Path()
        self.broken: list[str] = []

    def refuse(self, what: str) -> None:
        """Stop the guarded test here; what is swallowed on the way (a thread, a bare except) is told at its end."""
        said = f"{what}: mark the test `live` (or `engine`) when it means to, or give it a fake"
        self.broken.append(said)
        pytest.fail(f"{self.guarded} {said}", pytrace=True)


WATCH = _Watch()


def _text(word: object) -> str:
    if isinstance(word, bytes):
        return word.decode("utf-8", "surrogateescape")
    return os.fspath(word) if isinstance(word, str | os.PathLike) else ""


def _words(arguments: object) -> list[str]:
    if isinstance(arguments, str | bytes | os.PathLike):
        return [_text(arguments)]
    return [_text(word) for word in arguments] if isinstance(arguments, Sequence) else []


def _shell_words(words: Sequence[str]) -> list[str]:
    """The words of a command that a launcher is given, `sh -c "podman build ."` among them."""
    found: list[str] = []
    for word in words:
        try:
            found += shlex.split(word)
        except ValueError:
            found += word.split()
    return found


def started_programs(executable: object, arguments: object) -> list[str]:
    """The names of the programs that a command starts: itself, and what a shell or ``env`` would start for it."""
    words = _words(arguments)
    first = _text(executable) or (words[0] if words else "")
    if Path(first).name not in LAUNCHERS:
        return [first]
    return [first, *_shell_words(words[1:])]


def _is_stand_in(name: str, environment: Mapping[str, str] | None) -> bool:
    """Whether a program is a script that the test has written itself, or is not there at all."""
    search = (environment if environment is not None else os.environ).get("PATH", os.defpath)
    found = shutil.which(name, path=search)
    return found is None or Path(found).resolve().is_relative_to(WATCH.own_folder)


def _check_spawn(executable: object, arguments: object, environment: object = None) -> None:
    given = environment if isinstance(environment, Mapping) else None
    for name in started_programs(executable, arguments):
        if Path(name).name in ENGINES and not _is_stand_in(name, given):
            WATCH.refuse(f"started {name}")


def is_local(host: object) -> bool:
    """Whether a name or address means this machine; a name that is not `localhost` would be asked of a server."""
    text = _text(host).split("%", 1)[0]
    if text in ("", "localhost") or text.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(text).is_loopback
    except ValueError:
        return False


def _check_connect(connection: socket.socket, address: object) -> None:
    host = address[0] if isinstance(address, tuple) and address else ""
    if connection.family in (socket.AF_INET, socket.AF_INET6) and not is_local(host):
        WATCH.refuse(f"connected to {host}")


def _check_resolve(host: object) -> None:
    name = _text(host)
    try:
        ipaddress.ip_address(name)
    except ValueError:
        if not is_local(name) and name != socket.gethostname():
            WATCH.refuse(f"looked up {name}")


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if WATCH.guarded is None:
        return
    if event == "subprocess.Popen":
        _check_spawn(arguments[0], arguments[1], arguments[3])
    elif event in ("os.exec", "os.posix_spawn"):
        _check_spawn(arguments[0], arguments[1], arguments[2])
    elif event == "os.system":
        _check_spawn("sh", ["sh", "-c", arguments[0]])
    elif event in CONNECTING and isinstance(arguments[0], socket.socket):
        _check_connect(arguments[0], arguments[1])
    elif event in RESOLVING:
        _check_resolve(arguments[0])


sys.addaudithook(_hook)


@pytest.fixture(autouse=True)
def engine_and_network_guard(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Hold an unmarked test to this process and this machine."""
    if any(request.node.get_closest_marker(marker) for marker in FREE_MARKERS):
        yield
        return
    WATCH.own_folder = tmp_path_factory.getbasetemp().resolve()
    WATCH.broken.clear()
    WATCH.guarded = request.node.nodeid
    try:
        yield
    finally:
        WATCH.guarded = None
    if WATCH.broken:
        pytest.fail("; ".join(WATCH.broken), pytrace=False)
