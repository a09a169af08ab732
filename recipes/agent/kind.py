"""The kind ``agent``: what may be written in its recipe, and the image that is planned from it."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files as resources
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, PrivateAttr, ValidationInfo, field_validator, model_validator

from buildkit import image_annotations
from buildkit.errors import InvalidInput, Problem
from buildkit.inputs import AT_LEAST_ONE, Part, Project, ProjectRef, some
from buildkit.oci.tar import Entry
from buildkit.pin import Pins
from buildkit.placing import placed, written
from buildkit.plan import Plan, PlannedLayer, Secret
from buildkit.process import Environment, Port
from buildkit.reading.plain import Refusal, Refusals, plain, shown
from buildkit.spec import ImageRef, SourceRef, Spec
from buildkit.start import named
from recipes.agent import reserved
from recipes.agent.extra import ExtraFiles, extra_layer, extra_sources
from recipes.agent.idle import never_served
from recipes.agent.packages import SETTLE, packages, requirements, settings, settle_program
from recipes.agent.project import LOCK, PROJECT, Reading, lock_of, module_of, read
from recipes.agent.served import APP, Entrypoint, command_of, process_of, served_module
from recipes.agent.stage import containerfile

PLATFORM: Literal["linux/amd64"] = "linux/amd64"
"""Oracle, "Preparing Container Images", "Supported Container Image Architecture"."""
PYTHON = "3.11"
PORT = 8080
_VERSION = re.compile(r"3\.(9|[1-9][0-9])")
_DEBIAN_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+(?:=[A-Za-z0-9.+:~-]+)?", re.ASCII)
"""Debian Policy 5.6.1, "Source", and 5.6.12, "Version"."""
_SECRET = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_OURS = ("PATH", "PYTHONPATH")


def _base_for(python: str) -> ImageRef:
    return ImageRef(f"docker.io/library/python:{python}-slim")


def _debian(name: str) -> str:
    if not _DEBIAN_NAME.fullmatch(name):
        raise Refusal(f"{shown(name)} is not a Debian package", "write its name, or NAME=VERSION")
    return name


def _secret_id(name: str) -> str:
    if not _SECRET.fullmatch(name):
        raise Refusal(f"{shown(name)} is not the id of a secret", "letters, digits and '_', the first a letter")
    return name


def _version(text: str) -> str:
    if not _VERSION.fullmatch(text):
        raise Refusal(f"{shown(text)} is not a version of Python", 'write it without the patch version: "3.11"')
    return text


class BuildSecret(Part):
    """Where a secret of the build comes from: an environment variable, or a file."""

    env: str = Field(default="", description="The environment variable that holds it.")
    file: Annotated[str, AfterValidator(plain)] = Field(
        default="", description="The file that holds it, relative to the recipe."
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if bool(self.env) == bool(self.file):
            raise Refusal("must have one of 'env' and 'file'", "write {env: NAME}")
        if self.env and not _VARIABLE.fullmatch(self.env):
            raise Refusal(f"{shown(self.env)} is not a variable's name")
        return self


class AgentSpec(Spec):
    """An agent as a web service: its code, its locked packages, and a command that serves."""

    python_inputs: ClassVar[frozenset[str]] = frozenset({"python"})

    kind: Literal["agent"] = Field(description="The kind of recipe.")
    platforms: Annotated[tuple[Literal["linux/amd64"], ...], AfterValidator(some)] = Field(
        default=(PLATFORM,),
        json_schema_extra=AT_LEAST_ONE,
        description="What the image is built for: hosted deployments take linux/amd64 alone.",
    )
    python: Annotated[str, AfterValidator(_version), Field(json_schema_extra={"pattern": f"^{_VERSION.pattern}$"})] = (
        Field(default=PYTHON, description='The version of Python, quoted: "3.11".')
    )
    base: ImageRef = Field(
        default=_base_for(PYTHON),
        description="What lies under the agent: an image with this Python and pip; docker.io/library/python:VERSION-slim.",
    )
    port: Port = Field(default=PORT, description="The port that the agent listens on; hosted deployments ask 8080.")
    env: Environment = Field(default_factory=dict, description="Variables of the image; no secret belongs there.")
    packages: tuple[Annotated[str, AfterValidator(_debian)], ...] = Field(
        default=(), description="Debian packages that are installed with apt: NAME or NAME=VERSION."
    )
    extra_files: ExtraFiles = Field(
        default_factory=dict,
        description="Files from beside the recipe, by their place in the image: {/etc/agent/rules.json: rules.json}."
        " A folder ends in / on both sides.",
    )
    secrets: dict[Annotated[str, AfterValidator(_secret_id)], BuildSecret] = Field(
        default_factory=dict,
        description="Secrets of the build by id; uv has uv_index_internal_password as UV_INDEX_INTERNAL_PASSWORD.",
    )
    entrypoint: Entrypoint = Field(
        description="What is started: module:app, which uvicorn serves, or a program and its arguments as a list."
    )
    project: Project = Field(
        default=ProjectRef(),
        validate_default=True,
        description="The folder with the program, pyproject.toml and uv.lock.",
    )
    _reading: Reading = PrivateAttr(default_factory=Reading)
    _folder: Path | None = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _base_of_python(cls, data: Any) -> Any:
        python = data.get("python") if isinstance(data, dict) else None
        if isinstance(python, str) and _VERSION.fullmatch(python) and "base" not in data:
            return {**data, "base": _base_for(python)}
        return data

    @field_validator("env")
    @classmethod
    def _variables(cls, env: dict[str, str]) -> dict[str, str]:
        found = [f"{name} {reserved.WHY}" for name in env if reserved.is_reserved(name)]
        found += [f"{name} says where the packages are" for name in env if name in _OURS]
        if found:
            raise Refusal("; ".join(found), reserved.HINT)
        return env

    @field_validator("project")
    @classmethod
    def _project(cls, value: ProjectRef, info: ValidationInfo) -> ProjectRef:
        """Everything in the project's files that cannot be an image, at once: before anything is fetched or built."""
        folder = _folder(info)
        if folder is None:
            return value
        root = folder / value.path
        if not root.is_dir():
            raise Refusal(f"the folder {shown(value.path)} is not there")
        python = info.data.get("python")
        reading, problems = read(root, python) if python else (Reading(), [])
        problems += reserved.problems_in(root)
        if reading.locked.wheels:
            problems += _unserved(root, reading, info.data.get("entrypoint", ()))
        if problems:
            raise Refusals(problems)
        return value

    @model_validator(mode="after")
    def _read(self, info: ValidationInfo) -> Self:
        self._folder = _folder(info)
        if self._folder is not None:
            self._reading = read(self._folder / self.project.path, self.python)[0]
        return self

    def sources(self) -> Iterator[tuple[str, SourceRef]]:
        """The program; what its packages are locked by, as an input of its own; and every extra file."""
        path = self.project.path
        left_out = (*self.project.exclude, LOCK, *self._secret_files)
        yield "project", ProjectRef(path=path, include=self.project.include, exclude=left_out)
        yield "python", ProjectRef(path=path, include=(LOCK, PROJECT))
        yield from extra_sources(self.extra_files)

    @property
    def _secret_files(self) -> Iterator[str]:
        """Patterns of the files that hold secrets, as the project's folder names them: no image may have them."""
        above = "" if self.project.path == "." else f"{self.project.path}/"
        files = (secret.file.removeprefix("./") for secret in self.secrets.values() if secret.file)
        return (glob.escape(file.removeprefix(above)) for file in files if file.startswith(above))

    @property
    def reading(self) -> Reading:
        """What the project's files said when the recipe was read."""
        return self._reading

    @property
    def folder(self) -> Path | None:
        """Where the recipe lies; None where it was not read from a file."""
        return self._folder

    @property
    def build_secrets(self) -> tuple[Secret, ...]:
        """The secrets as a plan takes them."""
        return tuple(Secret(name, self.secrets[name].env, self.secrets[name].file) for name in sorted(self.secrets))


def _folder(info: ValidationInfo) -> Path | None:
    folder = (info.context or {}).get("folder")
    return folder if isinstance(folder, Path) else None


def _unserved(root: Path, reading: Reading, entrypoint: str | tuple[str, ...]) -> Iterator[Problem]:
    """Why nothing would be served."""
    module = served_module(entrypoint)
    if module is None:
        yield from never_served(root, entrypoint)
        return
    if not module_of(root, reading.roots, module):
        yield Problem("entrypoint", f"the project has no module {module}", "name a file of the project without its .py")
    if not reading.locked.has("uvicorn"):
        yield Problem(
            "entrypoint", "is served by uvicorn, which uv.lock does not hold", "run: uv add uvicorn; or write a command"
        )


class Agent:
    """Plans agents."""

    name = "agent"
    spec: type[Spec] = AgentSpec

    def plan(self, spec: Spec, pins: Pins) -> Plan:
        """Decides layers, config, annotations and the Containerfile; asks nothing; raises InvalidInput."""
        if not isinstance(spec, AgentSpec):
            raise TypeError(f"an agent is planned from an AgentSpec, and this is a {type(spec).__name__}")
        reading = spec.reading
        if lock_of(pins.sources["python"].files) != reading.lock_sha256:
            raise InvalidInput(
                "uv.lock is not the file that was pinned",
                hint="build the recipe again from a folder in which nothing changes",
            )
        base = pins.images["base"]
        known = image_annotations.known(spec.name, base)
        labels = known | spec.labels
        code = placed("code", pins.sources["project"].files, "project", APP)
        extra = extra_layer(spec.extra_files, pins.sources)
        made = packages(reading.locked.wheels, spec.python, reading.indexes, spec.build_secrets, spec.folder)
        archives = {
            "packages.tar": (_told(reading),),
            **({"extra.tar": (extra,)} if extra else {}),
            "code.tar": (code,),
        }
        config = process_of(command_of(spec.entrypoint, spec.port), spec.env, spec.port, labels, reading.roots)
        return Plan(
            name=spec.name,
            base=base,
            platforms=spec.platforms_parsed,
            process=config,
            layers=(made, *((extra,) if extra else ()), code),
            annotations=image_annotations.published(spec.labels) | known,
            rendered=lambda: containerfile(
                spec.name, base, spec.python, spec.packages, config, labels, spec.secrets, archives
            ),
            archives=archives,
            images=(base,),
            runs=(f"apt-get install {' '.join(spec.packages)}",) if spec.packages else (),
            own_layers=True,
            network=True,
            secrets=spec.build_secrets,
        )

    def source(self, spec: Spec) -> tuple[str, str] | None:
        """The project's folder and where the image has it: what ``modelpack run`` mounts."""
        return (spec.project.path, f"/{APP}") if isinstance(spec, AgentSpec) else None

    def meant_for(self, spec: Spec) -> str | None:
        """A hosted deployment of OCI Generative AI."""
        return "oci-genai"

    def starter(self, name: str) -> Mapping[str, str]:
        """An agent that builds and answers as it is; raises InvalidInput where ``name`` cannot be an image's."""
        folder = resources("recipes.agent") / "starter"
        texts = {path: (folder / f"{path}.txt").read_text(encoding="utf-8") for path in _STARTER}
        return {path: text.replace("name: agent\n", f"name: {named(name)}\n") for path, text in texts.items()}


_STARTER = ("recipe.yaml", "agent.py", PROJECT, LOCK, ".containerignore", "README.md")


def _told(reading: Reading) -> PlannedLayer:
    """What the stage that makes the packages is told."""
    texts: Sequence[tuple[str, str]] = (
        ("requirements.txt", requirements(reading.locked.wheels)),
        (SETTLE, settle_program()),
        ("uv.toml", settings(reading.indexes)),
    )
    files = tuple(written(f"lock/{name}", text) for name, text in texts)
    return PlannedLayer("what is locked", (Entry("lock", 0o755, directory=True),), files)


agent = Agent()
