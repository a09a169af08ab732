"""The kind ``batch``: what may be written in its recipe, and the image that is planned from it.

What ModelArts asks of an image for batch inference: ``/home/run.sh`` as boot file, started by CMD, no ENTRYPOINT, logs on
standard output; Python, a JRE and zip (Huawei Cloud, "Specifications for Custom Images Used for Importing Models").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib.resources import files as resources
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from buildkit import image_annotations
from buildkit.containerfiles.template import filled
from buildkit.oci.reference import Reference
from buildkit.oci.tar import Entry
from buildkit.pin import File, Inventory, Pins
from buildkit.placing import placed, written
from buildkit.plan import Plan, PlannedFile, PlannedLayer
from buildkit.process import Environment, NumericUser, process, variables
from buildkit.reading.plain import Refusal, plain, shown
from buildkit.spec import FolderRef, ImageRef, Project, ProjectRef, RelativePath, SourceRef, Spec
from buildkit.start import named
from recipes.batch.boot import boot_problem

BASE = ImageRef("docker.io/library/python:3.12-slim")
DEBIAN = ("default-jre-headless", "zip")
"""What Docker's official Python images have not, and ModelArts asks for."""
COMMAND = ("/bin/sh", "/home/run.sh")
AUTHORITIES = "/etc/ssl/certs/java/cacerts"
"""Where Debian's package ca-certificates-java writes the store of authorities."""
CODE, MODEL, PYTHON = "home/app", "home/model", "opt/modelpack/python"
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+(?:=[\w.+:~-]+)?", re.ASCII)


def _package(text: str) -> str:
    if not _PACKAGE.fullmatch(plain(text)):
        raise Refusal(f"{shown(text)} is not a package of Debian", "write its name, or NAME=VERSION")
    return text


class BatchSpec(Spec):
    """A program that reads its input, writes its output, and ends."""

    python_inputs: ClassVar[frozenset[str]] = frozenset({"requirements"})

    kind: Literal["batch"] = Field(description="The kind of recipe.")
    base: ImageRef = Field(
        default=BASE, description="An image with Python; with Java and zip too where 'packages' is empty."
    )
    script: RelativePath = Field(
        default="run.sh",
        validate_default=True,
        description="The boot file, relative to the recipe: it becomes /home/run.sh and is run by /bin/sh.",
    )
    project: Project = Field(
        default=ProjectRef(path="."),
        description="The folder with the program, relative to the recipe: it lies in /home/app, where the boot file starts.",
    )
    model: SourceRef | None = Field(
        default=None, description="A model, laid under /home/model in a layer of its own; MODEL_DIR names it."
    )
    packages: tuple[Annotated[str, AfterValidator(_package)], ...] = Field(
        default=DEBIAN,
        description="Packages of Debian or Ubuntu to install; empty where the base has all that is needed.",
    )
    requirements: RelativePath | None = Field(
        default=None,
        description="A requirements file, relative to the recipe: its packages lie in a layer of their own.",
    )
    env: Environment = Field(default_factory=dict, description="Variables of the process.")
    user: NumericUser = Field(default="1000", description="The numeric user that the job runs as.")

    @field_validator("script")
    @classmethod
    def _script(cls, script: str, info: ValidationInfo) -> str:
        folder = (info.context or {}).get("folder")
        refusal = boot_problem(Path(folder) / script) if folder else None
        if refusal:
            raise refusal
        return script

    def sources(self) -> Iterator[tuple[str, SourceRef]]:
        """The program, its boot file, its requirements, and the model."""
        yield from super().sources()
        for key, path in (("script", self.script), ("requirements", self.requirements)):
            if path:
                yield key, ProjectRef(path=".", include=(path,))


class Batch:
    """Plans images for batch services."""

    name = "batch"
    spec: type[Spec] = BatchSpec

    def plan(self, spec: Spec, pins: Pins) -> Plan:
        """Decides layers, config, annotations and the Containerfile; asks nothing; raises InvalidInput."""
        if not isinstance(spec, BatchSpec):
            raise TypeError(f"a batch image is planned from a BatchSpec, and this is a {type(spec).__name__}")
        base = pins.images["base"]
        layers = tuple(_layers(spec, pins))
        model = pins.sources.get("model")
        known = image_annotations.known(spec.name, base, *image_annotations.origin([model] if model else []))
        decided = _process(spec, known | spec.labels)
        archives = {f"{layer.title.replace(' ', '-')}.tar": (layer,) for layer in layers}
        listed = pins.sources.get("requirements")
        added = list(archives)
        if listed:
            archives["requirements.tar"] = (placed("requirements", listed.files, "requirements", "requirements"),)
        if spec.packages:
            archives["tools.tar"] = (_tools(),)
        return Plan(
            name=spec.name,
            base=base,
            platforms=spec.platforms_parsed,
            process=decided,
            layers=layers,
            annotations=image_annotations.published(spec.labels) | known,
            rendered=lambda: _containerfile(spec, base.reference, decided, added),
            archives=archives,
            images=(base,),
            runs=tuple(_runs(spec)),
            own_layers=True,
            network=bool(spec.packages or listed),
        )

    def meant_for(self, spec: Spec) -> str | None:
        """A batch service of ModelArts."""
        return "modelarts:batch"

    def starter(self, name: str) -> Mapping[str, str]:
        """A project to start from; raises InvalidInput for an unusable name."""
        from recipes.batch.starter import IGNORED, PROGRAM, RECIPE, SCRIPT

        recipe = RECIPE.replace("NAME", named(name)).replace("BASE", BASE)
        return {"recipe.yaml": recipe, "run.sh": SCRIPT, "predict.py": PROGRAM, ".containerignore": IGNORED}


def _layers(spec: BatchSpec, pins: Pins) -> Iterator[PlannedLayer]:
    """What changes least comes first: the model, then the program with its boot file."""
    model = pins.sources.get("model")
    if model:
        yield placed("model", model.files, "model", MODEL)
    code = placed("code", _program(spec, pins.sources["project"]), "project", CODE)
    script = pins.sources["script"].files[0]
    boot = PlannedFile(Entry("home/run.sh", 0o755, script.size), "script", script)
    yield PlannedLayer("code", code.directories, (*code.files, boot))


def _tools() -> PlannedLayer:
    """What runs once behind the installation of packages, and is in no layer."""
    text = (resources("recipes.batch") / "keystore.py").read_text(encoding="utf-8")
    return PlannedLayer("tools", (Entry("tools", 0o755, directory=True),), (written("tools/keystore.py", text),))


def _program(spec: BatchSpec, project: Inventory) -> list[File]:
    """The files of the project without those of a model that lies in it: they have their own layer."""
    if not isinstance(spec.model, FolderRef):
        return list(project.files)
    inside = spec.model.path.removeprefix("./").rstrip("/") + "/"
    above = "" if spec.project.path == "." else f"{spec.project.path}/"
    return [file for file in project.files if not f"{above}{file.path}".startswith(inside)]


def _runs(spec: BatchSpec) -> Iterator[str]:
    if spec.packages:
        yield f"apt-get install {' '.join(spec.packages)} (a base that has them needs none: packages: [])"
    if spec.requirements:
        yield f"pip install --requirement {spec.requirements}"


def _process(spec: BatchSpec, labels: Mapping[str, str]) -> dict[str, Any]:
    ours = {"HOME": "/tmp", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}  # noqa: S108
    model = {"MODEL_DIR": f"/{MODEL}"} if spec.model else {}
    path = {"PYTHONPATH": f"/{PYTHON}"} if spec.requirements else {}
    return process(
        user=spec.user,
        folder=f"/{CODE}",
        environment={**ours, **model, **path, **spec.env},
        command=COMMAND,
        labels=labels,
    )


def _containerfile(spec: BatchSpec, base: Reference, decided: Mapping[str, Any], archives: list[str]) -> str:
    return filled(
        "recipes.batch",
        name=spec.name,
        base=base,
        archives=archives,
        packages=list(spec.packages),
        tools_key=_tools().key,
        authorities=AUTHORITIES,
        requirements=spec.requirements,
        python=PYTHON,
        labels=decided["Labels"],
        env=list(variables(decided).items()),
        folder=CODE,
        user=decided["User"],
        command=decided["Cmd"],
    )


batch = Batch()
