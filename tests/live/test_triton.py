"""A real tritonserver serves what the three engines built: if these fail, an image is built that answers nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from buildkit import flow
from buildkit.events import silent
from buildkit.oci.manifest import ImageConfig, Manifest
from buildkit.policy import Policy
from buildkit.recipe import load
from buildkit.settings import find
from buildkit.world import World
from recipes.triton.kind import triton
from tests.live import triton_base
from tests.live.base_images import BaseImageError
from tests.live.conftest import missing
from tests.live.install import program
from tests.live.layers import entries_above
from tests.live.registry import LiveRegistry
from tests.waiting import wait_until

pytestmark = [pytest.mark.live, pytest.mark.engine]

SAMPLE = Path(__file__).parents[2] / "samples" / "triton"
ENGINES = ("embedded", "podman", "buildx")
POINTS = {"name": "points", "datatype": "FP32", "shape": [2, 2], "data": [0.1, 0.2, 1.5, 1.5]}
ASK = """
import json, sys, urllib.request
path, body = sys.argv[1], sys.argv[2].encode() or None
try:
    with urllib.request.urlopen(urllib.request.Request("http://127.0.0.1:" + path, body), timeout=20) as answer:
        print(json.dumps([answer.status, answer.read().decode()]))
except urllib.error.HTTPError as error:
    print(json.dumps([error.code, error.read().decode()]))
except OSError as error:
    print(json.dumps([0, str(error)]))
"""


@dataclass(frozen=True)
class Server:
    """A container that runs, asked from inside: it needs no network and disturbs nobody's ports."""

    engine: str
    id: str

    def ask(self, path: str, body: object = None) -> tuple[int, str]:
        text = json.dumps(body) if body is not None else ""
        done = subprocess.run(
            [self.engine, "exec", self.id, "python3", "-c", ASK, path, text],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            return 0, done.stderr
        status, answer = json.loads(done.stdout)
        return status, answer

    def infer(self, model: str) -> list[Any]:
        """The first output of a model for the two points."""
        status, answer = self.ask(f"8000/v2/models/{model}/infer", {"inputs": [POINTS]})
        assert status == 200, f"{status} {answer}\n{self.log()}"
        return list(json.loads(answer)["outputs"][0]["data"])

    def ready(self, path: str = "8000/v2/health/ready") -> None:
        wait_until(lambda: self.ask(path)[0] == 200 or not self.runs(), "the server to be ready")
        assert self.runs(), self.log()

    def runs(self) -> bool:
        command = [self.engine, "inspect", "--format", "{{.State.Running}}", self.id]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "true"

    def log(self) -> str:
        done = subprocess.run([self.engine, "logs", self.id], capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def stop(self, seconds: int) -> int:
        subprocess.run([self.engine, "stop", "--time", str(seconds), self.id], capture_output=True, check=True)
        form = "{{.State.ExitCode}}"
        done = subprocess.run(
            [self.engine, "inspect", "--format", form, self.id], capture_output=True, text=True, check=True
        )
        return int(done.stdout)


@dataclass
class Project:
    """The sample, copied, with the stand-in for NVIDIA's image behind a mirror."""

    folder: Path
    registry: LiveRegistry

    def world(self) -> World:
        return World(find(self.folder), silent)

    def build(self, engine: str, recipe: str = "recipe.yaml") -> str:
        """Builds and pushes; the reference that a machine pulls."""
        path = self.folder / recipe
        content = path.read_text()
        path.write_text(content.replace("tags: [v1]", f"tags: [{engine}]"))
        delivered = flow.build(load(path), self.world(), flow.Wanted(engine, Policy.KEEP, "here"))
        name = load(path).spec.name
        path.write_text(content)
        return f"{self.registry.host}/models/{name}@{delivered.sealing.digest}"

    def image(self, reference: str, base: int = 2) -> tuple[ImageConfig, dict[str, tuple[Any, ...]]]:
        """The config, and every entry above the base: mode, owner, group, digest of the content."""
        name, _, digest = reference.partition("@")
        store = self.world().repository(self.world().settings.registry("here").repository(name.rpartition("/")[2]))
        document = store.resolve(digest)
        assert document is not None
        manifest = Manifest.read(document)
        config = ImageConfig.read(b"".join(store.fetch(manifest.config)))
        return config, entries_above(manifest, store, base)


@pytest.fixture(scope="session")
def triton_base_image(request: pytest.FixtureRequest, skopeo: str, live_registry: LiveRegistry) -> str:
    if os.geteuid() != 0 or program("debootstrap") is None:
        missing(request.config, "triton", "its stand-in needs debootstrap, and root")
    try:
        return triton_base.push(live_registry)
    except BaseImageError as error:
        missing(request.config, "triton", str(error))


@pytest.fixture
def project(live_registry: LiveRegistry, triton_base_image: str, tmp_path: Path) -> Project:
    folder = tmp_path / "project"
    shutil.copytree(SAMPLE, folder, ignore=shutil.ignore_patterns("*.lock", "Containerfile"))
    settings = {
        "mirrors": {"nvcr.io": live_registry.host},
        "registries": {"here": {"host": live_registry.host, "prefix": "models"}},
    }
    (folder / "modelpack.yaml").write_text(json.dumps(settings))
    return Project(folder, live_registry)


@pytest.fixture
def engines(podman_environment: Mapping[str, str], docker_environment: Mapping[str, str]) -> tuple[str, ...]:
    return ENGINES


@contextmanager
def served(engine: str, reference: str, *options: str, command: tuple[str, ...] = ()) -> Iterator[Server]:
    """Runs an image as a platform does: nothing may be written but /tmp, and the user is whoever it gives."""
    pull = ["--tls-verify=false"] if engine == "podman" else []
    fixed = ["--read-only", "--tmpfs=/tmp", "--network=none"]
    started = subprocess.run(
        [engine, "run", "--detach", *pull, *fixed, *options, reference, *command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert started.returncode == 0, started.stderr
    server = Server(engine, started.stdout.strip().splitlines()[-1])
    try:
        yield server
    finally:
        subprocess.run([engine, "rm", "--force", server.id], capture_output=True, check=False)


def runtime(engine: str) -> str:
    return "docker" if engine == "buildx" else "podman"


@pytest.mark.parametrize("engine", ENGINES)
def test_the_sample_is_served(project: Project, engines: tuple[str, ...], engine: str) -> None:
    """An ONNX model, a Python one and the ensemble of both must answer over HTTP, as any user, on a read-only disk."""
    reference = project.build(engine)
    with served(runtime(engine), reference, "--user=12345:0") as server:
        server.ready()
        assert server.ask("8000/v2/health/live")[0] == 200
        for model in ("circle", "verdict", "where"):
            assert server.ask(f"8000/v2/models/{model}/ready")[0] == 200
        assert server.infer("where") == ["inside", "outside"]
        inside, outside = server.infer("circle")
        assert inside > 0.5 > outside
        assert server.ask("8002/metrics")[0] == 200
        assert server.stop(30) == 0, server.log()


def test_all_engines_build_the_same_image(project: Project, engines: tuple[str, ...]) -> None:
    """It must not matter on which machine one builds."""
    seen = {engine: project.image(project.build(engine)) for engine in ENGINES}
    for config, entries in seen.values():
        assert config.process["Cmd"] == ["tritonserver", "--model-repository=/models"]
        assert config.process["Entrypoint"] == ["/opt/nvidia/nvidia_entrypoint.sh"]
        assert (config.process["User"], config.process["WorkingDir"]) == ("1000", "/opt/tritonserver")
        assert set(config.process["ExposedPorts"]) == {"8000/tcp", "8001/tcp", "8002/tcp"}
        assert "models/where/1" in entries, "the ensemble has no version"
    processes = [dict(config.process) for config, _ in seen.values()]
    for process in processes:
        process["Env"] = sorted(process["Env"])
    assert processes[0] == processes[1] == processes[2]
    files = [entries for _, entries in seen.values()]
    assert files[0] == files[1] == files[2]


@pytest.mark.parametrize("engine", ENGINES)
def test_oci_data_science_mounts_the_repository(
    project: Project, engines: tuple[str, ...], engine: str, tmp_path: Path
) -> None:
    """The platform mounts the artefact read-only and runs the image: it must serve what is in it."""
    reference = project.build(engine, "mounted.yaml")
    shutil.copytree(project.folder / "models", tmp_path / "artefact" / "model_repository")
    (tmp_path / "artefact/model_repository/where/1").mkdir()
    shutil.rmtree(tmp_path / "artefact/model_repository/verdict")
    shutil.rmtree(tmp_path / "artefact/model_repository/where")
    mount = f"--volume={tmp_path / 'artefact'}:/opt/ds/model/deployed_model:ro"
    with served(runtime(engine), reference, mount, "--env=CONTAINER_TYPE=TRITON") as server:
        server.ready()
        assert len(server.infer("circle/versions/1")) == 2


@pytest.mark.parametrize("engine", ("podman", "buildx"))
def test_packages_for_the_python_backend(project: Project, engines: tuple[str, ...], engine: str) -> None:
    """A Python model that imports a package which the base has not must find it, in a layer of its own."""
    recipe = project.folder / "recipe.yaml"
    recipe.write_text(recipe.read_text() + "python_packages: [text-unidecode==1.3]\n")
    program = project.folder / "models/verdict/1/model.py"
    program.write_text(f"import text_unidecode\n{program.read_text()}")
    reference = project.build(engine)
    _, entries = project.image(reference)
    assert "opt/modelpack/python/text_unidecode/__init__.py" in entries
    assert not [name for name in entries if name.endswith(".pyc") or "/bin/" in name]
    with served(runtime(engine), reference) as server:
        server.ready()
        assert server.ask("8000/v2/models/verdict/ready")[0] == 200


@pytest.mark.parametrize("engine", ["podman", "buildx"])
def test_backends_that_are_not_kept_are_gone(project: Project, engines: tuple[str, ...], engine: str) -> None:
    """A backend that nobody uses must not be pulled to every node; what the base says of its process must stay."""
    recipe = project.folder / "recipe.yaml"
    recipe.write_text(recipe.read_text() + "backends: [python]\nvariant: kserve\nmodels: {path: models, include: [verdict/*]}\nbaked: true\n")  # fmt: skip
    recipe.write_text(recipe.read_text().replace("models: ./models\n", "", 1))
    reference = project.build(engine)
    config, entries = project.image(reference, 0)
    kept = {name.split("/")[3] for name in entries if name.startswith("opt/tritonserver/backends/")}
    assert kept == {"python"}
    assert config.process["Entrypoint"] == ["/opt/nvidia/nvidia_entrypoint.sh"]
    assert "PATH=/opt/tritonserver/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" in config.process["Env"]
    with served(runtime(engine), reference) as server:
        server.ready("8080/v2/models/verdict/ready")


def test_what_init_writes_is_built_and_served(
    project: Project, podman_environment: Mapping[str, str], tmp_path: Path
) -> None:
    """The first project of somebody new must answer as it is."""
    for name, text in triton.starter("mine").items():
        path = tmp_path / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    shutil.copy(project.folder / "modelpack.yaml", tmp_path / "mine")
    reference = Project(tmp_path / "mine", project.registry).build("embedded")
    numbers = {"name": "numbers", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3.5]}
    with served("podman", reference) as server:
        server.ready()
        status, answer = server.ask("8000/v2/models/double/infer", {"inputs": [numbers]})
        assert (status, json.loads(answer)["outputs"][0]["data"]) == (200, [2, 4, 7]), answer
