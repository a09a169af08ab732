"""The kind ``triton``: what may be written in its recipe, and the image that is planned from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from buildkit import image_annotations
from buildkit.containerfiles.template import filled
from buildkit.errors import InvalidInput, Problem
from buildkit.inputs import all_refused
from buildkit.kinds import Read
from buildkit.oci.reference import Reference
from buildkit.pin import File, Inventory, Pins
from buildkit.placing import placed
from buildkit.plan import Plan
from buildkit.process import Environment, NumericUser, process, variables
from buildkit.reading.plain import Refusal, shown
from buildkit.spec import FolderRef, ImageRef, Plain, ProjectRef, RelativePath, SourceRef, Spec
from buildkit.start import named
from buildkit.targets.oci_data_science.facts import MOUNT, REPOSITORY
from buildkit.triton.judge import Repository, ensembles, faults, missing_steps
from buildkit.triton.repository import Files, models_of
from recipes.triton.inputs import Configs, Models, PythonPackage, argument, backend_name
from recipes.triton.layers import MODELS, layered, unfit
from recipes.triton.repository import DistantFiles, local_files

BASE = ImageRef("nvcr.io/nvidia/tritonserver:26.07-py3")
Variant = Literal["standalone", "oci-data-science", "kserve"]
MOUNTED: Mapping[str, str] = {
    "standalone": f"/{MODELS}",
    "oci-data-science": f"{MOUNT}/{REPOSITORY}",
    "kserve": "/mnt/models",
}
"""Where a platform mounts the repository: Oracle's samples, containers/Triton; KServe, config/runtimes/kserve-tritonserver.yaml."""
PORTS: Mapping[str, tuple[int, int, int]] = {"kserve": (8080, 9000, 8002)}
"""HTTP, gRPC and metrics where they are not Triton's own: KServe's runtime sets the first two."""
_OWN_PORTS = (8000, 8001, 8002)
PYTHON = "opt/modelpack/python"
"""Where extra packages of the Python backend lie: a folder of their own, so that the base's stay as they are."""


class TritonSpec(Spec):
    """A model repository, served by Triton."""

    kind: Literal["triton"] = Field(description="The kind of recipe.")
    base: ImageRef = Field(default=BASE, description="The Triton image that serves the models.")
    configs: Configs = Field(
        default_factory=dict,
        description="A config.pbtxt for each model named here, in the words of Triton's model configuration; the models' own are checked.",
    )
    backends: tuple[Annotated[str, AfterValidator(backend_name)], ...] = Field(
        default=(),
        description="Backends to keep, such as python and onnxruntime: the base's others are left out, and it becomes one layer.",
    )
    variant: Variant = Field(
        default="standalone",
        description="Where the repository is: standalone has it in the image; oci-data-science and kserve mount it.",
    )
    baked: bool | None = Field(
        default=None,
        description="Whether the models lie in the image, under /models. By default they do where the variant mounts none.",
    )
    models: Models = Field(
        default=(),
        description="A model repository: ./FOLDER, hf://ORG/NAME@REVISION, a mapping, or a list of them, laid together.",
        validate_default=True,
    )
    python_packages: tuple[PythonPackage, ...] = Field(
        default=(), description="Packages for the Python backend, NAME==VERSION, in a layer of their own."
    )
    requirements: RelativePath | None = Field(
        default=None, description="A requirements file for the same layer; with hashes every package is proven."
    )
    env: Environment = Field(default_factory=dict, description="Variables of the server's process.")
    user: NumericUser = Field(
        default="1000", description="The numeric user that serves: 1000 is triton-server in NVIDIA's images."
    )
    arguments: tuple[Annotated[Plain, AfterValidator(argument)], ...] = Field(
        default=(), description="More arguments of tritonserver, such as --log-verbose=1."
    )

    @field_validator("models")
    @classmethod
    def _models(cls, models: tuple[SourceRef, ...], info: ValidationInfo) -> tuple[SourceRef, ...]:
        """Judges models that lie beside the recipe: every fault is told with the recipe's own."""
        said = info.data
        wanted = said.get("baked")
        if not models and (wanted or (wanted is None and said.get("variant") == "standalone")):
            raise Refusal(
                "names no model repository, and the image would serve none", "write ./FOLDER or hf://ORG/NAME"
            )
        folder = (info.context or {}).get("folder")
        local = [local_files(one, Path(folder)) for one in models if folder and isinstance(one, FolderRef)]
        repositories = [files for files in local if files is not None]
        if len(repositories) == len(models) and {"configs", "backends"} <= said.keys():
            titles = [one.path for one in models if isinstance(one, FolderRef)]
            problems = judged(dict(zip(titles, repositories, strict=True)), said["configs"], said["backends"])
            if problems:
                told = [Refusal(f"{problem.where}: {problem.what}", problem.hint) for problem in problems]
                raise all_refused([((), refusal) for refusal in told])
        return models

    @property
    def has_models(self) -> bool:
        """Whether the models lie in the image."""
        return bool(self.models) and (self.variant == "standalone" if self.baked is None else self.baked)

    def sources(self) -> Iterator[tuple[str, SourceRef]]:
        """The repositories, and the requirements file."""
        if len(self.models) == 1:
            yield "models", self.models[0]
        else:
            yield from ((f"models.{number}", model) for number, model in enumerate(self.models))
        if self.requirements:
            yield "requirements", ProjectRef(path=".", include=(self.requirements,))


def judged(
    repositories: Mapping[str, Files], configs: Mapping[str, Any], backends: tuple[str, ...] = ()
) -> list[Problem]:
    """Everything that is wrong with repositories, by their titles, that are laid together; ``backends`` are all that is kept."""
    from buildkit.triton.config import of_mapping

    written = {name: of_mapping(name, mapping)[0] for name, mapping in configs.items()}
    all_of_them = [Repository(title, files, written, backends) for title, files in repositories.items()]
    problems = [problem for repository in all_of_them for problem in faults(repository)]
    places: dict[str, list[str]] = {}
    for repository in all_of_them:
        for name in models_of(repository.files.paths):
            places.setdefault(name, []).append(repository.title)
    twice = {name: titles for name, titles in places.items() if len(titles) > 1}
    problems += [Problem(titles[1], f"the model {shown(name)} is in {titles[0]} too") for name, titles in twice.items()]
    absent = [name for name in written if name not in places] if all_of_them else []
    problems += [
        Problem(f"configs.{name}", "there is no such model", f"there are {', '.join(places)}") for name in absent
    ]
    for repository in all_of_them:
        problems += missing_steps(ensembles(repository), places)
    return problems


class Triton:
    """Plans images that serve with Triton."""

    name = "triton"
    spec: type[Spec] = TritonSpec

    def judge(self, spec: Spec, pins: Pins, read: Read) -> None:
        """Looks into repositories that were pinned; one that lies beside the recipe was looked into when that was read."""
        written = _checked(spec)
        if all(isinstance(model, FolderRef) for model in written.models):
            return
        problems = judged(
            {_title(pins.sources[key]): _distant(pins.sources[key], key, read) for key in _models(written)},
            written.configs,
            written.backends,
        )
        if problems:
            count = f"{len(problems)} problems" if len(problems) > 1 else "a problem"
            raise InvalidInput(f"the models of {spec.name} have {count}", problems)

    def plan(self, spec: Spec, pins: Pins) -> Plan:
        """Decides layers, config, annotations and the Containerfile; asks nothing; raises InvalidInput."""
        written = _checked(spec)
        base = pins.images["base"]
        inventories = {key: pins.sources[key] for key in _models(written)}
        unfit(inventories)
        layers = layered(inventories, written.configs) if written.has_models else ()
        known = image_annotations.known(spec.name, base, *image_annotations.origin(inventories.values()))
        decided = _process(written, known | spec.labels)
        archives = {f"model-{number}.tar": (layer,) for number, layer in enumerate(layers, 1)}
        extra = bool(written.python_packages or written.requirements)
        listed = pins.sources.get("requirements")
        if listed:
            archives["requirements.tar"] = (placed("requirements", listed.files, "requirements", "requirements"),)
        return Plan(
            name=spec.name,
            base=base,
            platforms=spec.platforms_parsed,
            process=decided,
            layers=layers,
            annotations=image_annotations.published(spec.labels) | known,
            rendered=lambda: _containerfile(written, base.reference, decided, archives),
            archives=archives,
            images=(base,),
            blocked={"embedded": _PIP if extra else _KEPT} if extra or written.backends else {},
            own_layers=bool(
                extra or written.backends or not layers
            ),  # podman writes an empty layer where nothing is added
            network=extra,
            flat=bool(written.backends),
        )

    def meant_for(self, spec: Spec) -> str | None:
        """A model deployment of OCI Data Science with Triton; where KServe's Triton serves, any platform."""
        if isinstance(spec, TritonSpec) and spec.variant == "kserve":
            return None
        return "oci-data-science:triton"

    def starter(self, name: str) -> Mapping[str, str]:
        """A project to start from, with a model for the Python backend; raises InvalidInput for an unusable name."""
        from recipes.triton.starter import MODEL, RECIPE

        return {
            "recipe.yaml": RECIPE.replace("NAME", named(name)).replace("BASE", BASE),
            "models/double/1/model.py": MODEL,
        }


_PIP = "it installs Python packages for the Python backend, which has to run in the image; buildx and podman do"

_KEPT = "it leaves backends of the base out, which has to run in the base; buildx and podman do"


def _checked(spec: Spec) -> TritonSpec:
    if not isinstance(spec, TritonSpec):
        raise TypeError(f"a triton image is planned from a TritonSpec, and this is a {type(spec).__name__}")
    return spec


def _models(spec: TritonSpec) -> list[str]:
    return [key for key, _ in spec.sources() if key.startswith("models")]


def _title(inventory: Inventory) -> str:
    return inventory.name or "models"


def _distant(inventory: Inventory, key: str, read: Read) -> DistantFiles:
    def opened(file: File) -> bytes:
        return read(key, file)

    return DistantFiles({file.path: file for file in inventory.files}, opened)


def _process(spec: TritonSpec, labels: Mapping[str, str]) -> dict[str, Any]:
    """The base's entrypoint and folder stay: NVIDIA's entrypoint prepares the machine and then runs the command."""
    http, grpc, metrics = ports = PORTS.get(spec.variant, _OWN_PORTS)
    numbers = [f"--http-port={http}", f"--grpc-port={grpc}", f"--metrics-port={metrics}"] if ports != _OWN_PORTS else []
    repository = f"/{MODELS}" if spec.has_models else MOUNTED[spec.variant]
    decided = process(
        user=spec.user,
        folder="",
        environment={"HOME": "/tmp", "PYTHONDONTWRITEBYTECODE": "1", **spec.env},  # noqa: S108
        command=["tritonserver", f"--model-repository={repository}", *numbers, *spec.arguments],
        ports=ports,
        labels=labels,
    )
    return {key: value for key, value in decided.items() if key not in ("Entrypoint", "WorkingDir")}


def _containerfile(
    spec: TritonSpec, base: Reference, decided: Mapping[str, Any], archives: Mapping[str, object]
) -> str:
    return filled(
        "recipes.triton",
        name=spec.name,
        base=base,
        archives=[name for name in archives if name.startswith("model-")],
        packages=list(spec.python_packages),
        backends=list(spec.backends),
        requirements=spec.requirements,
        python=PYTHON,
        labels=decided["Labels"],
        env=list(variables(decided).items()),
        user=decided["User"],
        ports=[port.partition("/")[0] for port in decided["ExposedPorts"]],
        command=decided["Cmd"],
    )


triton = Triton()
