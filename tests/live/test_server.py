"""Servers built by real engines and run as platforms run them: if these fail, a model answers nobody."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from buildkit import flow
from buildkit.events import Event
from buildkit.kinds import kind_named
from buildkit.oci.manifest import ImageConfig, Manifest
from buildkit.policy import Policy
from buildkit.recipe import load
from buildkit.settings import find
from buildkit.world import World
from tests.live.base_images import OFFICIAL_PYTHON, push_base
from tests.live.clean import unwanted
from tests.live.registry import LiveRegistry
from tests.waiting import wait_until

pytestmark = [pytest.mark.live, pytest.mark.engine]

SAMPLES = Path(__file__).parents[2] / "samples"
MOUNT = "/opt/ds/model/deployed_model"
SETOSA = {"instances": [[5.1, 3.5, 1.4, 0.2]]}
Entries = dict[str, tuple[int, int, int, str]]


@pytest.fixture(scope="session")
def python_base(live_registry: LiveRegistry, skopeo: str) -> str:
    """The stand-in for Docker's official Python in the registry."""
    return push_base(live_registry, OFFICIAL_PYTHON)


@pytest.fixture
def engine(request: pytest.FixtureRequest, podman_environment: object, docker_environment: object) -> str:
    return str(request.param)


@dataclass
class Built:
    """An image in the registry, and in the store of the engine that built it."""

    engine: str
    name: str
    manifest: Manifest
    config: ImageConfig
    entries: Entries

    @property
    def program(self) -> str:
        return "docker" if self.engine == "buildx" else "podman"

    @property
    def reference(self) -> str:
        return f"{self.name}:v1" if self.engine == "buildx" else f"localhost/{self.name}:v1"


@dataclass
class Project:
    """A folder with a recipe; its base comes through a mirror, its image goes to the real registry."""

    folder: Path
    registry: LiveRegistry
    events: list[Event]

    def world(self) -> World:
        settings = {
            "mirrors": {"docker.io": self.registry.host},
            "registries": {"here": {"host": self.registry.host, "prefix": "servers"}},
        }
        (self.folder / "modelpack.yaml").write_text(json.dumps(settings))
        return World(find(self.folder), self.events.append)

    def write(self, files: Mapping[str, str], **recipe: object) -> None:
        for name, text in files.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(text)
        lines = {"kind": "server", "tags": ["v1"], "base": "docker.io/library/python:3.11-slim", **recipe}
        (self.folder / "recipe.yaml").write_text(json.dumps(lines))

    def build(self, engine: str, recipe: str = "recipe.yaml", base_layers: int = 1) -> Built:
        world = self.world()
        loaded = load(self.folder / recipe)
        flow.build(loaded, world, flow.Wanted(engine, Policy.KEEP, "here"))
        store = world.repository(world.settings.registry("here").repository(loaded.spec.name))
        document = store.resolve("v1")
        assert document is not None
        manifest = Manifest.read(document)
        config = ImageConfig.read(b"".join(store.fetch(manifest.config)))
        entries: Entries = {}
        for layer in manifest.layers[base_layers:]:
            with tarfile.open(fileobj=io.BytesIO(b"".join(store.fetch(layer)))) as tar:
                for member in tar:
                    content = tar.extractfile(member).read() if member.isfile() else member.linkname.encode()  # type: ignore[union-attr]
                    digest = hashlib.sha256(content).hexdigest()
                    entries[member.name.removeprefix("./").rstrip("/")] = (
                        member.mode & 0o7777,
                        member.uid,
                        member.gid,
                        digest,
                    )
        return Built(engine, loaded.spec.name, manifest, config, entries)


@pytest.fixture
def project(live_registry: LiveRegistry, python_base: str, tmp_path: Path) -> Callable[[Path | None], Project]:
    def made(sample: Path | None = None) -> Project:
        folder = tmp_path / "a project"
        if sample:
            shutil.copytree(sample, folder)
        else:
            folder.mkdir()
        return Project(folder, live_registry, [])

    return made


@dataclass
class Running:
    """A container without a network: it is asked from inside, as its platform's health check asks it."""

    program: str
    name: str

    def exec(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([self.program, "exec", self.name, *command], capture_output=True, text=True, check=False)

    def ask(self, path: str, body: object = None, port: int = 8080) -> tuple[int, str]:
        """The status and the body; redirects are not followed."""
        data = (
            [] if body is None else ["-X", "POST", "-H", "Content-Type: application/json", "--data", json.dumps(body)]
        )
        done = self.exec("curl", "-sS", "-w", "\n%{http_code}", *data, f"http://localhost:{port}{path}")
        text, _, status = done.stdout.rpartition("\n")
        return (int(status) if done.returncode == 0 else 0), text

    def is_healthy(self, path: str = "/health", port: int = 8080) -> bool:
        return self.exec("sh", "-c", f"curl -f http://localhost:{port}{path} || exit 1").returncode == 0

    @property
    def runs(self) -> bool:
        shown = ["inspect", "--format", "{{.State.Running}}", self.name]
        return subprocess.run([self.program, *shown], capture_output=True, text=True, check=False).stdout == "true\n"

    def logs(self) -> str:
        done = subprocess.run([self.program, "logs", self.name], capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def ended(self) -> int:
        """The code it ends with; a container that never ends fails."""
        done = subprocess.run([self.program, "wait", self.name], capture_output=True, text=True, check=True, timeout=60)
        return int(done.stdout)

    def stop(self, seconds: int = 25) -> int:
        subprocess.run([self.program, "stop", "-t", str(seconds), self.name], capture_output=True, check=True)
        return self.ended()


@pytest.fixture
def run(request: pytest.FixtureRequest) -> Iterator[Callable[..., Running]]:
    """Starts an image as a platform does: nothing may be written but /tmp, and the user is nobody known."""
    started: list[Running] = []

    def start(built: Built, *arguments: str, options: tuple[str, ...] = (), user: str = "123456:0") -> Running:
        running = Running(built.program, f"modelpack-{os.getpid()}-{len(started)}-{built.engine}")
        options = ("--read-only", "--tmpfs", "/tmp", "--network=none", f"--user={user}", *options)
        if built.program == "podman":
            options = ("--read-only-tmpfs=false", *options)
        command = [built.program, "run", "-d", f"--name={running.name}", *options, built.reference, *arguments]
        subprocess.run(command, capture_output=True, text=True, check=True)
        started.append(running)
        return running

    yield start
    for running in started:
        subprocess.run([running.program, "rm", "-f", running.name], capture_output=True, check=False)


def healthy(running: Running, path: str = "/health", port: int = 8080) -> None:
    wait_until(lambda: running.is_healthy(path, port) or not running.runs, "a healthy server")
    assert running.runs, running.logs()


ENGINES = pytest.mark.parametrize("engine", ["podman", "buildx"], indirect=True)


@ENGINES
def test_the_classifier_runs_as_oci_data_science_runs_it(
    project: Callable[[Path], Project], run: Callable[..., Running], engine: str
) -> None:
    """The sample is what a user begins with: mounted artefact, curl as health check, a random user, no redirect, SIGTERM."""
    place = project(SAMPLES / "classifier")
    built = place.build(engine)
    assert not {name for name in built.entries if name.startswith("app/")} - {"app/app.py"}
    assert not any("joblib" in name and name.startswith(("models", "opt/ds")) for name in built.entries)
    running = run(built, options=("-v", f"{place.folder / 'artifact'}:{MOUNT}:ro"))
    healthy(running)
    assert running.ask("/predict", SETOSA) == (200, '{"predictions":["setosa"]}')
    assert running.ask("/predict/", SETOSA)[0] == 404
    assert running.stop() in (0, 143)
    baked = run(place.build(engine, "baked.yaml"))
    healthy(baked)
    assert baked.ask("/predict", SETOSA) == (200, '{"predictions":["setosa"]}')


@ENGINES
def test_a_server_that_knows_only_its_own_endpoints(
    project: Callable[[Path], Project], run: Callable[..., Running], engine: str
) -> None:
    """Its endpoints cannot be changed, and the platform's cannot either: nginx maps them, and maps nothing else."""
    place = project(SAMPLES / "completions")
    built = place.build(engine)
    running = run(built)
    healthy(running)
    assert json.loads(running.ask("/predict", {"prompt": "a b"})[1])["choices"][0]["text"] == "b a"
    assert json.loads(running.ask("/invocations?x=1", {"prompt": "a b"})[1])["choices"][0]["text"] == "b a"
    assert running.ask("/v1/models")[0] == running.ask("/ping")[0] == running.ask("/ready")[0] == 200
    assert {running.ask(path)[0] for path in ("/predict/", "/v1", "/", "/health/", "//health")} == {404}
    streamed = running.ask("/predict", {"prompt": "a b c", "stream": True})[1]
    assert [line for line in streamed.splitlines() if line][-1] == "data: [DONE]" and streamed.count("data:") == 4
    running.exec("sh", "-c", f"yes x | head -c 3000000 | tr '\\n' ' ' > /tmp/words; {LARGE_BODY}")
    sent = running.exec(
        "sh", "-c", "curl -s -o /dev/null -w '%{http_code}' --data-binary @/tmp/body localhost:8080/predict"
    )
    assert sent.stdout == "200", sent
    assert '"POST /predict HTTP/1.1" 200' in running.logs(), "requests are logged nowhere"
    assert running.stop() in (0, 143)


LARGE_BODY = """{ printf '{"prompt": "'; cat /tmp/words; printf '"}'; } > /tmp/body"""


@ENGINES
def test_a_container_ends_when_either_of_its_processes_ends(
    project: Callable[[Path], Project], run: Callable[..., Running], engine: str
) -> None:
    """A container whose server or proxy is dead is never restarted, and answers nobody."""
    built = project(SAMPLES / "completions").build(engine)
    for ending, words, code in (("server", "server.py", 137), ("proxy", "nginx.conf", 137)):
        running = run(built)
        healthy(running)
        script = f"for p in /proc/[0-9]*; do case $(tr '\\0' ' ' < $p/cmdline) in *init*) ;; *{words}*) echo ${{p#/proc/}};; esac; done"
        found = running.exec("sh", "-c", script).stdout.split()
        assert found, ending
        running.exec("sh", "-c", f"kill -KILL {found[0]}")
        assert running.ended() == code, (ending, running.logs())


SEED_API = """
import json, os, logging
from joblib import load
from flask import Flask, request
MODEL_DIR = os.environ["MODEL_DIR"]
MODEL_PATH_LDA = os.path.join(MODEL_DIR, os.environ["MODEL_FILE_LDA"])
inference_lda = load(MODEL_PATH_LDA)
app = Flask(__name__)
@app.route("/health")
def health():
    return {"status": "success"}
@app.route("/predict", methods=["POST"])
def prediction():
    line = json.loads(request.get_data().decode("utf-8"))["line"]
    return {"prediction LDA": int(inference_lda[int(line)])}
if __name__ == "__main__":
    app.run(debug=True, host="0.0.0.0", port=5000)
"""


@ENGINES
def test_the_flask_example_of_oci_data_science(
    project: Callable[[], Project], run: Callable[..., Running], engine: str, tmp_path: Path
) -> None:
    """The platform's own example is not packaged with no more than a recipe: its program comes with the mounted artefact,
    its Flask ends on no signal by itself, and its requirements have no hashes.
    """
    joblib = pytest.importorskip("joblib", reason="writes the artefact; the group 'test' brings it")
    place = project()
    place.write(
        {"api.py": SEED_API, "requirements.txt": "flask\nflask-restful\njoblib\n"},
        name="flask-app",
        requirements="requirements.txt",
        env={"WORK_DIRECTORY": MOUNT, "MODEL_DIR": f"{MOUNT}/models", "MODEL_FILE_LDA": "clf_lda.joblib"},
        command=["python", f"{MOUNT}/api.py"],
        port=5000,
    )
    (place.folder / "models").mkdir()
    joblib.dump([0] * 12 + [7], place.folder / "models" / "clf_lda.joblib")
    built = place.build(engine)
    assert not any(name.startswith("app/") for name in built.entries), "the artefact is in the image"
    running = run(built, options=("-v", f"{place.folder}:{MOUNT}:ro"))
    healthy(running, port=5000)
    assert running.ask("/predict", {"line": "12"}, port=5000) == (200, '{\n  "prediction LDA": 7\n}\n')
    assert running.stop() in (0, 143)


def test_two_engines_the_same_files_and_config(
    project: Callable[[Path], Project], podman_environment: object, docker_environment: object
) -> None:
    """It matters who built the image that a platform runs."""
    place = project(SAMPLES / "completions")
    first, second = place.build("podman"), place.build("buildx")
    assert dict(first.config.process) == dict(second.config.process)
    left, right = written(first), written(second)
    assert {name: entry[:3] for name, entry in left.items()} == {name: entry[:3] for name, entry in right.items()}
    assert {name for name in left if left[name] != right[name]} <= CLOCKED
    assert not [name for name in left if name.startswith(("var/lib/apt/lists/", "var/log/apt", "root/", "tmp/."))]


CLOCKED = {"etc/ld.so.cache", "var/cache/ldconfig/aux-cache"}
"""What a program of the base writes with a clock in it."""


def written(built: Built) -> Entries:
    """Files and links: a directory above them is in an engine's layer where that engine touched it."""
    entries = {name: entry for name, entry in built.entries.items() if entry[3] != EMPTY or entry[0] & 0o111 == 0}
    # A file that an engine marks as deleted has the mode of its mark: each takes another.
    return {name: (0, 0, 0, "deleted") if "/.wh." in name else entry for name, entry in entries.items()}


EMPTY = hashlib.sha256(b"").hexdigest()


def test_a_ready_base_needs_no_engine(
    project: Callable[[Path], Project],
    run: Callable[..., Running],
    podman_environment: object,
    docker_environment: object,
) -> None:
    """Code and model are laid onto a server that is ready, and the image is another one than the engines build."""
    place = project(SAMPLES / "completions")
    place.write({}, name="ready", command=["python3", "-V"], packages=["curl"])
    base = place.build("podman")
    layers = len(base.manifest.layers)
    (place.folder / "weights").mkdir()
    (place.folder / "weights" / "w.json").write_text("{}")
    reference = f"{place.registry.host}/servers/ready:v1"
    written_recipe = {"name": "laid", "base": reference, "code": ".", "model": "./weights", "curl": "base"}
    place.write({}, **written_recipe, command=["python3", "server.py", "--port", "8080"], serve=True)
    images = {engine: place.build(engine, base_layers=layers) for engine in ("embedded", "podman", "buildx")}
    for built in images.values():
        assert dict(built.config.process) == dict(images["embedded"].config.process), built.engine
        assert written(built) == written(images["embedded"]), built.engine
    assert {name for name in images["embedded"].entries if name.startswith(("app/", "models/"))} == {
        "app/server.py",
        "models/w.json",
    }
    running = run(images["buildx"], "serve")
    healthy(running, "/v1/models")
    assert running.stop() in (0, 143)


@ENGINES
def test_a_lock_of_uv_and_a_change_of_code(
    project: Callable[[], Project], run: Callable[..., Running], engine: str
) -> None:
    """Other versions run than were locked, uv stays in the image, or a change of the code installs everything again."""
    uv = shutil.which("uv") or pytest.importorskip("uv", reason="locks the project").find_uv_bin()
    place = project()
    program = (
        "import itsdangerous, http.server as h\n"
        "class A(h.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200); self.end_headers(); self.wfile.write(itsdangerous.__version__.encode() + b'NOTE')\n"
        "h.HTTPServer(('0.0.0.0', 8080), A).serve_forever()\n"
    )
    texts = {
        "src/main.py": program,
        "pyproject.toml": '[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["itsdangerous==2.1.2"]\n',
    }
    place.write(texts, name="locked", requirements="uv.lock", code="src", command=["python3", "main.py"])
    subprocess.run([uv, "lock", "--quiet"], cwd=place.folder, check=True, capture_output=True)
    first = place.build(engine)
    assert not [name for name in first.entries if "/uv" in name or name.startswith(("uv/", "lock/"))]
    (place.folder / "src" / "main.py").write_text(program.replace("NOTE", "!"))
    second = place.build(engine)
    same = [layer.digest for layer in first.manifest.layers if layer in second.manifest.layers]
    assert len(same) == len(first.manifest.layers) - 1, "more than the code's layer is another"
    running = run(second)
    healthy(running)
    assert running.ask("/health") == (200, "2.1.2!")
    assert running.stop() in (0, 143)


def test_a_new_project_builds_and_answers(
    project: Callable[[], Project],
    run: Callable[..., Running],
    podman_environment: object,
    docker_environment: object,
) -> None:
    """What 'modelpack init server' writes does not run, or another engine installs other bytes, bytecode included."""
    place = project()
    for name, text in kind_named("server").starter("first").items():
        (place.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (place.folder / name).write_text(text.replace("tags: [latest]", "tags: [v1]"))
    images = {engine: place.build(engine) for engine in ("podman", "buildx")}
    left, right = written(images["podman"]), written(images["buildx"])
    assert {name for name in left.keys() | right.keys() if left.get(name) != right.get(name)} <= CLOCKED
    assert any(name.endswith(".pyc") for name in left), "the packages are compiled at every start"
    assert not unwanted(left)
    for built in images.values():
        assert not {"lock", ".wh.lock", "uv", "tmp/.begin"} & set(built.entries), built.engine
    running = run(images["podman"])
    healthy(running)
    assert running.ask("/predict", {"instances": [[1, 2]]}) == (200, '{"predictions":[5.5]}')
    # An orphan becomes a child of the first process; it is there, by its name alone, until its end is taken.
    running.exec("sh", "-c", "(sleep 0.2 &) &")
    left_over = "grep -l '^sleep$' /proc/[0-9]*/comm"
    wait_until(lambda: not running.exec("sh", "-c", left_over).stdout, "no process that ended and is still there")
    assert running.stop() in (0, 143)
    again = place.build("podman")
    assert again.manifest.document.digest == images["podman"].manifest.document.digest
