"""The kind ``containerfile``: what may be written in its recipe, and the image that is planned from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, PrivateAttr, ValidationInfo, model_validator

from buildkit import image_annotations
from buildkit.containerfiles.instructions import replaced
from buildkit.containerfiles.template import labels as quoted_labels
from buildkit.errors import InvalidInput, Problem
from buildkit.inputs import Part, Plain, RelativePath
from buildkit.oci.reference import Platform, Reference
from buildkit.pin import Pins
from buildkit.placing import laid_out
from buildkit.plan import Plan, Secret
from buildkit.process import Environment
from buildkit.reading.plain import Refusal, shown
from buildkit.spec import FileRef, OneFile, Project, ProjectRef, SourceRef, Spec
from recipes.containerfile.project import Read, found, read_project
from recipes.containerfile.secrets import HINT, holds_secret, names_secret
from recipes.containerfile.starter import files as starter_files

_RESERVED = ("SOURCE_DATE_EPOCH", "BUILDKIT_")


def _arguments(arguments: Environment) -> Environment:
    for name, value in arguments.items():
        if names_secret(name) or holds_secret(value):
            raise Refusal(f"{shown(name)} is a secret, and a build argument is read by everybody", HINT)
        if name.upper().startswith(_RESERVED):
            raise Refusal(f"{shown(name)} steers the engine, and would build something else than what is locked")
    return arguments


class BuildSecret(Part):
    """Where a secret of the build is: in a variable of the environment, or in a file."""

    env: Plain | None = Field(default=None, description="The environment variable that holds it.")
    file: RelativePath | None = Field(default=None, description="The file that holds it, relative to the recipe.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise Refusal("must say 'env' or 'file', and not both")
        return self


class ContainerfileSpec(Spec):
    """A Containerfile of one's own, with its images pinned, built and locked as every other kind."""

    kind: Literal["containerfile"] = Field(description="The kind of recipe.")
    containerfile: OneFile | None = Field(
        default=None, description="The file; by default the context's Containerfile, then its Dockerfile."
    )
    context: Project = Field(
        default=ProjectRef(), description="The folder that it copies from; what its ignore file names is left out."
    )
    build_args: Annotated[Environment, AfterValidator(_arguments)] = Field(
        default_factory=dict, description="Values of its ARG lines. They stand in the image's history: no secrets."
    )
    secrets: dict[Plain, BuildSecret] = Field(
        default_factory=dict,
        description="Secrets that a RUN mounts by id: {ID: {env: VARIABLE}} or {ID: {file: PATH}}.",
    )
    target_stage: Plain | None = Field(
        default=None, description="The stage that is the image; by default the last one."
    )

    _read: Read | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _in_its_folder(self, info: ValidationInfo) -> Self:
        folder = (info.context or {}).get("folder")
        if folder is not None:
            path = found(folder, self.context.path, self.containerfile.path if self.containerfile else None)
            self._read = read_project(
                folder, path, self.platforms_parsed, self.build_args, self.build_secrets, self.target_stage or ""
            )
        return self

    @property
    def build_secrets(self) -> dict[str, Secret]:
        """The secrets by id."""
        return {id: Secret(id, one.env or "", one.file or "") for id, one in self.secrets.items()}

    @property
    def read(self) -> Read:
        """The Containerfile, as it was read when the recipe was; only a recipe that was loaded from its folder has one."""
        if self._read is None:
            raise InvalidInput("the Containerfile was not read", hint="load the recipe from its folder")
        return self._read

    def images(self) -> Iterator[tuple[str, Reference]]:
        """Every image that the Containerfile takes from outside: ``base``, and the others by their own names."""
        return iter(self._read.stages.images.items() if self._read else ())

    def platforms_of(self, key: str) -> frozenset[Platform]:
        """What an image must exist for: the recipe's platforms, or what its stage says."""
        return self.read.stages.platforms(key)

    def sources(self) -> Iterator[tuple[str, SourceRef]]:
        """The Containerfile itself, and the folder that it copies from."""
        if self._read:
            yield "containerfile", FileRef(path=self._read.path)
        yield "context", self.context


class Containerfile:
    """Plans images from Containerfiles that people write."""

    name = "containerfile"
    spec: type[Spec] = ContainerfileSpec

    def plan(self, spec: Spec, pins: Pins) -> Plan:
        """Decides which images stand in the Containerfile, and what it is given; raises InvalidInput."""
        if not isinstance(spec, ContainerfileSpec):
            raise TypeError(f"a Containerfile is planned from a ContainerfileSpec, and this is a {type(spec).__name__}")
        _refuse_secret_files(spec, pins)
        base = pins.images.get("base")
        known = image_annotations.known(spec.name, base)
        labels = known | spec.labels
        return Plan(
            name=spec.name,
            base=base,
            platforms=spec.platforms_parsed,
            process={"Labels": dict(sorted(labels.items()))},
            layers=(),
            annotations=image_annotations.published(spec.labels) | known,
            rendered=lambda: _pinned(spec.read, pins, labels),
            images=tuple({pin.reference: pin for pin in pins.images.values()}.values()),
            blocked={"embedded": "builds no Containerfile of one's own; buildx and podman do"},
            own_layers=True,
            network=spec.read.fetches,
            secrets=tuple(spec.build_secrets.values()),
            copied=laid_out("context", pins.sources["context"].files, "context"),
            build_args=spec.build_args,
        )

    def starter(self, name: str) -> Mapping[str, str]:
        """A project to start from; raises InvalidInput where ``name`` cannot be an image's."""
        return starter_files(name)


def _refuse_secret_files(spec: ContainerfileSpec, pins: Pins) -> None:
    """A secret that lies in the context is copied with it."""
    above = "" if spec.context.path == "." else f"{spec.context.path}/"
    inside = {f"{above}{file.path}" for file in pins.sources["context"].files}
    problems = [
        Problem(one.file, "is a secret, and would be copied into the image", "name it in .dockerignore")
        for one in spec.secrets.values()
        if one.file and one.file in inside
    ]
    if problems:
        raise InvalidInput("the context holds secrets", problems)


def _pinned(read: Read, pins: Pins, labels: Mapping[str, Any]) -> str:
    """The Containerfile up to its target, each image named by its digest, and our labels below."""
    keys = {reference: key for key, reference in read.stages.images.items()}
    changes = [
        (use.place.start, use.place.end, str(pins.images[keys[use.reference]].reference)) for use in read.stages.uses
    ]
    text = replaced(read.written.text[: read.stages.end], [*changes, *_without_frontend(read)])
    # A file with another escape character quotes otherwise; its labels are laid over the config alone.
    below = f"LABEL {quoted_labels(labels)}\n" if read.written.escape == "\\" else ""
    return text.rstrip("\n") + "\n" + below


def _without_frontend(read: Read) -> Iterator[tuple[int, int, str]]:
    """Takes ``# syntax=`` away: BuildKit would fetch that image, unpinned, and podman ignores it. Lines keep their numbers."""
    directives = read.written.directives
    kept = [read.written.text[one.start : one.end] for one in directives if one.name != "syntax"]
    if len(kept) < len(directives):
        yield directives[0].start, directives[-1].end, "\n".join([*kept, "# The engine reads this file by itself."])


containerfile = Containerfile()
