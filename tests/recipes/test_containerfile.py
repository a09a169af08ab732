"""A Containerfile of one's own: if these fail, it is built from something that nobody locked, or with a secret in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from buildkit import flow
from buildkit.engines.prepared import build_context, for_this_machine
from buildkit.errors import Drifted, InvalidInput
from buildkit.oci.reference import Platform
from buildkit.pin import Pins
from buildkit.plan import Plan
from buildkit.policy import Policy, pin
from buildkit.recipe import Recipe, load
from buildkit.settings import find
from buildkit.world import World
from recipes.containerfile.kind import ContainerfileSpec, containerfile
from tests.fakes.registry import Registry
from tests.place import put_base


class Project:
    """A folder with a Containerfile, and a registry with a few images behind every name."""

    def __init__(self, folder: Path, registry: Registry) -> None:
        self.folder, self.registry = folder, registry
        mirrors = {"docker.io": registry.address, "quay.io": registry.address}
        (folder / "modelpack.yaml").write_text(json.dumps({"mirrors": mirrors}))

    def put(self, text: str, files: Mapping[str, str] = {}, **written: Any) -> Recipe:
        for path, content in {"Containerfile": text, **files}.items():
            place = self.folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(content)
        return self.recipe(**written)

    def recipe(self, **written: Any) -> Recipe:
        path = self.folder / "recipe.yaml"
        path.write_text(json.dumps({"kind": "containerfile", "name": "mine", **written}))
        return load(path)

    def world(self) -> World:
        return World(find(self.folder), lambda event: None, sleep=lambda seconds: None)

    def plan(self, text: str, files: Mapping[str, str] = {}, **written: Any) -> Plan:
        return flow.render(self.put(text, files, **written), self.world())

    def refusal(self, text: str, **written: Any) -> str:
        with pytest.raises(InvalidInput) as raised:
            self.put(text, **written)
        return str(raised.value)


@pytest.fixture
def project(tmp_path: Path) -> Any:
    with Registry() as registry:
        for number, name in enumerate(("library/python", "library/golang", "tools/uv", "tools/late")):
            put_base(registry, name, f"{number}".encode())
        yield Project(tmp_path, registry)


def test_every_image_is_pinned_and_nothing_else_is_touched(project: Project) -> None:
    """A tag that moves tomorrow is built into an image that the lock calls the same."""
    text = (
        "# syntax=docker/dockerfile:1.7\n# escape=\\\nARG V=latest\nARG BASE=quay.io/tools\n"
        "FROM --platform=$BUILDPLATFORM golang:${V} AS build\nRUN echo FROM golang:latest\n\n"
        "FROM python:${V}\nARG V\nCOPY --from=build /a /a\nCOPY --from=quay.io/tools/uv:latest /uv /uv\n"
        "RUN --mount=type=bind,from=build,target=/b --mount=from=quay.io/tools/late,target=/c true\n"
    )
    plan = project.plan(text, build_args={"V": "latest"}, labels={"org.opencontainers.image.licenses": "MIT"})
    digests = {str(pin.reference.repository): str(pin.reference.digest) for pin in plan.images}
    lines = plan.containerfile.split("\n")
    assert lines[0] == "# escape=\\"
    assert "syntax" not in plan.containerfile
    golang = f"docker.io/library/golang:latest@{digests['library/golang']}"
    python = f"docker.io/library/python:latest@{digests['library/python']}"
    assert lines[2:8] == [
        "ARG V=latest",
        "ARG BASE=quay.io/tools",
        f"FROM --platform=$BUILDPLATFORM {golang} AS build",
        "RUN echo FROM golang:latest",
        "",
        f"FROM {python}",
    ]
    assert f"COPY --from=quay.io/tools/uv:latest@{digests['tools/uv']} /uv /uv" in lines
    mount = f"--mount=from=quay.io/tools/late@{digests['tools/late']},target=/c"
    assert f"RUN --mount=type=bind,from=build,target=/b {mount} true" in lines
    assert 'org.opencontainers.image.licenses="MIT"' in plan.containerfile
    assert plan.base and str(plan.base.reference) == python
    assert plan.process["Labels"]["org.opencontainers.image.base.digest"] == digests["library/python"]
    assert plan.build_args == {"V": "latest"}


def test_a_stage_in_the_middle_can_be_the_image(project: Project) -> None:
    """A stage for debugging is shipped, or its images are asked for in vain."""
    text = "FROM python AS a\nFROM a AS run\nUSER 1\nFROM nowhere:1 AS debug\nUSER 0\n"
    plan = project.plan(text, target_stage="run")
    assert plan.base and plan.base.reference.repository == "library/python"
    assert plan.containerfile.startswith("FROM docker.io/library/python@sha256:")
    assert "nowhere" not in plan.containerfile
    assert plan.containerfile.split("\n")[3].startswith("LABEL ")


def test_nothing_below_and_other_files(project: Project) -> None:
    """An image from scratch has no base, and a Dockerfile is one too."""
    (project.folder / "app").mkdir()
    (project.folder / "app" / "Dockerfile").write_text("FROM scratch\nCOPY x /\n")
    (project.folder / "app" / "x").write_text("x")
    plan = flow.render(project.recipe(context="./app"), project.world())
    assert plan.base is None and plan.images == ()
    assert plan.copied and [file.entry.name for file in plan.copied.files] == ["x"]
    assert "base" not in plan.process["Labels"]
    assert plan.network is False


def test_the_context_is_the_project_and_nothing_else(project: Project) -> None:
    """A password of .env, or gigabytes of an ignored folder, go to the builder; a script can no longer be run."""
    ignored = {".env": "TOKEN=x", ".git/config": "x", "data/big": "x", "notes.md": "x", "recipe.lock": "{}"}
    kept = {"run.sh": "#!/bin/sh\n", "src/a.py": "a", "src/keep.md": "b"}
    recipe = project.put("FROM python\nCOPY . /\n", {**ignored, **kept, ".dockerignore": "data\n*.md\n"})
    (project.folder / "recipe.lock").unlink()
    (project.folder / "run.sh").chmod(0o700)
    plan = flow.render(recipe, project.world())
    pins = pin(recipe, None, project.world(), Policy.KEEP, builders=True)
    context = flow._context(recipe, pins, project.world(), keep=True)
    with build_context(plan, context) as (file, folder):
        there = {path.relative_to(folder).as_posix(): path.stat() for path in folder.rglob("*") if path.is_file()}
        assert set(there) == set(kept)
        assert there["run.sh"].st_mode & 0o777 == 0o755 and there["src/a.py"].st_mode & 0o777 == 0o644
        assert {status.st_mtime for status in there.values()} == {0}
        assert f"FROM {project.registry.address}/library/python@sha256:" in file.read_text()
    written = json.loads((project.folder / "recipe.lock").read_text())["pins"]["sources"]["context"]["files"]
    assert [file["path"] for file in written if file.get("executable")] == ["run.sh"]


def test_rendered_with_what_it_copies(project: Project, tmp_path: Path) -> None:
    """Who builds by hand has other files than modelpack builds with."""
    recipe = project.put("FROM python\nCOPY a /\n", {"a": "1", ".env": "x"})
    path = flow.render_into(recipe, project.world(), tmp_path / "out")
    assert sorted(one.name for one in path.parent.iterdir()) == ["Containerfile", "a"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"Containerfile": "FROM python\nCOPY . /\nUSER 2\n"}, "containerfile: Containerfile changed from sha256:"),
        ({"a.py": "2"}, "context: a.py changed from sha256:"),
        ({"b.py": "2"}, "context: b.py is new"),
    ],
)
def test_what_changed_is_told(project: Project, change: dict[str, str], told: str) -> None:
    """A build that is not what was reviewed passes as locked."""
    before = project.plan("FROM python\nCOPY . /\n", {"a.py": "1"})
    for path, text in change.items():
        (project.folder / path).write_text(text)
    with pytest.raises(Drifted) as raised:
        flow.lock(load(project.folder), project.world(), Policy.LOCKED)
    assert told in str(raised.value)
    assert flow.render(load(project.folder), project.world()).digest != before.digest


def test_a_program_that_is_none_any_more_is_told(project: Project) -> None:
    """The entry point of an image cannot be executed, and the lock says that nothing changed."""
    project.plan("FROM python\nCOPY . /\n", {"run": "#!/bin/sh"})
    (project.folder / "run").chmod(0o755)
    with pytest.raises(Drifted) as raised:
        flow.lock(load(project.folder), project.world(), Policy.LOCKED)
    assert "run is executable now" in str(raised.value)


def test_a_moved_base_is_told_and_taken(project: Project) -> None:
    """A security fix of a builder's image never arrives, or arrives unseen."""
    first = project.plan("FROM golang AS b\nFROM python\nCOPY --from=b / /\n")
    put_base(project.registry, "library/golang", b"newer")
    kept = flow.render(load(project.folder), project.world())
    assert kept.containerfile == first.containerfile
    with pytest.raises(Drifted) as raised:
        flow.lock(load(project.folder), project.world(), Policy.LOCKED)
    assert "docker.io/library/golang was sha256:" in str(raised.value)
    flow.lock(load(project.folder), project.world(), Policy.UPGRADE)
    assert flow.render(load(project.folder), project.world()).digest != first.digest


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("FROM python\nARG HF_TOKEN\n", ":2: ARG HF_TOKEN is read by everybody"),
        ("FROM python\nENV A=1 DB_PASSWORD=geheim\n", ":2: ENV DB_PASSWORD"),
        ("FROM python\nENV API_KEY geheim\n", ":2: ENV API_KEY"),
        ("FROM python\nRUN curl -H hf_" + "a1B2" * 8 + " x\n", ":2: RUN holds what looks like a secret"),
        ("FROM python\nRUN pip install -i https://me:pass@x.org/simple y\n", ":2: RUN holds"),
        ("FROM python\nRUN --mount=type=secret,id=t,required=true x\n", ":2: needs the secret 't'"),
        ("FROM python\nRUN --mount=type=ssh git clone x\n", ":2: mounts an ssh agent"),
        ("# syntax=evil/frontend\nFROM python\n", ":1: asks for another language"),
        ("# syntax=docker/dockerfile:1-labs\nFROM python\n", ":1: asks for another language"),
        ("FROM python:$NONE\n", ":1: the image 'python:': '' is not a tag"),
        ("FROM $NONE\n", ":1: the image '$NONE' is empty"),
        ("FROM x-$BUILDARCH\n", ":1: the image 'x-$BUILDARCH' depends on the machine"),
        ("FROM --platform=linux/arm64 python\n", "is not the platform that the recipe builds for"),
        ("FROM --platform=$BUILDPLATFORM python\n", "is not the platform that the recipe builds for"),
        ("FROM --platform=nonsense python\n", ":1: --platform=nonsense"),
        ("FROM Python\n", ":1: "),
        ("USER 1\nFROM python\n", ":1: USER stands before"),
        ("COPY --from=x / /\nFROM python\n", ":1: stands before"),
        ("FROM python AS a\nFROM python AS A\n", ":2: there is a stage a already"),
        ("FROM python\nCOPY --from=later / /\nFROM python AS later\n", ":2: COPY --from=later is no stage above"),
        ("FROM python\nCOPY --from=3 / /\n", ":2: COPY --from=3 is no stage above"),
        ("RUN x\n", "has no FROM"),
        ("", "has no FROM"),
        ("FROM python\nRUN echo \u202e\n", ":2: has the invisible character U+202E"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(project: Project, text: str, told: str) -> None:
    """Somebody searches a file of two hundred lines, or ships a token."""
    said = project.refusal(text)
    assert f"{project.folder}/Containerfile" in said
    assert told in said


def test_harmless_names_are_not_refused(project: Project) -> None:
    """A limit of tokens is refused as if it were a secret."""
    lines = "ENV MAX_NEW_TOKENS=5 TOKENIZERS_PARALLELISM=false TOKEN_PATH=/run/x HF_TOKEN= DB_PASSWORD=/run/secrets/x\n"
    project.put(f"# \U0001f469\u200d\U0001f4bb\nFROM python\n{lines}ARG TOKEN_LIMIT=4\n")


def test_everything_is_told_at_once(project: Project) -> None:
    """Whoever mends one line after another runs it six times."""
    said = project.refusal(
        "FROM python AS 1\nARG X_TOKEN\nFORM x\n", build_args={"Y": "1"}, secrets={"z": {"env": "Z"}}
    )
    for told in (":1: '1' cannot", ":2: ARG X_TOKEN", ":3: 'FORM'", "has no ARG Y", "mounts no secret 'z'"):
        assert told in said


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({"build_args": {"HF_TOKEN": "x"}}, "'HF_TOKEN' is a secret"),
        ({"build_args": {"A": "hf_" + "a1B2" * 8}}, "'A' is a secret"),
        ({"build_args": {"BUILDKIT_SYNTAX": "evil"}}, "steers the engine"),
        ({"build_args": {"SOURCE_DATE_EPOCH": "1"}}, "steers the engine"),
        ({"secrets": {"a": {}}}, "must say 'env' or 'file'"),
        ({"target_stage": "none"}, "there is no stage 'none'"),
        ({"containerfile": "./other"}, "there is no other"),
        ({"containerfile": "../other"}, "must not leave its folder"),
        ({"context": ".."}, "must not leave its folder"),
    ],
)
def test_what_a_recipe_must_not_say(project: Project, written: dict[str, Any], told: str) -> None:
    """A token stands in the history of an image, or the engine is steered past the lock."""
    assert told in project.refusal("FROM python\nARG A\n", **written)


def test_a_secret_file_is_not_copied(project: Project) -> None:
    """``COPY . .`` takes the secret along that was to be mounted."""
    text = "FROM python\nRUN --mount=type=secret,id=pip true\nCOPY . .\n"
    secrets = {"pip": {"file": "pip.conf"}}
    recipe = project.put(text, {"pip.conf": "x"}, secrets=secrets)
    with pytest.raises(InvalidInput, match="the context holds secrets"):
        flow.render(recipe, project.world())
    plan = project.plan(text, {".dockerignore": "pip.conf\n"}, secrets=secrets)
    assert plan.secrets[0].path == "pip.conf"


def test_an_ignore_file_of_one_engine_is_told(project: Project) -> None:
    """What docker leaves out and podman takes is two images."""
    (project.folder / "Containerfile.dockerignore").write_text("x")
    assert "is read by one engine alone" in project.refusal("FROM python\n")


def test_several_platforms(project: Project) -> None:
    """An image is pinned for one platform and built for another."""
    text = "FROM --platform=linux/amd64 golang AS a\nFROM base-${TARGETARCH}\n"
    said = project.refusal(text, platforms=["linux/amd64", "linux/arm64"])
    assert ":2: names other images for linux/arm64 than for linux/amd64" in said
    recipe = project.put(text.replace("base-${TARGETARCH}", "python"), platforms=["linux/amd64", "linux/arm64"])
    keys = dict(recipe.spec.images())
    assert isinstance(recipe.spec, ContainerfileSpec)
    assert recipe.spec.platforms_of("base") == {Platform("linux", "amd64"), Platform("linux", "arm64")}
    assert recipe.spec.platforms_of(str(keys["docker.io/library/golang"])) == {Platform("linux", "amd64")}


def test_podman_is_told_which_platform_a_stage_runs_on(project: Project) -> None:
    """podman 4.3 runs a stage of the builder's platform on the target's, and needs an emulator."""
    recipe = project.put("from --platform=${BUILDPLATFORM} golang as a\nFROM python\nCOPY --from=a / /\n")
    plan = flow.render(recipe, project.world())
    pins = pin(recipe, None, project.world(), Policy.KEEP, builders=True)
    context = flow._context(recipe, pins, project.world(), keep=True)
    text = for_this_machine(plan.containerfile, context)
    assert text.startswith("from docker.io/library/golang@sha256:")
    assert text.split("\n")[1:] == plan.containerfile.split("\n")[1:]


def test_the_embedded_engine_says_that_it_cannot(project: Project) -> None:
    """``--engine auto`` tries it in vain."""
    plan = project.plan("FROM python\n")
    assert "buildx and podman" in plan.blocked["embedded"]
    with pytest.raises(TypeError):
        containerfile.plan(None, Pins())  # type: ignore[arg-type]


def test_the_first_project_is_a_good_one(tmp_path: Path) -> None:
    """What ``modelpack init`` writes does not load."""
    for path, text in containerfile.starter("my-image").items():
        (tmp_path / path).write_text(text)
    assert [key for key, _ in load(tmp_path).spec.images()] == ["base"]
    with pytest.raises(InvalidInput):
        containerfile.starter("My Image")
