"""The rules of Azure Machine Learning."""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildkit.checks.rule import ERROR, WARNING, Found, NotKnown, probed, rule
from buildkit.checks.subject import Subject
from buildkit.registry_hosts import ACR
from buildkit.target_settings import AzureMl
from buildkit.targets.oci_data_science.rules import hidden_files
from buildkit.targets.reading import missing, program
from buildkit.targets.sources import AZURE, AZURE_V1, AZURE_V1_END, AZURE_YAML, UNVERIFIED

V1, V2 = ("v1",), ("v2",)
MOUNT = "var/azureml-app/azureml-models"
INFERENCE_KEYS = (
    "entryScript",
    "runtime",
    "condaFile",
    "extraDockerfileSteps",
    "sourceDirectory",
    "enableGpu",
    "baseImage",
    "baseImageRegistry",
)


@rule(
    "AZ1-01",
    "C,F",
    ERROR,
    "v1: the base is Ubuntu 16.04 or later",
    source=AZURE_V1,
    do="build FROM a supported ubuntu",
    modes=V1,
)
def ubuntu(subject: Subject) -> Iterator[Found]:
    """What /etc/os-release says."""
    said = _os_release(subject)
    version = re.match(r"(\d+)\.(\d+)", said.get("VERSION_ID", ""))
    if said.get("ID") != "ubuntu" or not version or (int(version[1]), int(version[2])) < (16, 4):
        yield Found("/etc/os-release", f"says {said.get('ID', 'nothing')} {said.get('VERSION_ID', '')}".strip())


def _os_release(subject: Subject) -> dict[str, str]:
    files = subject.all_files
    member = files.find("etc/os-release") or files.find("usr/lib/os-release")
    if member is None:
        return {}
    content = files.content(files.real(member))
    if content is None:
        raise NotKnown("the content of /etc/os-release")
    pairs = (line.partition("=") for line in content.decode("utf-8", "replace").splitlines())
    return {key.strip(): value.strip().strip("\"'") for key, _, value in pairs}


@rule(
    "AZ1-02",
    "F,P",
    ERROR,
    "v1: conda 4.5 or later is on PATH",
    source=AZURE_V1,
    do="install Miniconda, and put its bin folder on PATH",
    modes=V1,
)
def conda(subject: Subject) -> Iterator[Found]:
    """The version is told by the package's own record in conda-meta."""
    files = subject.all_files
    if missing(files, ("conda",), subject.process):
        yield Found("PATH", "has no conda")
        return
    version = _packaged(subject, "conda")
    if version and version < (4, 5):
        yield Found("conda", f"is {'.'.join(map(str, version))}")


def _packaged(subject: Subject, name: str) -> tuple[int, ...] | None:
    """The version of a package that conda keeps a record of."""
    shape = re.compile(rf"(?:.*/)?conda-meta/{name}-(\d+)\.(\d+)[^/]*\.json")
    found = [match for path in subject.all_files.merged if (match := shape.fullmatch(path))]
    return (int(found[0][1]), int(found[0][2])) if found else None


@rule(
    "AZ1-03",
    "F,P",
    WARNING,
    "v1: Python 3.6 or later (3.5 and 3.6, which it was made for, are out of support)",
    source=AZURE_V1,
    do="install a Python that is supported",
    modes=V1,
)
def python(subject: Subject) -> Iterator[Found]:
    """conda's record, or the version in the interpreter's own name."""
    files = subject.all_files
    if missing(files, ("python",), subject.process) and missing(files, ("python3",), subject.process):
        yield Found("PATH", "has no python")
        return
    member = program(files, "python", subject.process) or program(files, "python3", subject.process)
    named = re.search(r"python(\d+)\.(\d+)$", member.path if member else "")
    version = _packaged(subject, "python") or ((int(named[1]), int(named[2])) if named else None)
    if version and version < (3, 6):
        yield Found("python", f"is {'.'.join(map(str, version))}")


@rule(
    "AZ1-04",
    "D",
    ERROR,
    f"v1: inferenceconfig.json has these keys alone: {', '.join(INFERENCE_KEYS)}",
    source=AZURE_V1,
    do="remove the others",
    modes=V1,
)
def inference_keys(subject: Subject) -> Iterator[Found]:
    """Unknown keys are refused."""
    for key in subject.deployment.mapping():
        if key not in INFERENCE_KEYS:
            yield Found(key, "is not a key of inferenceconfig.json")


@rule(
    "AZ1-05",
    "G,D",
    ERROR,
    "v1: the image is in the workspace's own registry or public: the CLI cannot log in to another",
    source=AZURE_V1,
    do="push it to the workspace's Azure Container Registry",
    modes=V1,
)
def workspace_registry(subject: Subject) -> Iterator[Found]:
    """Whether a registry outside Azure is public cannot be told, so that it is a warning."""
    for reference in subject.references:
        if reference.host != "mcr.microsoft.com" and not ACR.fullmatch(reference.host):
            yield Found(str(reference), f"is in {reference.host}, and must be public there", "", WARNING)


@rule(
    "AZ1-06",
    "R",
    WARNING,
    "v1 is out of support: the CLI since September 2025, the SDK since June 2026",
    source=AZURE_V1_END,
    do="use the target azureml:v2",
    modes=V1,
)
def out_of_support(subject: Subject) -> Iterator[Found]:
    """Always."""
    yield Found("the target", "is azureml:v1")


@rule(
    "AZ2-01",
    "D",
    ERROR,
    "inference_config has liveness_route, readiness_route and scoring_route, each with port and path",
    source=AZURE,
    do="use 'modelpack deploy', which writes them from the target's settings",
    modes=V2,
)
def routes(subject: Subject) -> Iterator[Found]:
    """Without them the environment counts as one with the platform's own server; it may have a file of its own."""
    environment = subject.deployment["environment"]
    if isinstance(environment.content, str):
        raise NotKnown(f"the file of the environment {environment.content} (--deployment environment.yml)")
    config = (environment if environment.content else subject.deployment)["inference_config"]
    for name in ("liveness_route", "readiness_route", "scoring_route"):
        route = config[name]
        if not isinstance(route["port"].content, int) or not str(route["path"].content).startswith("/"):
            yield Found(f"inference_config.{name}", "lacks port or path")


ROUTES = probed(
    "AZ2-02",
    ERROR,
    "liveness answers 2xx once the process is up, readiness 200 once the model is loaded, scoring takes a POST",
    source=AZURE,
    do="serve the three routes that the recipe's target names",
    modes=V2,
)
IN_TIME = probed(
    "AZ2-03",
    WARNING,
    "probes are answered within 2 s (from 10 s on, every 10 s, 30 failures), requests within 5 s",
    source=AZURE_YAML,
    do="raise the probes' settings and request_timeout_ms (at most 180000) in the deployment",
    modes=V2,
)


@rule(
    "AZ2-04",
    "F",
    ERROR,
    "nothing that is needed lies where the model is mounted: /var/azureml-app/azureml-models or model_mount_path",
    source=AZURE,
    do="put it elsewhere in the image",
    modes=V2,
)
def not_hidden(subject: Subject) -> Iterator[Found]:
    """The folder of the recipe's target as well."""
    said = subject.settings
    yield from hidden_files(subject, MOUNT)
    if isinstance(said, AzureMl) and said.model_mount_path:
        yield from hidden_files(subject, said.model_mount_path.strip("/"))


@rule(
    "AZ2-05",
    "I",
    WARNING,
    "the image is for linux/amd64",
    source=f"the endpoints' machines; {UNVERIFIED}",
    do="build for platforms: [linux/amd64]",
    modes=V2,
)
def architecture(subject: Subject) -> Iterator[Found]:
    """Of the image that is looked at."""
    platform = subject.config.platform
    if (platform.os, platform.architecture) != ("linux", "amd64"):
        yield Found("architecture", f"is {platform}")
