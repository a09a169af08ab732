"""An image for Azure ML with real engines, real pip and a stand-in for conda's installer: see ``conda_installer``."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from buildkit import flow
from buildkit.events import silent
from buildkit.policy import Policy
from buildkit.recipe import load
from buildkit.settings import find
from buildkit.world import World
from tests.fakes.hub import Hub
from tests.live.base_images import OFFICIAL_PYTHON, BaseImageError, push_bases
from tests.live.conda_installer import INSTALLER
from tests.live.filesystem import process_of, tree
from tests.live.registry import LiveRegistry
from tests.waiting import wait_until

pytestmark = [pytest.mark.live, pytest.mark.engine]
SERVER = ("gunicorn", "--worker-tmp-dir=/dev/shm", "server:app")
ENGINES = ("podman", "buildx")
SAMPLE = Path(__file__).parent.parent.parent / "samples" / "azureml"


@pytest.fixture(scope="module")
def ubuntu(live_registry: LiveRegistry, podman: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A stand-in for Ubuntu: a Debian with Python that says it is one. Gives the version of that Python."""
    try:
        base = push_bases(live_registry, (OFFICIAL_PYTHON,))[OFFICIAL_PYTHON]
    except BaseImageError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("ubuntu")
    released = "sed -i -e 's/^ID=.*/ID=ubuntu/' -e 's/^VERSION_ID=.*/VERSION_ID=\"24.04\"/' /etc/os-release"
    (folder / "Containerfile").write_text(f"FROM {base}\nRUN {released}\nENTRYPOINT []\n")
    name = f"{live_registry.host}/library/ubuntu:24.04"
    podman_command = ["podman"]
    for command in (["build", "--tls-verify=false", "-t", name, "."], ["push", "--tls-verify=false", name]):
        subprocess.run(
            [*podman_command, *command], cwd=folder, env={**_environment(), **podman}, check=True, capture_output=True
        )
    run = [*podman_command, "run", "--rm", "--network=none", name, "/usr/bin/python3", "--version"]
    said = subprocess.run(run, env={**_environment(), **podman}, check=True, capture_output=True, text=True).stdout
    return said.split()[1]


def _environment() -> dict[str, str]:
    import os

    return dict(os.environ)


@pytest.fixture
def project(ubuntu: str, live_registry: LiveRegistry, tmp_path: Path) -> Iterator[Path]:
    """The sample, with the stand-ins in the place of what is not reachable here."""
    folder = tmp_path / "azureml"
    shutil.copytree(SAMPLE, folder, ignore=shutil.ignore_patterns("recipe.lock"))
    with Hub() as hub:
        commit = hub.add("conda/forge", {"Miniforge3.sh": INSTALLER.encode()})
        url = f"{hub.endpoint}/conda/forge/resolve/{commit}/Miniforge3.sh"
        installer = {"amd64": {"url": url, "sha256": hashlib.sha256(INSTALLER.encode()).hexdigest()}}
        recipe = (folder / "recipe.yaml").read_text()
        recipe = re.sub(r"(?m)^python: .*$", f"python: {ubuntu}\ninstaller: {json.dumps(installer)}", recipe)
        (folder / "recipe.yaml").write_text(recipe)
        mirrors = {"docker.io": live_registry.host}
        registries = {"here": {"host": live_registry.host, "prefix": "az"}}
        (folder / "modelpack.yaml").write_text(json.dumps({"mirrors": mirrors, "registries": registries}))
        yield folder


@pytest.fixture
def engines(podman_environment: Mapping[str, str], docker_environment: Mapping[str, str]) -> tuple[str, ...]:
    return ENGINES


def build(folder: Path, engine: str, policy: Policy = Policy.KEEP) -> str:
    """Builds and pushes; gives the image's reference."""
    recipe = folder / "recipe.yaml"
    recipe.write_text(re.sub(r"(?m)^tags: .*$", f"tags: [{engine}]", recipe.read_text()))
    delivered = flow.build(load(recipe), World(find(folder), silent), flow.Wanted(engine, policy, "here"))
    return f"{delivered.references[0]}@{delivered.sealing.digest}"


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@contextlib.contextmanager
def running(reference: str, program: str) -> Iterator[tuple[str, str]]:
    """The image as a careful platform runs it: read-only, a random user, /tmp alone writable. Gives URL and container."""
    port = free_port()
    options = ["--read-only", "--tmpfs=/tmp", "--user=54321:0", "--detach", "--network=host"]
    tls = ["--tls-verify=false"] if program == "podman" else []
    done = subprocess.run(
        [program, "run", *tls, *options, reference, *SERVER, f"--bind=127.0.0.1:{port}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    container = done.stdout.strip()
    try:
        yield f"http://127.0.0.1:{port}", container
    finally:
        subprocess.run([program, "rm", "--force", container], capture_output=True, check=False)


def ask(url: str, content: Any = None) -> tuple[int, Any]:
    body = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
    except OSError:
        return 0, None


def test_the_sample_is_one_image_and_serves(project: Path, engines: tuple[str, ...]) -> None:
    """Two engines give two images, a cache or compiler is in it, or the endpoint's three routes do not answer."""
    seen = {}
    for engine in engines:
        reference = build(project, engine)
        seen[engine] = (tree(find(project), reference), process_of(find(project), reference))
        assert build(project, engine, Policy.LOCKED) == reference, "a second build changed something"
    assert seen["podman"][1] == seen["buildx"][1]
    assert seen["podman"][0] == seen["buildx"][0]
    entries, process = seen["podman"]
    assert process["User"] == "1001:0" and process["WorkingDir"] == "/app"
    added = {
        name for name in entries if name.split("/")[0] in ("opt", "app", "installer", "environment", "root", "tmp")
    }
    assert "app/server.py" in added and "opt/conda/bin/conda" in added
    wrong = [
        name
        for name in added
        if re.search(r"(^|/)(pkgs|\.git|\.cache|install\.log|gcc|cc1|Miniforge.*)(/|$)|\.tar\.bz2$", name)
    ]
    assert not wrong
    assert not any(name.startswith(("installer", "environment", "tmp/")) for name in added)
    reference = f"{find(project).registry('here').repository('azureml')}:podman"
    for program in ("podman", "docker"):
        with running(reference, program) as (url, container):
            wait_until(lambda: ask(f"{url}/health")[0] == 200, "the server")
            assert ask(f"{url}/ready")[0] == 200
            assert ask(f"{url}/predict", {"data": [1, 2.5]}) == (200, {"predictions": [2.0, 5.0]})
            assert ask(f"{url}/predict", {"data": "x"})[0] == 400
            began = time.monotonic()
            subprocess.run([program, "stop", "--time", "30", container], capture_output=True, check=True)
            assert time.monotonic() - began < 29, "SIGTERM did not end it"
    path = [
        "podman",
        "run",
        "--rm",
        "--tls-verify=false",
        "--network=none",
        reference,
        "sh",
        "-c",
        "conda --version && python --version",
    ]
    said = subprocess.run(path, capture_output=True, text=True, check=True).stdout.split("\n")
    assert said[0].startswith("conda 26.") and said[1].startswith("Python 3.")


def test_v1_is_what_azure_builds_on(project: Path, engines: tuple[str, ...]) -> None:
    """The legacy service finds no conda on PATH, or cannot install above the image."""
    recipe = project / "recipe.yaml"
    lines = recipe.read_text().split("inference_config:")[0].split("code: ")[0]
    recipe.write_text(f"{lines}\nvariant: v1\ntags: [v1]\n")
    reference = build(project, "podman")
    run = [
        "podman",
        "run",
        "--rm",
        "--pull=always",
        "--tls-verify=false",
        "--network=none",
        reference.partition("@")[0],
    ]
    said = subprocess.run(
        [*run, "sh", "-c", "id -u; conda --version; python --version"], capture_output=True, text=True, check=True
    )
    assert said.stdout.startswith("0\nconda 26.")


def test_another_base_is_refused_by_the_build(
    project: Path, engines: tuple[str, ...], live_registry: LiveRegistry
) -> None:
    """An Alpine under a name that says nothing becomes an image that Azure ML cannot use."""
    from buildkit.errors import EngineFailed

    recipe = project / "recipe.yaml"
    push_bases(live_registry, (OFFICIAL_PYTHON,))
    recipe.write_text(re.sub(r"(?m)^base: .*$", "base: docker.io/library/python:latest", recipe.read_text()))
    with pytest.raises(EngineFailed) as raised:
        build(project, "podman")
    assert "this takes ubuntu" in str(raised.value)
