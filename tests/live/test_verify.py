"""Images built by hand, run by real engines as their platforms run them: a right one, and one broken in each known way."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from buildkit import flow
from buildkit.checks.rule import NOTE
from buildkit.delivery.output import Output
from buildkit.events import silent
from buildkit.policy import Policy
from buildkit.probe.command_line import engine_named
from buildkit.probe.containers import Engine
from buildkit.probe.session import PREFIX, Patience
from buildkit.recipe import load
from buildkit.settings import find
from buildkit.verifying.report import Report
from buildkit.verifying.verify import Chosen, verify
from buildkit.world import World
from tests.live.base_images import PYTHON_BASE, SHELL_BASE
from tests.live.registry import LiveRegistry
from tests.probe import served
from tests.waiting import wait_until

pytestmark = [pytest.mark.live, pytest.mark.engine]

BOTH = pytest.mark.parametrize("builder", ["podman", "docker"], indirect=True)
"""For what the engines do in their own ways. What a server answers is the same in both, and asked in podman alone."""
CURL = """#!/usr/bin/python3
import sys, urllib.request
urllib.request.urlopen(sys.argv[-1], timeout=3)
"""
SERVER = """FROM {base}
USER 0
COPY curl /usr/local/bin/curl
COPY served.py /app/served.py
RUN chmod 0755 /usr/local/bin/curl /app && chmod 0644 /app/served.py && ln -s /usr/bin/python3 /usr/local/bin/server
USER 1001
ENV FAULT="{fault}"
ENTRYPOINT []
CMD ["python3", "/app/served.py"]
"""
SERVE = 'USER 0\nRUN printf "#!/bin/sh\\nexec python3 /app/served.py\\n" > /usr/local/bin/serve && chmod 0755 /usr/local/bin/serve'
MODELCAR = """FROM {base}
RUN mkdir -p /models/1 && echo weights > /models/1/model.onnx && echo '{{}}' > /models/config.json && {modes}
USER 1001
{more}
"""
RIGHT_MODES = "chown -R 1001:0 /models && chmod -R a=rX /models"


@dataclass
class Builder:
    """Builds images by hand in one engine."""

    engine: Engine
    bases: Mapping[str, str]
    folder: Path
    built: dict[tuple[str, str], str]

    def build(self, containerfile: str) -> str:
        """The id of an image of that Containerfile: the same one for every test that asks for it."""
        self.folder.mkdir(exist_ok=True)
        key = (self.engine.name, containerfile)
        if key not in self.built:
            self.built[key] = self._build(containerfile)
        return self.built[key]

    def _build(self, containerfile: str) -> str:
        shutil.copy(Path(served.__file__), self.folder)
        (self.folder / "curl").write_text(CURL)
        (self.folder / "Containerfile").write_text(containerfile)
        flags = ["--provenance=false", "--load"] if self.engine.name == "docker" else []
        verb = ["buildx", "build"] if self.engine.name == "docker" else ["build", "--format", "docker"]
        command = [self.engine.name, *verb, "--quiet", *flags, "--file", str(self.folder / "Containerfile")]
        done = subprocess.run([*command, str(self.folder)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()[-1]

    def server(self, fault: str = "", more: str = "") -> str:
        """A server that breaks one rule, or none."""
        return self.build(SERVER.format(base=self.bases[PYTHON_BASE], fault=fault) + more)

    def modelcar(self, modes: str = RIGHT_MODES, more: str = "") -> str:
        """A model on a base with a shell."""
        return self.build(MODELCAR.format(base=self.bases[SHELL_BASE], modes=modes, more=more))

    def containers(self) -> list[str]:
        """The names of all containers that probes started, in any state."""
        command = [self.engine.name, "ps", "--all", "--format", "{{.Names}}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return [name for name in done.stdout.split() if name.startswith(("modelpack-", PREFIX))]


@pytest.fixture(scope="module")
def built() -> dict[tuple[str, str], str]:
    """The images that this module's tests have built so far."""
    return {}


@pytest.fixture
def builder(
    request: pytest.FixtureRequest, bases: Mapping[str, str], tmp_path: Path, built: dict[tuple[str, str], str]
) -> Iterator[Builder]:
    name = getattr(request, "param", "podman")
    request.getfixturevalue(f"{name}_environment")
    builder = Builder(engine_named(name), bases, tmp_path / "context", built)
    yield builder
    assert builder.containers() == [], "a container stayed behind"


def verified(builder: Builder, image: str, target: str, **changes: Any) -> Report:
    choice = Chosen((target,), None, changes, patience=HURRIED)
    return verify(image, None, World(find(builder.folder), silent), builder.engine, choice)[0]


def broken(report: Report) -> set[str]:
    return {line.rule.id for line in report.lines if line.outcome.verdict == "failed"}


def told(report: Report) -> str:
    return json.dumps(report.document(), indent=1)


def _four_times_as_fast() -> float:
    """What never comes is waited for in a quarter of the time; what comes is waited for as long as ever."""
    return time.monotonic() * 4


HURRIED = Patience(fast=True, clock=_four_times_as_fast)
CHAT = {"samples": [{"path": "/chat", "body": {"message": "hello"}}]}
API = {"apis": [{"url": "/predict"}]}


def in_podman(cases: list[Any], *in_docker: int) -> list[Any]:
    """Every case with podman, and those of these places with docker as well."""
    return [("podman", *case) for case in cases] + [("docker", *cases[place]) for place in in_docker]


RIGHT: list[Any] = [
    ("oci-data-science", {}),
    ("oci-genai", CHAT),
    ("modelarts:online", API),
    ("azureml:v2", {}),
    ("vertex", {}),
]


@pytest.mark.parametrize(("builder", "target", "changes"), in_podman(RIGHT, 1), indirect=["builder"])
def test_a_right_server_keeps_every_rule(builder: Builder, target: str, changes: dict[str, Any]) -> None:
    """A false alarm stops an image that its platform would have taken."""
    report = verified(builder, builder.server(), target, **changes)
    assert broken(report) == set(), told(report)
    assert sum(line.outcome.verdict == "passed" for line in report.lines) >= 5


def test_sagemaker_starts_serve(builder: Builder) -> None:
    """SageMaker replaces the command by ``serve``: an image that has none never starts there."""
    right, wrong = builder.server(more=SERVE), builder.server()
    assert broken(verified(builder, right, "sagemaker")) == set()
    assert "SM-04" in broken(verified(builder, wrong, "sagemaker"))


# What HTTP alone shows is asked of servers in this process, of every target: tests/probe/test_serving.py.
BROKEN_SERVERS: list[Any] = [
    ("binds", "oci-data-science", {}, {"ODS-01", "ODS-05", "ODS-14"}),
    ("redirect", "oci-data-science", {}, {"ODS-02", "UNI-09"}),
    ("early", "oci-data-science", {}, {"ODS-02"}),
    ("deaf", "oci-data-science", {}, {"UNI-08"}),
    ("ends", "oci-genai", CHAT, {"OGH-03", "OGH-13"}),
    ("writes", "oci-genai", CHAT, {"OGH-05", "OGH-07"}),
    ("ignores the variables", "vertex", {}, {"VX-04", "VX-06"}),
]


@pytest.mark.parametrize(
    ("builder", "fault", "target", "changes", "rules"), in_podman(BROKEN_SERVERS, 0, 5), indirect=["builder"]
)
def test_a_broken_server_is_found_by_its_rule(
    builder: Builder, fault: str, target: str, changes: dict[str, Any], rules: set[str]
) -> None:
    """What is not found here is found by the platform, after the image was pushed and deployed."""
    # As root it may write anywhere that is not read-only. The fault comes with the target's env: one image serves them all.
    image = builder.server(more="USER 0" if fault == "writes" else "")
    report = verified(builder, image, target, env={"FAULT": fault}, **changes)
    assert broken(report) == rules, told(report)
    if fault == "writes":
        assert "/var/written.txt" in told(report)


def test_a_missing_curl_is_found(builder: Builder) -> None:
    """OCI Data Science asks health with a curl inside the container: without it the deployment never becomes active."""
    report = verified(builder, builder.server(more="USER 0\nRUN rm /usr/local/bin/curl\nUSER 1001"), "oci-data-science")
    assert broken(report) == {"ODS-06"}, told(report)


@pytest.mark.parametrize(
    ("builder", "target"),
    in_podman([("kserve:modelcar",), ("kserve:native",), ("kubernetes",)], 0),
    indirect=["builder"],
)
def test_a_right_modelcar_keeps_every_rule(builder: Builder, target: str) -> None:
    """KServe's own commands work on it, and any user reads it."""
    report = verified(builder, builder.modelcar(), target)
    assert broken(report) == set(), told(report)
    assert report.count(NOTE) == 0, told(report)


BROKEN_MODELCARS: list[Any] = [
    ("chmod 0600 /models/1/model.onnx", "", "kserve:modelcar", "KS-05"),
    ("chmod 0700 /models/1", "", "kserve:modelcar", "KS-05"),
    ("chown 1001:1001 /models/config.json && chmod 0440 /models/config.json", "", "kserve:native", "KS-05"),
    ("chmod 0700 /models/1", "", "kubernetes", "KV-03"),
    ("mv /models /model", "", "kserve:modelcar", "KS-01"),
    ("mv /models /model", "", "kserve:native", "KS-01"),
    ("rm -r /models/*", "", "kserve:modelcar", "KS-01"),
    (RIGHT_MODES, 'ENTRYPOINT ["/bin/sleep"]', "kserve:modelcar", "KS-03"),
    ("rm /bin/sh /bin/ash", "", "kserve:modelcar", "KS-02"),
]


@pytest.mark.parametrize(
    ("builder", "modes", "more", "target", "rule"), in_podman(BROKEN_MODELCARS, 0), indirect=["builder"]
)
def test_a_broken_modelcar_is_found_by_its_rule(
    builder: Builder, modes: str, more: str, target: str, rule: str
) -> None:
    """A pod that waits for its model for ever says less than this."""
    report = verified(builder, builder.modelcar(modes, more), target)
    assert broken(report) == {rule}, told(report)


@BOTH
def test_an_image_without_a_shell_is_a_fine_volume_and_no_modelcar(builder: Builder) -> None:
    """FROM scratch is what native mode is for; the sidecar needs a shell."""
    image = builder.build(
        "FROM scratch\nCOPY --chmod=0444 served.py /models/served.py\n"
        if builder.engine.name == "docker"
        else "FROM scratch\nCOPY served.py /models/served.py\n"
    )
    assert broken(verified(builder, image, "kserve:native")) == set()
    assert broken(verified(builder, image, "kserve:modelcar")) == {"KS-02"}


def test_a_batch_image_needs_its_script_and_its_programs(builder: Builder) -> None:
    """ModelArts runs the image as it is, and calls python, java and zip."""
    tools = " ".join(f"/bin/{name}" for name in ("python", "java", "zip"))
    parts = f"FROM {builder.bases[SHELL_BASE]}\nRUN for p in {tools}; do ln -s busybox $p; done && echo 'exit 0' > /home/run.sh\n"
    right = builder.build(f'{parts}ENTRYPOINT []\nCMD ["sh", "/home/run.sh"]\n')
    assert broken(verified(builder, right, "modelarts:batch")) == set()
    wrong = builder.build(f'FROM {builder.bases[SHELL_BASE]}\nENTRYPOINT []\nCMD ["/home/run.sh"]\n')
    assert broken(verified(builder, wrong, "modelarts:batch")) == {"MA-09", "MA-10"}


@BOTH
def test_what_lies_under_the_mount_is_hidden(builder: Builder) -> None:
    """The platform mounts the artefact over what the image has there: a server that is shipped there never starts."""
    place = "/opt/ds/model/deployed_model"
    more = (
        f'USER 0\nRUN mkdir -p {place} && cp /app/served.py {place}/\nUSER 1001\nCMD ["python3", "{place}/served.py"]'
    )
    report = verified(builder, builder.server(more=more), "oci-data-science")
    assert "ODS-16" in broken(report), told(report)
    artifact = builder.folder.parent / "artifact"
    artifact.mkdir()
    shutil.copy(served.__file__, artifact / "served.py")
    choice = Chosen(("oci-data-science",), artifact, patience=HURRIED)
    image = builder.server(more='CMD ["python3", "/opt/ds/model/deployed_model/served.py"]')
    report = verify(image, None, World(find(builder.folder), silent), builder.engine, choice)[0]
    assert broken(report) == set(), told(report)


@pytest.fixture
def modelcar(bases: Mapping[str, str], live_registry: LiveRegistry, tmp_path: Path) -> Path:
    """A recipe beside its model, on a base of the registry."""
    folder = tmp_path / "a project"
    (folder / "models" / "1").mkdir(parents=True)
    (folder / "models" / "1" / "model.onnx").write_bytes(b"weights" * 100_000)
    recipe = {
        "kind": "modelcar",
        "name": "granite",
        "model": "./models",
        "base": bases[SHELL_BASE],
        "tags": ["v1", "v2"],
    }
    (folder / "recipe.yaml").write_text(json.dumps({**recipe, "targets": ["kserve:modelcar", "kserve:fetch"]}))
    return folder / "recipe.yaml"


@BOTH
def test_a_recipe_is_verified_before_and_after_it_is_pushed(
    builder: Builder, modelcar: Path, live_registry: LiveRegistry
) -> None:
    """Before: the image is built and loaded, and the lock stays. After: it is pulled by the digest of the lock."""
    world, choice = World(find(modelcar.parent), silent), Chosen(patience=HURRIED)
    reports = verify(str(modelcar), load(modelcar), world, builder.engine, choice)
    assert [(report.target.name, broken(report)) for report in reports] == [
        ("kserve:modelcar", set()),
        ("kserve:fetch", set()),
    ]
    assert not modelcar.with_suffix(".lock").exists()
    delivered = flow.build(load(modelcar), world, flow.Wanted("embedded", Policy.KEEP, f"{live_registry.host}/verify"))
    reports = verify(str(modelcar), load(modelcar), world, builder.engine, choice)
    assert {report.image for report in reports} == {
        f"{live_registry.host}/verify/granite:v1@{delivered.sealing.digest}"
    }
    assert [broken(report) for report in reports] == [set(), set()]


def test_a_rebuild_tags_only_what_runs(builder: Builder, modelcar: Path, live_registry: LiveRegistry) -> None:
    """rebuild --verify runs what it pushed before its tags move; interrupted, it leaves no container and no tag."""
    recipe = json.loads(modelcar.read_text()) | {"targets": ["kserve:modelcar"], "name": "rebuilt"}
    modelcar.write_text(json.dumps(recipe))
    arguments = ("rebuild", ".", "--registry", f"{live_registry.host}/looked", "--verify")
    process = modelpack(*arguments, folder=modelcar.parent)
    wait_until(lambda: bool(builder.containers()) or process.poll() is not None, "a container")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert builder.containers() == []
    assert not modelcar.with_suffix(".lock").exists()
    process = modelpack(*arguments, folder=modelcar.parent)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "podman: KServe's sidecar" in err
    assert out.startswith(f"{live_registry.host}/looked/rebuilt:v1@sha256:")


@BOTH
def test_an_image_of_a_layout_is_loaded_and_leaves_nothing(builder: Builder, modelcar: Path) -> None:
    """What was loaded for a verification must not fill the engine's store."""
    world = World(find(modelcar.parent), silent)
    layout = modelcar.parent / "Out Put"
    flow.build(load(modelcar), world, flow.Wanted("embedded", output=Output("oci", layout)))
    before = images(builder.engine.name)
    report = verify(f"oci:{layout}:v2", None, world, builder.engine, Chosen(("kserve:native",)))[0]
    assert broken(report) == set(), told(report)
    assert images(builder.engine.name) == before


def images(engine: str) -> set[str]:
    done = subprocess.run([engine, "images", "--quiet", "--no-trunc"], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def modelpack(*arguments: str, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "buildkit", *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


@BOTH
def test_run_serves_until_it_is_interrupted(builder: Builder) -> None:
    """The loop of a developer: run, ask, Ctrl-C, and nothing is left."""
    port = free_port()
    arguments = ("run", builder.server(), "--target", "oci-genai", "--port", str(port), "--engine", builder.engine.name)
    process = modelpack(*arguments, folder=builder.folder)
    wait_until(lambda: answers(port) or process.poll() is not None, "an answer")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert f"http://127.0.0.1:{port}" in err
    assert "/health" in out


@pytest.mark.parametrize(
    ("builder", "number"), in_podman([(signal.SIGINT,), (signal.SIGTERM,)], 0), indirect=["builder"]
)
def test_an_interrupted_verification_leaves_no_container(builder: Builder, number: signal.Signals) -> None:
    """A cancelled job of a pipeline must not leave a server running on the machine."""
    arguments = ("verify", builder.server("binds"), "--target", "oci-genai", "--engine", builder.engine.name)
    process = modelpack(*arguments, folder=builder.folder)
    wait_until(lambda: bool(builder.containers()) or process.poll() is not None, "a container")
    assert process.poll() is None, process.communicate()
    process.send_signal(number)
    process.communicate(timeout=120)
    assert process.returncode in (130, 143)
    assert builder.containers() == []


def test_the_command_tells_a_person_and_a_machine(builder: Builder) -> None:
    """Exit code 1, the rule's id, what came back and what the server printed."""
    image = builder.server("redirect")
    arguments = ("verify", image, "--target", "vertex", "--engine", builder.engine.name, "--fast")
    process = modelpack(*arguments, folder=builder.folder)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "error VX-05 POST /odd-predict: 307" in " ".join(out.split())
    assert "/odd-predict redirect" in out
    process = modelpack(*arguments, "--json", folder=builder.folder)
    out, _ = process.communicate(timeout=300)
    document = json.loads(out)
    assert process.returncode == 1
    assert [one["rule"] for one in document[0]["outcomes"] if one["severity"] == "error"] == ["VX-05"]
