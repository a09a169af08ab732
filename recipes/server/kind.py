"""The kind ``server``: what may be written in its recipe, and the image that is planned from it."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping
from importlib.resources import files as resources
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, PrivateAttr, ValidationInfo, model_validator

from buildkit.inputs import FilesRef, FolderRef, ImageRef, Project, ProjectRef, RelativePath, SourceRef, all_refused
from buildkit.pin import Pins
from buildkit.plan import Plan
from buildkit.process import Command, Environment, Port
from buildkit.spec import Spec
from buildkit.start import named
from recipes.server import planned
from recipes.server.fields import CODE, MOUNTS, AbsolutePath, ModelPath, PackageName, ServerPort, User, within
from recipes.server.judged import refusals
from recipes.server.requirements import LOCK, PROJECT, Requirements, read
from recipes.server.routes import Routes

BASE = ImageRef("docker.io/library/python:3.11-slim")
BEHIND_ROUTES = 8000


class ServerSpec(Spec):
    """A model server as an image: any program that answers HTTP, with its packages, its code and its model."""

    python_inputs: ClassVar[frozenset[str]] = frozenset({"requirements"})

    kind: Literal["server"] = Field(description="The kind of recipe.")
    base: ImageRef = Field(
        default=BASE,
        description="The image under the server. With apt, dnf, microdnf or apk in it, curl and nginx are added where they lack.",
    )
    code: Project | None = Field(
        default=None, description="The folder with the program: it lies under /app, where the command is started."
    )
    requirements: RelativePath | None = Field(
        default=None,
        description="The Python packages: a requirements.txt that pip installs, or a uv.lock with the pyproject.toml beside it.",
    )
    packages: tuple[PackageName, ...] = Field(
        default=(), description="Packages of the base's distribution to install, such as libgomp1."
    )
    model: SourceRef | None = Field(
        default=None,
        description="A model that is a part of the image, instead of being mounted: hf://, a folder beside the recipe, or URLs.",
    )
    model_path: ModelPath = Field(default="/models", description="Where a model that is a part of the image lies.")
    layers: Literal["squashed", "per-file"] = Field(
        default="squashed",
        description="One layer for the model, or one for every file of 64 MiB and more and one for all the others.",
    )
    mount: AbsolutePath = Field(
        default=MOUNTS[0], description="Where the platform mounts the model, where it is not a part of the image."
    )
    command: Command | None = Field(
        default=None, description="What is started, in /app where there is code: a program and its arguments."
    )
    entrypoint: Command | None = Field(
        default=None, description="Words before the command that a platform's own command does not replace."
    )
    serve: bool = Field(
        default=False,
        description="The whole command stands in the ENTRYPOINT, and the argument 'serve' that SageMaker gives is ignored.",
    )
    init: bool = Field(
        default=True,
        description="A small first process starts the command and hands signals on: a program that handles none would not end.",
    )
    port: ServerPort = Field(default=8080, description="Where the container is asked: 1024 to 65535.")
    routes: Routes = Field(
        default_factory=dict,
        description="The platform's endpoints and the server's own: /predict: /v1/completions. An nginx maps them.",
    )
    server_port: Port | None = Field(
        default=None, description="Where the server itself listens, behind the routes; by default 8000."
    )
    drain: Annotated[int, Field(ge=0, le=3600)] = Field(
        default=20, description="With routes: seconds that requests under way have when the container is stopped."
    )
    env: Environment = Field(default_factory=dict, description="Variables of the process, for everybody to read.")
    user: User = Field(default="1001", description="The user by its number, UID or UID:GID; 0 is root.")
    curl: Literal["install", "base"] = Field(
        default="install",
        description="Whether curl is installed where the base has none, or the base is known to have it.",
    )

    _needed: Requirements | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _fits(self, info: ValidationInfo) -> Self:
        folder = (info.context or {}).get("folder") if isinstance(info.context, dict) else None
        if folder is not None and self.requirements:
            self._needed = read(Path(folder), self.requirements)
        found = list(refusals(self, Path(folder) if folder is not None else None))
        if found:
            raise all_refused(found)
        return self

    @property
    def words(self) -> tuple[str, ...]:
        """The whole command: the entrypoint's words and the command's."""
        return (*(self.entrypoint or ()), *(self.command or ()))

    @property
    def listens(self) -> int:
        """The port of the server itself."""
        return (self.server_port or BEHIND_ROUTES) if self.routes else self.port

    @property
    def needed(self) -> Requirements:
        """What the requirements say; where their folder was not read, the files alone."""
        if self._needed or not self.requirements:
            return self._needed or Requirements(())
        folder, _, name = self.requirements.rpartition("/")
        names = (LOCK, PROJECT) if name in (LOCK, PROJECT) else (name,)
        return Requirements(tuple(f"{folder}/{one}".lstrip("/") for one in names), locked=len(names) > 1)

    def sources(self) -> Iterator[tuple[str, SourceRef]]:
        """The code without the model that lies in its folder, the files of the requirements, and the model."""
        if self.code:
            yield "code", _without(self.code, self.model)
        if self.requirements:
            yield "requirements", FilesRef(files=self.needed.files)
        if self.model:
            yield "model", self.model


def _without(code: ProjectRef, model: SourceRef | None) -> ProjectRef:
    if not isinstance(model, FolderRef) or not (code.path == "." or within(model.path, code.path)):
        return code
    inside = model.path if code.path == "." else model.path[len(code.path) + 1 :]
    return code.model_copy(update={"exclude": (*code.exclude, f"{glob.escape(inside)}/*")}) if inside else code


class Server:
    """Plans servers."""

    name = "server"
    spec: type[Spec] = ServerSpec

    def plan(self, spec: Spec, pins: Pins) -> Plan:
        """Decides layers, config, annotations and the Containerfile; asks nothing; raises InvalidInput."""
        if not isinstance(spec, ServerSpec):
            raise TypeError(f"a server is planned from a ServerSpec, and this is a {type(spec).__name__}")
        return planned.plan(spec, pins)

    def source(self, spec: Spec) -> tuple[str, str] | None:
        """The code's folder and where the image has it: what ``modelpack run`` mounts."""
        return (spec.code.path, CODE) if isinstance(spec, ServerSpec) and spec.code else None

    def meant_for(self, spec: Spec) -> str | None:
        """A model deployment of OCI Data Science, whose rules are the strictest of those for servers."""
        return "oci-data-science"

    def starter(self, name: str) -> Mapping[str, str]:
        """A small server to start from; raises InvalidInput where ``name`` cannot be an image's."""
        folder = resources("recipes.server") / "starter"
        texts = {path: (folder / kept).read_text(encoding="utf-8") for path, kept in _STARTER.items()}
        return {**texts, "recipe.yaml": texts["recipe.yaml"].replace("NAME", named(name))}


_STARTER = {
    "recipe.yaml": "recipe.yaml",
    "app.py": "app.py.txt",
    "requirements.txt": "requirements.txt",
    "model/weights.json": "weights.json",
    ".containerignore": "containerignore",
}
"""The files of a new project, and under what names they are kept here: nothing in this folder is code of modelpack's."""

server = Server()
