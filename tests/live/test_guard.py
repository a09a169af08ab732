"""The guard of tests/guard.py, tried in a pytest of its own: what it must stop, and what it must let through."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.guard import is_local, started_programs

ROOT = Path(__file__).resolve().parents[2]
# 192.0.2.0/24 belongs to nobody (RFC 5737); the guard stops the call before a packet is made.
SAMPLE = """\
import socket, subprocess, threading
import pytest

def connect(address, family=socket.AF_INET):
    with socket.socket(family) as one:
        one.connect(address)

def test_engine_by_name(): subprocess.run(["podman", "--version"])
def test_engine_by_path(): subprocess.run(["{engine}", "--version"])
def test_engine_through_shell(): subprocess.run("true && docker ps", shell=True)
def test_engine_through_env(): subprocess.run(["env", "A=b", "podman", "--version"])
def test_address_elsewhere(): connect(("192.0.2.1", 80))
def test_address_elsewhere_v6(): connect(("2001:db8::1", 80), socket.AF_INET6)
def test_name_elsewhere(): socket.getaddrinfo("registry.example", 443)
def test_swallowed():
    try: connect(("192.0.2.1", 80))
    except BaseException: pass
def test_in_a_thread():
    thread = threading.Thread(target=lambda: connect(("192.0.2.1", 80)))
    thread.start(); thread.join()

@pytest.mark.live
def test_live_may(): subprocess.run(["podman", "--version"], check=True)
@pytest.mark.engine
def test_engine_may(): subprocess.run(["podman", "--version"], check=True)
def test_stand_in_may(tmp_path, monkeypatch):
    script = tmp_path / "podman"
    script.write_text("#!/bin/sh\\necho stand-in\\n"); script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert subprocess.run(["podman"], capture_output=True, text=True).stdout == "stand-in\\n"
def test_absent_may():
    with pytest.raises(FileNotFoundError):
        subprocess.run(["podman"], env={{"PATH": "/nowhere"}})
def test_loopback_may():
    with socket.create_server(("127.0.0.1", 0)) as server:
        connect(server.getsockname())
        socket.create_connection(("localhost", server.getsockname()[1])).close()
def test_other_program_may(): subprocess.run(["sh", "-c", "exit 0"], check=True)
def test_unix_socket_may(tmp_path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s")); server.listen()
        connect(str(tmp_path / "s"), socket.AF_UNIX)
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Run the sample under the guard, with stand-ins where real engines would lie: what each test failed with."""
    folder = tmp_path_factory.mktemp("guarded")
    engines = folder / "engines"
    engines.mkdir()
    for name in ("podman", "docker"):
        (engines / name).write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
        (engines / name).chmod(0o755)
    (folder / "test_sample.py").write_text(SAMPLE.format(engine=engines / "podman"), encoding="utf-8")
    report = folder / "report.xml"
    options = ["-p", "tests.guard", "-p", "no:cacheprovider", "-o", "markers=live\nengine", "-W", "ignore"]
    folders = ["--basetemp", str(folder / "temp"), "--junit-xml", str(report)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *folders, "test_sample.py"],
        cwd=folder,
        env={**os.environ, "PATH": os.pathsep.join((str(engines), os.environ["PATH"])), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert report.exists(), done.stdout + done.stderr
    found: dict[str, str] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        said = [str(child.get("message")) for child in case if child.tag in ("failure", "error")]
        found[case.attrib["name"]] = found.get(case.attrib["name"], "") + " ".join(said)
    return found


STOPPED = [line.split("(")[0].removeprefix("def ") for line in SAMPLE.splitlines() if line.startswith("def test_")]
ALLOWED = [name for name in STOPPED if name.endswith("_may")]


@pytest.mark.parametrize("name", sorted(set(STOPPED) - set(ALLOWED)))
def test_unmarked_test_is_stopped(outcomes: dict[str, str], name: str) -> None:
    """A test would use the developer's engine or the network unseen, and pass or fail with them."""
    assert "mark the test `live`" in outcomes[name]


@pytest.mark.parametrize("name", ALLOWED)
def test_what_is_harmless_or_marked_passes(outcomes: dict[str, str], name: str) -> None:
    """A sound test would be refused."""
    assert outcomes[name] == ""


@pytest.mark.parametrize(
    ("host", "local"),
    [
        *((host, True) for host in ("127.0.0.1", "127.8.9.1", "::1", "localhost", "", "registry.localhost")),
        *((host, False) for host in ("0.0.0.0", "10.0.0.1", "example.com", "::2", "127.0.0.1.example.com")),
    ],
)
def test_only_this_machine_is_local(host: str, local: bool) -> None:
    """An address outside would count as loopback, or the other way round."""
    assert is_local(host) is local


def test_programs_behind_a_launcher_are_seen() -> None:
    """An engine could be started through a shell unseen."""
    assert "podman" in started_programs("sh", ["sh", "-c", "cd x && podman build ."])
    assert "podman" in started_programs(None, ["/usr/bin/env", b"podman", "ps"])
    assert started_programs("git", ["git", "log", "--grep", "podman"]) == ["git"]
