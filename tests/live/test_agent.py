"""The kind agent as its platform runs it: if these fail, a hosted deployment does not start, or engines build two images."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from buildkit import flow
from buildkit.delivery.output import Output
from buildkit.delivery.push import Delivered
from buildkit.events import Event, Said
from buildkit.oci.manifest import ImageConfig, Manifest
from buildkit.policy import Policy
from buildkit.recipe import load
from buildkit.settings import find
from buildkit.world import World
from tests.live.base_images import CACHE
from tests.live.prune import prune
from tests.live.registry import LiveRegistry
from tests.recipes.test_agent import Project, index, locked

__all__ = ["index"]
pytestmark = [pytest.mark.live, pytest.mark.engine]

SAMPLE = Path(__file__).resolve().parents[2] / "samples" / "agent"
ENGINES = ("embedded", "podman", "buildx")
OURS = ("app/", "opt/packages", "srv/agent")
"""Directories above them are the base's; whether an engine writes those once more is its own affair."""


@dataclass
class Agent:
    """A copy of a project with a real registry; the base comes through a mirror."""

    folder: Path
    registry: LiveRegistry
    events: list[Event] = field(default_factory=list)

    def recipe(self, **changes: Any) -> Path:
        path = self.folder / "recipe.yaml"
        written = {"kind": "agent", "name": "agent", "python": "3.11", "entrypoint": "agent:app", **changes}
        path.write_text(json.dumps(written))
        settings = {
            "mirrors": {"docker.io": self.registry.host},
            "registries": {"here": {"host": self.registry.host, "prefix": "agents"}},
        }
        (self.folder / "modelpack.yaml").write_text(json.dumps(settings))
        return path

    def world(self) -> World:
        return World(find(self.folder), self.events.append)

    def build(self, engine: str, tag: str, policy: Policy = Policy.KEEP, **changes: Any) -> Delivered:
        recipe = load(self.recipe(tags=[tag], **changes))
        return flow.build(recipe, self.world(), flow.Wanted(engine, policy, "here"))

    def reference(self, tag: str) -> str:
        return f"{self.registry.host}/agents/agent:{tag}"

    def image(self, tag: str) -> tuple[Manifest, ImageConfig, dict[str, tuple[int, int, int, float, str]]]:
        """The manifest, the config, and every entry of ours above the base: mode, owner, time, digest of the content."""
        store = self.world().repository(self.world().settings.registry("here").repository("agent"))
        document = store.resolve(tag)
        assert document is not None
        manifest = Manifest.read(document)
        config = ImageConfig.read(b"".join(store.fetch(manifest.config)))
        entries = {}
        for layer in manifest.layers[1:]:
            raw = b"".join(store.fetch(layer))
            with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
                for member in tar:
                    if f"{member.name}/".startswith(OURS):
                        content = tar.extractfile(member).read() if member.isfile() else b""  # type: ignore[union-attr]
                        digest = hashlib.sha256(content).hexdigest() if member.isfile() else "directory"
                        time = member.mtime if member.isfile() else 0
                        entries[member.name.rstrip("/")] = (member.mode & 0o7777, member.uid, member.gid, time, digest)
        return manifest, config, entries


@pytest.fixture
def agent(
    live_registry: LiveRegistry, bases: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Agent:
    monkeypatch.setenv("UV_CACHE_DIR", str(CACHE / "uv"))  # what one test downloaded, the next one need not
    folder = tmp_path / "an agent"
    shutil.copytree(SAMPLE, folder)
    return Agent(folder, live_registry)


@pytest.fixture
def engines(podman_environment: Mapping[str, str], docker_environment: Mapping[str, str]) -> tuple[str, ...]:
    return ENGINES


@dataclass
class Answers:
    """What a running container said to the questions of its platform."""

    health: tuple[Any, ...]
    ready: tuple[Any, ...]
    chat: tuple[Any, ...]
    stream: tuple[Any, ...]
    exit_code: int
    log: str


ASK = """
import json, time, urllib.error, urllib.request
def ask(path, body=None, accept="application/json", tries=1, wanted="nothing of this"):
    for number in range(tries):
        if number: time.sleep(0.5)
        headers = {"Accept": accept, "Content-Type": "application/json"}
        request = urllib.request.Request("http://127.0.0.1:8080" + path, body and json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                found = answer.status, answer.headers["Content-Type"], answer.read().decode()
        except urllib.error.HTTPError as error:
            found = error.code, error.headers["Content-Type"], error.read().decode()
        except OSError as error:
            found = 0, "", str(error)
        if found[0] == 200 or found[0] and wanted in found[2]: break
    return found
body = BODY
health = ask("/health", tries=120)
ready = ask("/ready", tries=120, wanted=WANTED)
print(json.dumps([health, ready, ask("/chat", body), ask("/chat", body, "text/event-stream")]))
"""
QUESTION = {"message": "how are you", "history": [{"role": "user", "content": "hello"}]}


def ran(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def answers(engine: str, reference: str, *options: str, body: Any = QUESTION, ready: str = "ready") -> Answers:
    """Runs an image as its platform does: a random user, a root that cannot be written, /tmp alone, no network at all."""
    name = f"agent-{uuid.uuid4().hex[:12]}"
    command = [
        engine,
        "run",
        "--detach",
        "--name",
        name,
        "--read-only",
        "--tmpfs=/tmp",
        "--user=54321:0",
        "--network=none",
    ]
    command += ["--tls-verify=false", "--read-only-tmpfs=false"] if engine == "podman" else []
    ran(*command, *options, reference)
    try:
        program = ASK.replace("BODY", repr(body)).replace("WANTED", repr(ready))
        done = subprocess.run(
            [engine, "exec", name, "python3", "-c", program], capture_output=True, text=True, check=False
        )
        ran(engine, "stop", "--time=20", name)
        logs = subprocess.run([engine, "logs", name], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + logs.stdout + logs.stderr
        code = int(ran(engine, "inspect", "--format={{.State.ExitCode}}", name))
        health, prepared, chat, stream = (tuple(one) for one in json.loads(done.stdout))
        return Answers(health, prepared, chat, stream, code, logs.stdout + logs.stderr)
    finally:
        subprocess.run([engine, "rm", "--force", name], capture_output=True, check=False)


def check_sample(found: Answers) -> None:
    assert found.health[:2] == (200, "application/json"), found
    assert found.ready[:2] == (200, "application/json"), found
    assert found.chat[:2] == (200, "application/json"), found
    assert json.loads(found.chat[2]) == {"reply": "[mock] turn 2: how are you"}
    assert found.stream[0] == 200
    assert found.stream[1].startswith("text/event-stream")
    events = found.stream[2].split("\n\n")
    assert len([one for one in events if one.startswith("event: token")]) > 1, events
    assert events[-2].startswith("event: done")
    assert found.exit_code in (0, 143), f"it did not end on SIGTERM: {found.exit_code}"
    assert "Traceback" not in found.log


def test_all_engines_build_the_same_image_and_it_serves(agent: Agent, engines: tuple[str, ...]) -> None:
    """The same files, bytes, modes, owners, times and config, whoever builds; and each of them answers its platform."""
    (agent.folder / "rules.json").write_text("{}")
    seen = {}
    for engine in engines:
        delivered = agent.build(
            engine, engine, extra_files={"/srv/agent/rules.json": "rules.json"}, env={"NOTE": "a $HOME b"}
        )
        manifest, config, entries = agent.image(engine)
        assert manifest.document.digest == delivered.sealing.digest
        assert str(config.platform) == "linux/amd64"
        assert config.process["User"] == "1001"
        assert "Volumes" not in config.process
        assert not [name for name in entries if name.endswith(("/uv", ".whl")) or "/.git" in name or "uv.lock" in name]
        assert any(name.startswith("opt/packages/fastapi/__pycache__/") for name in entries), f"{engine}: no bytecode"
        seen[engine] = (entries, dict(config.process), dict(manifest.annotations))
    for engine in engines[1:]:
        names = seen[engine][0].keys() ^ seen["embedded"][0].keys()
        assert not names, f"{engine}: {sorted(names)[:10]}"
        differing = [name for name, entry in seen[engine][0].items() if entry != seen["embedded"][0][name]]
        assert not differing, f"{engine}: {[(n, seen[engine][0][n], seen['embedded'][0][n]) for n in differing[:5]]}"
        assert seen[engine][1:] == seen["embedded"][1:]
        check_sample(answers("docker" if engine == "buildx" else "podman", agent.reference(engine)))
    check_sample(answers("podman", agent.reference("embedded")))


def test_it_is_not_ready_before_it_can_answer(agent: Agent, podman_environment: Mapping[str, str]) -> None:
    """A platform that sends traffic to an agent without a model loses questions."""
    agent.build("embedded", "unready")
    found = answers("podman", agent.reference("unready"), "--env=OPENAI_API_KEY=none", ready="OPENAI_MODEL")
    assert found.health[0] == 200
    assert found.ready[0] == 503
    assert found.chat[0] == 503
    assert "OPENAI_MODEL" in found.ready[2]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_change_of_code_leaves_the_packages_alone(agent: Agent, engines: tuple[str, ...], engine: str) -> None:
    """Whoever changes a line must not wait for, or send, a hundred megabytes again."""
    agent.build(engine, "before")
    before = [layer.digest for layer in agent.image("before")[0].layers]
    (agent.folder / "agent.py").write_text((agent.folder / "agent.py").read_text() + "\n# changed\n")
    agent.events.clear()
    agent.build(engine, "after")
    after = [layer.digest for layer in agent.image("after")[0].layers]
    assert before[:2] == after[:2]
    assert before != after
    told = [event.text for event in agent.events if isinstance(event, Said)]
    assert not [text for text in told if text.startswith("making packages")]


@pytest.mark.parametrize("engine", ["podman", "buildx"])
def test_an_engine_without_its_cache_gives_the_digest_again(
    agent: Agent, engines: tuple[str, ...], engine: str
) -> None:
    """A scheduled run on a fresh machine moves the tag: the base's /etc, /opt and /srv carry the time of the build."""
    files = {"/etc/agent/rules.json": "agent.py", "/srv/agent/rules.json": "agent.py"}
    first = agent.build(engine, f"again-{engine}", extra_files=files)
    prune(engine)
    again = agent.build(engine, f"again-{engine}", Policy.LOCKED, extra_files=files)
    assert again.sealing.digest == first.sealing.digest


EXAMPLE = """
from contextlib import asynccontextmanager
import os
from dotenv import load_dotenv
from fastapi import FastAPI
from langchain_core.messages import HumanMessage
from langgraph.graph import MessagesState, StateGraph

load_dotenv()
graph = None

@asynccontextmanager
async def lifespan(app):
    global graph
    steps = StateGraph(MessagesState)
    steps.add_node("echo", lambda said: {"messages": [("ai", "heard: " + said["messages"][-1].content)]})
    steps.set_entry_point("echo")
    graph = steps.compile()
    yield

app = FastAPI(lifespan=lifespan)

@app.post("/chat")
async def chat(body: dict):
    said = await graph.ainvoke({"messages": [HumanMessage(content=body["message"])]})
    return {"reply": said["messages"][-1].content, "thread_id": body["thread_id"]}

@app.get("/health")
async def health():
    return {"status": "Healthy"}

@app.get("/ready")
async def ready():
    return {"status": "Ready"}
"""
NEEDS = ["fastapi", "langchain-core", "langgraph", "python-dotenv", "uvicorn"]


def test_an_agent_that_never_starts_a_server_needs_no_more_than_a_recipe(
    agent: Agent, podman_environment: Mapping[str, str]
) -> None:
    """The platform's own example ends with its ``app``: as it is told to be started there, its container would exit."""
    for path in agent.folder.iterdir():
        path.unlink()
    (agent.folder / "agent_example.py").write_text(EXAMPLE)
    (agent.folder / "__init__.py").touch()
    (agent.folder / "Dockerfile").write_text('FROM python:3.11-slim\nCMD ["uv", "run", "python", "agent_example.py"]\n')
    project = f'[project]\nname = "my-agent"\nversion = "0.1.0"\nrequires-python = ">=3.11"\ndependencies = {NEEDS}\n'
    (agent.folder / "pyproject.toml").write_text(project)
    ran(sys.executable, "-m", "uv", "lock", "--quiet", f"--project={agent.folder}")
    agent.build("embedded", "example", entrypoint="agent_example:app")
    found = answers("podman", agent.reference("example"), body={"message": "you", "thread_id": "7"})
    assert found.health[0] == found.ready[0] == 200
    assert json.loads(found.chat[2]) == {"reply": "heard: you", "thread_id": "7"}
    assert found.exit_code in (0, 143)


@pytest.mark.parametrize("engine", ["podman", "buildx"])
def test_debian_packages_are_installed_where_something_runs(
    agent: Agent, engines: tuple[str, ...], engine: str
) -> None:
    """An agent that calls a program needs it in its image, and no list of packages beside it."""
    agent.build(engine, f"debian-{engine}", packages=["sqlite3"])
    command = ["podman", "run", "--rm", "--tls-verify=false", "--network=none", agent.reference(f"debian-{engine}")]
    assert ran(*command, "sh", "-c", "sqlite3 :memory: 'select 6*7'; ls /var/lib/apt/lists") == "42\n"


def test_the_rendered_containerfile_builds_by_hand(agent: Agent, podman_environment: Mapping[str, str]) -> None:
    """Who does not want modelpack in a pipeline takes its Containerfile and the archives beside it."""
    folder = agent.folder.parent / "rendered"
    file = flow.render_into(load(agent.recipe()), agent.world(), folder)
    file.write_text(file.read_text().replace("docker.io/", f"{agent.registry.host}/"))
    options = ["--tls-verify=false", "--network=host", "--format=docker", f"--file={file}", "--tag=by-hand"]
    ran("podman", "build", *options, str(folder))
    check_sample(answers("podman", "localhost/by-hand"))


def test_it_passes_the_rules_of_its_platform(agent: Agent, podman_environment: Mapping[str, str]) -> None:
    """What ``init`` writes must pass what ``check`` and ``verify`` ask, or nobody believes either."""
    layout = agent.folder.parent / "layout"
    recipe = load(agent.recipe(tags=["v1"]))
    flow.build(recipe, agent.world(), flow.Wanted("embedded", Policy.KEEP, None, Output("oci", layout)))
    modelpack = [sys.executable, "-m", "buildkit"]
    checked = subprocess.run(
        [*modelpack, "check", str(recipe.path), "--target=oci-genai", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    sample = '--sample=POST:/chat={"message": "hello"}'
    command = [*modelpack, "verify", f"oci:{layout}", "--target=oci-genai", "--engine=podman", sample]
    verified = subprocess.run(command, capture_output=True, text=True, check=False, cwd=agent.folder)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    for rule in ("OGH-02", "OGH-03", "OGH-04", "OGH-05", "OGH-07", "OGH-13"):
        assert not [line for line in verified.stdout.splitlines() if rule in line and "error" in line], verified.stdout


@pytest.mark.parametrize("engine", ["podman", "buildx"])
def test_a_private_index_is_asked_with_its_secret(
    agent: Agent, index: tuple[str, str], engines: tuple[str, ...], engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The password must reach uv in the build, and nothing that the image or the engine keeps."""
    host, _, name = index[0].rpartition("/")
    wheel = {"url": f"{host}/private/{name}", "hash": f"sha256:{index[1]}"}
    project = Project(agent.folder)
    project.lock({**locked("native"), "wheels": [wheel]}, needs=["native"])
    text = (agent.folder / "pyproject.toml").read_text()
    project.write("pyproject.toml", f'{text}[[tool.uv.index]]\nname = "mine"\nurl = "{host}/private/simple"\n')
    monkeypatch.setenv("MY_PASSWORD", "hidden-word")
    project.write("my.user", "me\n")
    secrets = {"uv_index_mine_password": {"env": "MY_PASSWORD"}, "uv_index_mine_username": {"file": "my.user"}}
    tag = f"private-{engine}"
    agent.build(engine, tag, entrypoint=["native"], secrets=secrets)
    manifest, config, entries = agent.image(tag)
    assert "opt/packages/native/__init__.py" in entries
    assert "app/my.user" not in entries
    told = json.dumps([dict(config.content), dict(manifest.annotations)]) + str(agent.events)
    assert "hidden-word" not in told + (agent.folder / "recipe.lock").read_text()
