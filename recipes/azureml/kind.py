"""The kind ``azureml``: what may be written in its recipe, and the image that is planned from it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from buildkit import image_annotations
from buildkit.containerfiles.template import filled
from buildkit.inputs import Plain, all_refused
from buildkit.oci.process import PATH
from buildkit.oci.reference import Reference
from buildkit.oci.tar import Entry
from buildkit.pin import File, Pins
from buildkit.placing import placed
from buildkit.plan import Plan, PlannedFile, PlannedLayer
from buildkit.process import Command, Environment, process
from buildkit.reading.plain import Refusal, shown
from buildkit.spec import FileRef, ImageRef, OneFile, Project, SourceRef, Spec, UrlsRef
from recipes.azureml import environment
from recipes.azureml.installer import DEFAULT, MACHINES, Installer
from recipes.azureml.routes import InferenceConfig
from recipes.azureml.starter import files as starter_files

BASE = ImageRef("docker.io/library/ubuntu:24.04")
RELEASES = {"v2": ("22.04", "24.04"), "v1": ("16.04", "18.04", "20.04", "22.04", "24.04")}
"""Ubuntu: what Canonical supports (v2), and what Azure ML v1 asked for: 16.04 or greater."""
_CODENAMES = {"xenial": "16.04", "bionic": "18.04", "focal": "20.04", "jammy": "22.04", "noble": "24.04"}
_OLDEST_PYTHON = {"v2": (3, 9), "v1": (3, 6)}
_PATH = f"/opt/env/bin:/opt/conda/condabin:{PATH}"
_APP = "app"


def _python(text: str) -> str:
    if not re.fullmatch(r"3\.\d{1,2}\.\d{1,2}", text, re.ASCII):
        raise Refusal(f"{shown(text)} is not a pinned Python", "write all three numbers, such as 3.12.8")
    return text


class AzureMlSpec(Spec):
    """A custom base image for Azure Machine Learning: Ubuntu with conda, a pinned Python, and a conda environment."""

    python_inputs: ClassVar[frozenset[str]] = frozenset({"conda_file"})

    kind: Literal["azureml"] = Field(description="The kind of recipe.")
    base: ImageRef = Field(default=BASE, description="An Ubuntu that is supported: 22.04 or 24.04.")
    variant: Literal["v2", "v1"] = Field(
        default="v2", description="v2: an environment. v1: a base image of the SDK and CLI that Azure supports no more."
    )
    installer: Installer = Field(
        default=DEFAULT,
        description="What installs conda, by architecture: {amd64: {url, sha256}}; Miniforge by default.",
    )
    python: Annotated[str, AfterValidator(_python)] = Field(
        default="3.12.8", description="The Python of the environment, with all three numbers."
    )
    conda_file: OneFile = Field(
        default=FileRef(path="conda.yaml"), description="The environment's packages, of conda and of pip."
    )
    code: Project | None = Field(
        default=None, description="A folder that becomes /app; what its ignore file names is left out."
    )
    command: Command | None = Field(default=None, description="The server's program and its arguments, one item each.")
    env: Environment = Field(default_factory=dict, description="Variables of the image; no secrets.")
    inference_config: InferenceConfig | None = Field(
        default=None, description="The routes of the server: liveness_route, readiness_route and scoring_route."
    )
    user: Annotated[Plain, Field(pattern=r"^\d{1,6}(:\d{1,6})?$")] | None = Field(
        default=None, description="A numeric user; by default 1001:0 for a server, and root where Azure builds on."
    )

    @model_validator(mode="after")
    def _fits(self, info: ValidationInfo) -> Self:
        for refuse in (self._release, self._old_python, self._architectures, self._served, self._contradicted):
            refuse()
        folder = (info.context or {}).get("folder")
        if folder is not None:
            environment.check(folder / self.conda_file.path, self.python)
        return self

    def _release(self) -> None:
        release = _release_of(Reference.parse(self.base)) if self.base != "scratch" else "none"
        if release and release not in RELEASES[self.variant]:
            known = " or ".join(RELEASES[self.variant])
            raise Refusal(f"the base {self.base} is no Ubuntu that {self.variant} takes", f"take ubuntu {known}")

    def _old_python(self) -> None:
        oldest = _OLDEST_PYTHON[self.variant]
        if tuple(map(int, self.python.split(".")[:2])) < oldest:
            raise Refusal(
                f"Python {self.python} is too old for {self.variant}", f"take {'.'.join(map(str, oldest))} or newer"
            )

    def _architectures(self) -> None:
        missing = [str(platform) for platform in self.platforms_parsed if self.installer.of(platform) is None]
        if missing:
            raise Refusal(
                f"the installer has no file for {', '.join(missing)}", "name its url and sha256 under 'installer'"
            )

    def _served(self) -> None:
        if self.variant == "v1" and (self.inference_config or self.command or self.code):
            raise Refusal("v1 builds its own server above the image", "remove inference_config, command and code")
        if (self.inference_config is None) != (self.command is None):
            raise Refusal(
                "needs both or none: inference_config and command", "a server's routes and its command belong together"
            )

    def _contradicted(self) -> None:
        found = list(self.inference_config.contradicted(self.targets)) if self.inference_config else []
        if found:
            raise all_refused(found)

    @property
    def port(self) -> int | None:
        """The port of the three routes; None for what Azure builds on."""
        return self.inference_config.scoring_route.port if self.inference_config else None

    def sources(self) -> Iterator[tuple[str, SourceRef]]:
        """The environment's file, the code, and an installer for each architecture."""
        yield from super().sources()
        for platform in self.platforms_parsed:
            download = self.installer.of(platform)
            assert download
            yield f"installer.{platform.architecture}", UrlsRef(urls=(download,))


def _release_of(reference: Reference) -> str:
    """The Ubuntu that a tag names; "" where it names none, and the build asks the image itself."""
    tag = reference.tag or ""
    name = reference.repository.rpartition("/")[2]
    if name != "ubuntu" and "ubuntu" not in tag:
        return ""
    number = re.search(r"(?<!\d)(\d\d\.\d\d)", tag.rpartition("ubuntu")[2] if "ubuntu" in tag else tag)
    return number[1] if number else _CODENAMES.get(tag.partition("-")[0], "")


class AzureMl:
    """Plans images for Azure ML."""

    name = "azureml"
    spec: type[Spec] = AzureMlSpec

    def plan(self, spec: Spec, pins: Pins) -> Plan:
        """Decides layers, config and the Containerfile; asks nothing; raises InvalidInput."""
        if not isinstance(spec, AzureMlSpec):
            raise TypeError(
                f"an image for Azure ML is planned from an AzureMlSpec, and this is a {type(spec).__name__}"
            )
        base = pins.images["base"]
        known = image_annotations.known(spec.name, base)
        labels = known | spec.labels
        code = placed("code", pins.sources["code"].files, "code", _APP) if spec.code else None
        decided = _process(spec, labels)
        return Plan(
            name=spec.name,
            base=base,
            platforms=spec.platforms_parsed,
            process=decided,
            layers=(),
            annotations=image_annotations.published(spec.labels) | known,
            rendered=lambda: _containerfile(spec, pins, labels),
            archives={
                "installer.tar": (_installers(spec, pins),),
                "environment.tar": (
                    _laid(pins.sources["conda_file"].files[0], "conda_file", "environment", "conda.yaml"),
                ),
                **({"code.tar": (code,)} if code else {}),
            },
            images=(base,),
            blocked={"embedded": "cannot install conda, which has to run in the image; buildx and podman do"},
            own_layers=True,
            network=True,
        )

    def meant_for(self, spec: Spec) -> str | None:
        """Azure ML, in the recipe's variant."""
        return f"azureml:{spec.variant}" if isinstance(spec, AzureMlSpec) else None

    def answers(self, spec: Spec, platform: str) -> Mapping[str, Any]:
        """The port and the paths of the three routes, in the words of the platform's settings."""
        if not isinstance(spec, AzureMlSpec) or spec.inference_config is None or platform != "azureml":
            return {}
        return {key: value for key, (_, value) in spec.inference_config.settings().items()}

    def starter(self, name: str) -> Mapping[str, str]:
        """A project to start from; raises InvalidInput where ``name`` cannot be an image's."""
        return starter_files(name)


def _installers(spec: AzureMlSpec, pins: Pins) -> PlannedLayer:
    """The installers under the names by which ``uname -m`` asks for them."""
    found = [
        _laid(
            pins.sources[f"installer.{platform.architecture}"].files[0],
            f"installer.{platform.architecture}",
            "installer",
            f"{MACHINES[platform.architecture]}.sh",
        )
        for platform in spec.platforms_parsed
    ]
    files = sorted((file for layer in found for file in layer.files), key=lambda file: file.entry.name)
    return PlannedLayer("installer", found[0].directories, tuple(files))


def _laid(file: File, source: str, folder: str, name: str) -> PlannedLayer:
    """One file of an input, under a name of ours."""
    planned = PlannedFile(Entry(f"{folder}/{name}", 0o644, file.size), source, file)
    return PlannedLayer(folder, (Entry(folder, 0o755, directory=True),), (planned,))


def _process(spec: AzureMlSpec, labels: Mapping[str, str]) -> dict[str, Any]:
    decided = process(
        user=_user(spec),
        folder=f"/{_APP}" if spec.code else "/",
        environment=_environment(spec),
        command=spec.command or (),
        ports=(spec.port,) if spec.port else (),
        labels=labels,
    )
    # What Azure builds on keeps the base's own command.
    return (
        decided if spec.command else {key: value for key, value in decided.items() if key not in ("Entrypoint", "Cmd")}
    )


def _user(spec: AzureMlSpec) -> str:
    return spec.user or ("1001:0" if spec.command else "0:0")


def _environment(spec: AzureMlSpec) -> dict[str, str]:
    home = {"HOME": "/tmp"} if spec.command else {}  # noqa: S108 - the one place that is writable under a read-only root
    return {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "PATH": _PATH, "PYTHONUNBUFFERED": "1", **home, **spec.env}


def _containerfile(spec: AzureMlSpec, pins: Pins, labels: Mapping[str, str]) -> str:
    decided = _process(spec, labels)
    ports = [port.partition("/")[0] for port in decided["ExposedPorts"]]
    return filled(
        "recipes.azureml",
        name=spec.name,
        base=pins.images["base"].reference,
        releases=RELEASES[spec.variant],
        told=" or ".join(RELEASES[spec.variant]),
        python=spec.python,
        pin=f"python =={spec.python}",
        version=f"Python {spec.python}",
        labels=labels,
        environment=dict(sorted(_environment(spec).items())),
        code=spec.code is not None,
        folder=decided["WorkingDir"],
        port=ports[0] if ports else None,
        user=_user(spec),
        command=list(spec.command or ()),
    )


azureml = AzureMl()
