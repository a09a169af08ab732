"""A Containerfile of one's own with real engines: if these fail, its image is another one on another machine, or holds a secret."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from buildkit import flow
from buildkit.delivery.push import Delivered
from buildkit.events import silent
from buildkit.oci.manifest import ImageConfig, Manifest
from buildkit.policy import Policy
from buildkit.recipe import load
from buildkit.settings import find
from buildkit.world import World
from tests.live.base_images import OFFICIAL_PYTHON, push_bases
from tests.live.prune import prune
from tests.live.registry import LiveRegistry
from tests.waiting import wait_until

pytestmark = [pytest.mark.live, pytest.mark.engine]
ENGINES = ("podman", "buildx")
SECRET = "s3cret-of-the-build"
CONTAINERFILE = """\
# syntax=docker/dockerfile:1
ARG REGISTRY=registry.access.redhat.com
ARG TAG
FROM --platform=$BUILDPLATFORM ${REGISTRY}/ubi9/ubi-micro:${TAG} AS build
ARG WORD=default
COPY . /src
RUN --mount=type=secret,id=token,required=true \\
    # what the secret decided, and not the secret
    mkdir /out && wc -c < /run/secrets/token > /out/length && echo "$WORD" > /out/word \\
    && ls -a /src > /out/listing && chmod 0644 /out/*

from ${REGISTRY}/ubi9/ubi-micro:${TAG} as run
COPY --from=build /out/ /app/
COPY --from=build --chown=1001:0 /src/run.sh /app/run.sh
COPY --from=registry.access.redhat.com/ubi9/ubi-micro:latest /etc/os-release /app/base
RUN --mount=type=bind,from=build,source=/src,target=/mnt cp /mnt/data/kept.txt /app/kept.txt
ENV GREETING="hello \\"you\\""
WORKDIR /app
USER 1001:0
ENTRYPOINT ["/app/run.sh"]
CMD ["world"]

FROM nowhere.example.com/never:1
"""
RUN_SH = '#!/bin/sh\necho "$GREETING $1 $(cat /app/word) $(id -u)"\n'


@dataclass
class Project:
    """A project whose images come through a mirror."""

    folder: Path
    registry: LiveRegistry

    def write(self, text: str = CONTAINERFILE, **recipe: Any) -> Path:
        files = {
            "Containerfile": text,
            "run.sh": RUN_SH,
            "data/kept.txt": "kept",
            "data/left.txt": "left",
            ".env": "PASSWORD=x",
            ".git/HEAD": "ref: x",
            ".dockerignore": "data/left.txt\n",
        }
        for name, content in files.items():
            place = self.folder / name
            place.parent.mkdir(exist_ok=True)
            place.write_text(content)
        (self.folder / "run.sh").chmod(0o775)
        settings = {
            "mirrors": {"registry.access.redhat.com": self.registry.host, "docker.io": self.registry.host},
            "registries": {"here": {"host": self.registry.host, "prefix": "own"}},
        }
        (self.folder / "modelpack.yaml").write_text(json.dumps(settings))
        path = self.folder / "recipe.yaml"
        path.write_text(json.dumps({"kind": "containerfile", "name": "mine", **recipe}))
        return path

    def full(self, tag: str) -> Path:
        labels = {"org.opencontainers.image.licenses": "MIT", "note": 'it\'s "$HOME"'}
        return self.write(
            tags=[tag],
            target_stage="run",
            build_args={"TAG": "latest", "WORD": "given"},
            secrets={"token": {"env": "BUILD_SECRET"}},
            labels=labels,
        )

    def world(self) -> World:
        return World(find(self.folder), silent)

    def build(self, engine: str, recipe: Path, policy: Policy = Policy.KEEP) -> Delivered:
        return flow.build(load(recipe), self.world(), flow.Wanted(engine, policy, "here"))

    def image(self, tag: str) -> tuple[Manifest, ImageConfig, dict[str, tuple[int, int, int, str]], bytes]:
        """The manifest, the config, each file above the base with its mode, owner and content, and all layers' bytes."""
        store = self.world().repository(self.world().settings.registry("here").repository("mine"))
        document = store.resolve(tag)
        assert document is not None
        manifest = Manifest.read(document)
        config = ImageConfig.read(b"".join(store.fetch(manifest.config)))
        entries, everything = {}, b""
        for layer in manifest.layers[1:]:
            raw = b"".join(store.fetch(layer))
            everything += raw
            with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
                for member in tar:
                    content = tar.extractfile(member).read() if member.isfile() else b""  # type: ignore[union-attr]
                    digest = hashlib.sha256(content).hexdigest() if member.isfile() else "directory"
                    if member.name.startswith("app/"):
                        entries[member.name] = (member.mode & 0o7777, member.uid, member.gid, digest)
        return manifest, config, entries, everything


@pytest.fixture
def project(live_registry: LiveRegistry, shell_base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("BUILD_SECRET", SECRET)
    folder = tmp_path / "a project"
    folder.mkdir()
    return Project(folder, live_registry)


@pytest.fixture
def engines(podman_environment: Mapping[str, str], docker_environment: Mapping[str, str]) -> tuple[str, ...]:
    return ENGINES


def test_both_engines_build_the_same_image_of_it(project: Project, engines: tuple[str, ...]) -> None:
    """The same files, modes, owners and config; nothing ignored, no secret, and nothing of another stage in it."""
    seen = {}
    for engine in engines:
        delivered = project.build(engine, project.full(f"both-{engine}"))
        manifest, config, entries, everything = project.image(f"both-{engine}")
        assert manifest.document.digest == delivered.sealing.digest
        raw = everything + json.dumps([dict(config.content), dict(manifest.annotations)]).encode()
        raw += (project.folder / "recipe.lock").read_bytes()
        assert SECRET.encode() not in raw, f"{engine} left the secret in the image or the lock"
        seen[engine] = (entries, dict(config.process), dict(manifest.annotations))
    for podman, buildx in zip(seen["podman"], seen["buildx"], strict=True):
        assert podman == buildx
    entries, process, annotations = seen["podman"]
    assert set(entries) == {f"app/{name}" for name in ("base", "kept.txt", "length", "listing", "run.sh", "word")}
    assert entries["app/run.sh"][:3] == (0o755, 1001, 0)
    listing = b"\n".join(sorted([b".", b"..", b"data", b"run.sh"])) + b"\n"
    assert entries["app/listing"][3] == hashlib.sha256(listing).hexdigest(), "the context holds other files"
    assert entries["app/length"][3] == hashlib.sha256(f"{len(SECRET)}\n".encode()).hexdigest()
    assert process["Labels"]["note"] == 'it\'s "$HOME"'
    assert annotations["org.opencontainers.image.licenses"] == process["Labels"]["org.opencontainers.image.licenses"]
    assert process["Labels"]["org.opencontainers.image.base.digest"].startswith("sha256:")


@pytest.mark.parametrize("engine", ENGINES)
def test_it_runs_as_it_was_written(project: Project, engines: tuple[str, ...], engine: str) -> None:
    """A program that lost its mode, or a quote that an engine ate."""
    project.build(engine, project.full(f"run-{engine}"))
    reference = f"{project.registry.host}/own/mine:run-{engine}"
    for command in (["podman", "run", "--tls-verify=false"], ["docker", "run"]):
        options = ["--rm", "--network=none", "--read-only", "--user=54321:0"]
        done = subprocess.run([*command, *options, reference], capture_output=True, text=True, check=False)
        assert done.stdout == 'hello "you" world given 54321\n', done.stderr


@pytest.mark.parametrize("engine", ENGINES)
def test_a_second_build_changes_nothing(project: Project, engines: tuple[str, ...], engine: str) -> None:
    """Every scheduled run pushes an image anew that nobody changed."""
    recipe = project.full(f"again-{engine}")
    first = project.build(engine, recipe).sealing.digest
    lock = (project.folder / "recipe.lock").read_bytes()
    assert project.build(engine, recipe, Policy.LOCKED).sealing.digest == first
    assert (project.folder / "recipe.lock").read_bytes() == lock
    (project.folder / "data" / "kept.txt").write_text("another")
    assert project.build(engine, recipe).sealing.digest != first


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_without_its_cache_gives_the_digest_again(
    project: Project, engines: tuple[str, ...], engine: str
) -> None:
    """Another machine, or the same one after a cleaning, builds another image from the same lock."""
    recipe = project.full(f"clean-{engine}")
    first = project.build(engine, recipe).sealing.digest
    prune(engine)
    assert project.build(engine, recipe, Policy.LOCKED).sealing.digest == first


@pytest.mark.parametrize("engine", ENGINES)
def test_another_architecture_is_built_by_this_one(project: Project, engines: tuple[str, ...], engine: str) -> None:
    """A stage that runs here on purpose needs an emulator, or the result has this machine's base."""
    text = (
        "FROM --platform=${BUILDPLATFORM} registry.access.redhat.com/ubi9/ubi-micro:latest AS build\n"
        "RUN mkdir /app && cp /etc/platform /app/built-on\n"
        "FROM registry.access.redhat.com/ubi9/ubi-micro:latest\nCOPY --from=build /app/ /app/\n"
    )
    recipe = project.write(text, tags=[f"arm-{engine}"], platforms=["linux/arm64"])
    project.build(engine, recipe)
    _, config, entries, _ = project.image(f"arm-{engine}")
    assert config.platform.architecture == "arm64"
    assert set(entries) == {"app/built-on"}


def test_a_here_document_is_built_by_buildx(project: Project, engines: tuple[str, ...]) -> None:
    """What BuildKit reads as a script is read as instructions here, and refused."""
    text = (
        "FROM registry.access.redhat.com/ubi9/ubi-micro:latest\n"
        "RUN <<EOF\nmkdir /app\necho 'FROM nothing' > /app/a\nEOF\nCOPY <<'TWO' /app/b\n$HOME\nTWO\n"
    )
    project.build("buildx", project.write(text, tags=["here"]))
    entries = project.image("here")[2]
    assert entries["app/a"][3] == hashlib.sha256(b"FROM nothing\n").hexdigest()
    assert entries["app/b"][3] == hashlib.sha256(b"$HOME\n").hexdigest()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_failing_line_is_explained(project: Project, engines: tuple[str, ...], engine: str) -> None:
    """A build fails, and nobody says with what."""
    from buildkit.errors import EngineFailed

    text = "FROM registry.access.redhat.com/ubi9/ubi-micro:latest\nRUN echo this-is-why >&2 && exit 7\n"
    with pytest.raises(EngineFailed) as raised:
        project.build(engine, project.write(text))
    assert "this-is-why" in str(raised.value)
    assert not (project.folder / "recipe.lock").exists()


def test_an_old_podman_says_what_to_do_about_a_here_document(project: Project, engines: tuple[str, ...]) -> None:
    """podman 4.3 takes a line of the document for an instruction."""
    from buildkit.errors import EngineFailed

    said = subprocess.run(["podman", "--version"], capture_output=True, text=True, check=True).stdout
    if tuple(map(int, said.split()[-1].split(".")[:2])) >= (4, 8):
        pytest.skip(f"{said.strip()} reads here-documents")
    text = "FROM registry.access.redhat.com/ubi9/ubi-micro:latest\nRUN <<EOF\ntouch /a\nEOF\n"
    with pytest.raises(EngineFailed) as raised:
        project.build("podman", project.write(text))
    assert "--engine buildx" in raised.value.hint, str(raised.value)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_was_built_is_pushed_later(project: Project, engines: tuple[str, ...], engine: str) -> None:
    """``build`` today and ``push`` tomorrow are two images, or an edited Containerfile is pushed as what was built."""
    from buildkit.errors import InvalidInput

    recipe = project.full(f"later-{engine}")
    built = flow.build(load(recipe), project.world(), flow.Wanted(engine))
    assert flow.push(load(recipe), project.world(), "here").sealing.digest == built.sealing.digest
    file = project.folder / "Containerfile"
    file.write_text(file.read_text().replace("USER 1001:0", "USER 1002:0"))
    with pytest.raises(InvalidInput, match="changed since it was built"):
        flow.push(load(recipe), project.world(), "here")


SAMPLE = Path(__file__).parent.parent.parent / "samples" / "containerfile"


@pytest.mark.parametrize("engine", ENGINES)
def test_the_sample_serves(project: Project, engines: tuple[str, ...], engine: str) -> None:
    """What a newcomer copies does not answer, writes where it may not, or does not end."""
    push_bases(project.registry, (OFFICIAL_PYTHON,))
    project.write()
    shutil.copytree(SAMPLE, project.folder / "sample")
    recipe = project.folder / "sample" / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("tags: [latest]", f"tags: [{engine}]"))
    project.build(engine, recipe)
    reference = f"{project.registry.host}/own/words:{engine}"
    options = ["--detach", "--read-only", "--tmpfs=/tmp", "--user=54321:0", "--pull=always", "--tls-verify=false"]
    done = subprocess.run(["podman", "run", *options, reference], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    container = done.stdout.strip()
    ask = (
        "import urllib.request as web, json\n"
        "u = 'http://127.0.0.1:8080/'\n"
        "print(web.urlopen(u + 'health').status, json.load(web.urlopen(u + 'predict', b'one two three'))['words'])"
    )

    def answer() -> str:
        command = ["podman", "exec", container, "python3", "-c", ask]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    try:
        wait_until(lambda: answer() == "200 3\n", "the server's answer")
        subprocess.run(["podman", "stop", "--time", "30", container], capture_output=True, check=True)
        code = subprocess.run(["podman", "wait", container], capture_output=True, text=True, check=True).stdout
        assert code.strip() == "0", "it was killed after its time"
    finally:
        subprocess.run(["podman", "rm", "--force", container], capture_output=True, check=False)
