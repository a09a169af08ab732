"""Images built by hand, run by real engines as their platforms run them: a right one, and one broken in each known way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from buildkit.check import NOTE
from buildkit.events import silent
from buildkit.probe.command_line import engine_named
from buildkit.probe.containers import Engine
from buildkit.probe.report import Report
from buildkit.probe.session import PREFIX, Patience
from buildkit.settings import find
from buildkit.verify import Chosen, verify
from buildkit.world import World
from tests.live.base_images import PYTHON_BASE, SHELL_BASE
from tests.probe import served
from tests.waiting import wait_until

pytestmark = [pytest.mark.live, pytest.mark.engine]

ENGINES = ("podman", "docker")
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

    def build(self, containerfile: str) -> str:
        """The id of an image of that Containerfile."""
        self.folder.mkdir(exist_ok=True)
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


@pytest.fixture(params=ENGINES)
def builder(request: pytest.FixtureRequest, bases: Mapping[str, str], tmp_path: Path) -> Iterator[Builder]:
    request.getfixturevalue(f"{request.param}_environment")
    builder = Builder(engine_named(request.param), bases, tmp_path / "context")
    yield builder
    assert builder.containers() == [], "a container stayed behind"


def verified(builder: Builder, image: str, target: str, **changes: Any) -> Report:
    choice = Chosen((target,), None, changes, Patience(fast=True))
    return verify(image, None, World(find(builder.folder), silent), builder.engine, choice)[0]


def broken(report: Report) -> set[str]:
    return {line.rule.id for line in report.lines if line.outcome.verdict == "failed"}


def told(report: Report) -> str:
    return json.dumps(report.document(), indent=1)


CHAT = {"samples": [{"path": "/chat", "body": {"message": "hello"}}]}
API = {"apis": [{"url": "/predict"}]}


@pytest.mark.parametrize(
    ("target", "changes"),
    [("oci-data-science", {}), ("oci-genai", CHAT), ("modelarts:online", API), ("azureml:v2", {}), ("vertex", {})],
)
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


@pytest.mark.parametrize(
    ("fault", "target", "changes", "rules"),
    [
        ("binds", "oci-data-science", {}, {"ODS-01", "ODS-05", "ODS-14"}),
        ("redirect", "oci-data-science", {}, {"ODS-02", "UNI-09"}),
        ("early", "oci-data-science", {}, {"ODS-02"}),
        ("deaf", "oci-data-science", {}, {"UNI-08"}),
        ("port", "oci-data-science", {}, {"ODS-01", "ODS-05", "ODS-14"}),
        ("ends", "oci-genai", CHAT, {"OGH-03", "OGH-13"}),
        ("writes", "oci-genai", CHAT, {"OGH-05", "OGH-07"}),
        ("no events", "oci-genai", CHAT, {"OGH-05"}),
        ("early", "oci-genai", CHAT, {"OGH-03"}),
        ("plain health", "oci-genai", CHAT, {"OGH-03", "OGH-04"}),
        ("deaf", "modelarts:online", API, {"MA-12"}),
        ("ignores the variables", "vertex", {}, {"VX-04", "VX-03", "VX-06"}),
    ],
)
def test_a_broken_server_is_found_by_its_rule(
    builder: Builder, fault: str, target: str, changes: dict[str, Any], rules: set[str]
) -> None:
    """What is not found here is found by the platform, after the image was pushed and deployed."""
    # As root it may write anywhere that is not read-only.
    report = verified(builder, builder.server(fault, "USER 0" if fault == "writes" else ""), target, **changes)
    assert broken(report) == rules, told(report)
    if fault == "writes":
        assert "/var/written.txt" in told(report)


def test_a_missing_curl_is_found(builder: Builder) -> None:
    """OCI Data Science asks health with a curl inside the container: without it the deployment never becomes active."""
    report = verified(builder, builder.server(more="USER 0\nRUN rm /usr/local/bin/curl\nUSER 1001"), "oci-data-science")
    assert broken(report) == {"ODS-06"}, told(report)


@pytest.mark.parametrize("target", ["kserve:modelcar", "kserve:native", "kubernetes"])
def test_a_right_modelcar_keeps_every_rule(builder: Builder, target: str) -> None:
    """KServe's own commands work on it, and any user reads it."""
    report = verified(builder, builder.modelcar(), target)
    assert broken(report) == set(), told(report)
    assert report.count(NOTE) == 0, told(report)


@pytest.mark.parametrize(
    ("modes", "more", "target", "rule"),
    [
        ("chmod 0600 /models/1/model.onnx", "", "kserve:modelcar", "KS-05"),
        ("chmod 0700 /models/1", "", "kserve:modelcar", "KS-05"),
        ("chown 1001:1001 /models/config.json && chmod 0440 /models/config.json", "", "kserve:native", "KS-05"),
        ("chmod 0700 /models/1", "", "kubernetes", "KV-03"),
        ("mv /models /model", "", "kserve:modelcar", "KS-01"),
        ("mv /models /model", "", "kserve:native", "KS-01"),
        ("rm -r /models/*", "", "kserve:modelcar", "KS-01"),
        (RIGHT_MODES, 'ENTRYPOINT ["/bin/sleep"]', "kserve:modelcar", "KS-03"),
        ("rm /bin/ln", "", "kserve:modelcar", "KS-02"),
    ],
)
def test_a_broken_modelcar_is_found_by_its_rule(
    builder: Builder, modes: str, more: str, target: str, rule: str
) -> None:
    """A pod that waits for its model for ever says less than this."""
    report = verified(builder, builder.modelcar(modes, more), target)
    assert broken(report) == {rule}, told(report)


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
