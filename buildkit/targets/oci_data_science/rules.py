"""The rules of a model deployment with a container of one's own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from buildkit.amounts import human
from buildkit.checks.document import Value
from buildkit.checks.rule import ERROR, NOTE, WARNING, Found, NotKnown, probed, rule
from buildkit.checks.subject import Subject
from buildkit.oci.manifest import INDEXES
from buildkit.process import variables
from buildkit.registry_hosts import ocir_region, oracle_region
from buildkit.target_settings import OciDataScience
from buildkit.targets.environment import said
from buildkit.targets.oci_data_science.facts import MOUNT
from buildkit.targets.reading import (
    GB,
    GIB,
    command,
    may_run,
    ports_asked,
    program,
    shown_few,
    started,
    uncompressed_size,
)
from buildkit.targets.server import port_of
from buildkit.targets.sources import BYOC, BYOC_VARIABLES, OCI_SAMPLES, OCI_SDK, OCIR, UNVERIFIED

OWN, TRITON = ("",), ("triton",)
"""The mode of a server of one's own; Triton has its own endpoints."""
TAKEN = (24224, 8446, 8447)
RESERVED = ("MODEL_DEPLOYMENT_OCID", "MODEL_SERVING_PYTHON_VERSION", "TENANCY_OCID", "CONTAINER_CUSTOM_IMAGE")
SERVICE = (
    "WEB_CONCURRENCY",
    "STORAGE_SIZE_IN_GB",
    "SHM_SIZE",
    "CONTAINER_TYPE",
    "MODEL_DEPLOY_PREDICT_ENDPOINT",
    "MODEL_DEPLOY_HEALTH_ENDPOINT",
)
LONGEST = 2048
"""Bytes that entrypoint and command, and all variables, must stay under."""

HEALTH = probed(
    "ODS-01",
    ERROR,
    "GET /health on the health port answers 200",
    source=f"{BYOC}; {OCI_SAMPLES}",
    do="serve GET /health, or set health_path (MODEL_DEPLOY_HEALTH_ENDPOINT)",
    modes=OWN,
)
PREDICT = probed(
    "ODS-02",
    ERROR,
    "POST /predict answers 2xx on the declared sample, and never with a redirect to /predict/",
    source=f"{BYOC}; {OCI_SAMPLES}",
    do="serve POST /predict without a slash at its end, or set predict_path, predict_api or endpoints",
    modes=OWN,
)


def ports(subject: Subject) -> dict[str, int]:
    """serverPort and healthCheckPort, by those names."""
    said_here = subject.settings
    if not isinstance(said_here, OciDataScience):
        return {}
    server = port_of(subject)
    return {"serverPort": server, "healthCheckPort": server if said_here.health_port is None else said_here.health_port}


def _environment(subject: Subject) -> Value:
    return subject.deployment.at("modelDeploymentConfigurationDetails.environmentConfigurationDetails")


def _command(subject: Subject) -> tuple[list[str], list[str]]:
    """Entrypoint and command that will run: the deployment's, else the recipe's, else the image's."""
    if subject.given.deployment is None:
        return command(subject)
    said_here = _environment(subject)
    entrypoint, cmd = ([word.text() for word in said_here[key]] for key in ("entrypoint", "cmd"))
    return started(subject, entrypoint, cmd)


@rule(
    "ODS-03",
    "R,D",
    ERROR,
    "serverPort and healthCheckPort lie in 1024..65535, and are not 24224, 8446 or 8447",
    source=f"{BYOC}; {OCI_SDK}",
    do="set port and health_port of the target to such numbers; 8080 is the default",
)
def allowed_ports(subject: Subject) -> Iterator[Found]:
    """Of the recipe, or of the deployment."""
    here: dict[str, Any] = dict(ports(subject))
    if subject.given.deployment is not None:
        written = _environment(subject).mapping()
        here = {key: written[key] for key in here if key in written}
    for name, port in here.items():
        if not isinstance(port, int) or not 1024 <= port <= 65535 or port in TAKEN:
            yield Found(name, f"is {port}")


@rule(
    "ODS-04",
    "R,I",
    WARNING,
    "a port that the command or PORT names is the serverPort",
    source="follows from ODS-03: the guide's own JSON says 5454 and starts its server on 5000",
    do="say the server's port as 'port' of the target, or change the command",
)
def same_port(subject: Subject) -> Iterator[Found]:
    """--port N, --port=N, -b HOST:N, PORT=N."""
    named = ports_asked(subject, {**variables(subject.process), **said(subject)})
    wanted = ports(subject).get("serverPort", 8080)
    if named and wanted not in named and subject.mode == "":
        yield Found("Entrypoint and Cmd", f"say {', '.join(named.values())}, and serverPort is {wanted}")


BINDS = probed(
    "ODS-05", ERROR, "the server listens on 0.0.0.0, not on 127.0.0.1", source=BYOC, do="bind the server to 0.0.0.0"
)


@rule(
    "ODS-06",
    "F,P",
    ERROR,
    "curl is on PATH, and the image's user may execute it: the service's health check calls it",
    source=BYOC,
    do="install curl in the Containerfile: RUN microdnf install -y curl, or apt-get install -y curl",
)
def curl(subject: Subject) -> Iterator[Found]:
    """On the image's own PATH, links followed."""
    files = subject.all_files
    found = program(files, "curl", subject.process)
    user = str(subject.process.get("User") or "")
    if found is None:
        yield Found("PATH", "has no curl")
    elif not may_run(files, found, user):
        yield Found(
            f"/{found.path}", f"may not be executed by {user or 'root'} (mode {found.mode:04o})", "chmod 755 it"
        )


@rule(
    "ODS-07",
    "I,D",
    ERROR,
    "ENTRYPOINT or CMD is set in the image or in the deployment",
    source=BYOC,
    do="write CMD into the Containerfile, or entrypoint or cmd into the target",
)
def starts(subject: Subject) -> Iterator[Found]:
    """What starts the server."""
    if not any(_command(subject)) and subject.mode == "":
        yield Found("Entrypoint and Cmd", "are empty")


@rule(
    "ODS-08",
    "I,D",
    ERROR,
    "ENTRYPOINT and CMD have less than 2048 bytes together",
    source=f"{BYOC}; {OCI_SDK}",
    do="move arguments into a file of the image or of the model artefact",
)
def short(subject: Subject) -> Iterator[Found]:
    """The bytes of all words."""
    size = sum(len(word.encode()) for words in _command(subject) for word in words)
    if size >= LONGEST:
        yield Found("Entrypoint and Cmd", f"have {size} bytes")


@rule(
    "ODS-09",
    "F,R",
    ERROR,
    "the image has at most 16 GB uncompressed",
    source=f"{BYOC}; {OCI_SAMPLES} (more with STORAGE_SIZE_IN_GB)",
    do="put the model into the model artefact, or set STORAGE_SIZE_IN_GB in the target's env",
)
def size(subject: Subject) -> Iterator[Found]:
    """GB is told as a warning, GiB as an error; with more storage asked for it is a warning."""
    yield from too_large(subject, 16, relaxed="STORAGE_SIZE_IN_GB" in said(subject))


def too_large(subject: Subject, limit: int, *, relaxed: bool = False) -> Iterator[Found]:
    """An image of more than ``limit`` GB: a warning, above as many GiB an error. What is known so far may be enough."""
    total, exact = uncompressed_size(subject)
    if total > limit * GB:
        severity = WARNING if relaxed or total <= limit * GIB else ERROR
        yield Found(
            "the image", f"has {'' if exact else 'at least '}{human(total)}, and may have {limit} GB", "", severity
        )
    elif not exact:
        raise NotKnown("the size of every layer")


@rule(
    "ODS-10",
    "G",
    ERROR,
    "the image is in OCI Registry: REGION.ocir.io/NAMESPACE/REPOSITORY:TAG",
    source=f"{BYOC}; {OCIR}; whether ocir.REGION.oci.oraclecloud.com is taken too is {UNVERIFIED}",
    do="push it to the OCIR of the deployment's region",
)
def in_ocir(subject: Subject) -> Iterator[Found]:
    """No other registry is pulled from."""
    yield from not_ocir(subject)


def not_ocir(subject: Subject) -> Iterator[Found]:
    """References that are not in OCIR, or lack the tenancy's namespace."""
    for reference in subject.references:
        if ocir_region(reference.host) is None:
            yield Found(str(reference), f"is in {reference.host}")
        elif "/" not in reference.repository:
            yield Found(str(reference), "names no namespace before the repository")


@rule(
    "ODS-11",
    "G,D",
    ERROR,
    "the registry is in the region of the deployment: nothing is pulled across regions",
    source=BYOC,
    do="push it to that region's OCIR too, or set 'region' of the target",
)
def same_region(subject: Subject) -> Iterator[Found]:
    """Judged where the target says its region."""
    wanted = getattr(subject.settings, "region", None)
    if not wanted:
        raise NotKnown("the region of the deployment ('region' of the target)")
    for reference in subject.references:
        where = ocir_region(reference.host)
        if where and where != oracle_region(wanted):
            yield Found(str(reference), f"is in {where}, and the deployment in {oracle_region(wanted)}")


@rule(
    "ODS-12",
    "D",
    WARNING,
    "imageDigest is given with the image",
    source=BYOC,
    do="use 'modelpack deploy', which takes the digest from the lock",
)
def digest(subject: Subject) -> Iterator[Found]:
    """sha256: and 64 digits, the same as in the reference where that has one."""
    here = _environment(subject)
    given = here["imageDigest"].text()
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", given):
        yield Found("imageDigest", f"is {given!r}" if given else "is not there")
    named = here["image"].text().partition("@")[2]
    if named and given and named != given:
        yield Found("imageDigest", "is another one than the image's own")


@rule(
    "ODS-13", "I", NOTE, "a HEALTHCHECK of the image is replaced by the service's own", source=BYOC, do="leave it out"
)
def own_health_check(subject: Subject) -> Iterator[Found]:
    """It does no harm."""
    if subject.process.get("Healthcheck"):
        yield Found("Healthcheck", "is set, and will be replaced")


IN_TIME = probed(
    "ODS-14",
    ERROR,
    "healthy within 600 s of its start (then every 30 s, 3 s each, 3 tries)",
    source=BYOC,
    do="load less at the start, or load the model from the artefact in parallel",
)
WHILE_BUSY = probed(
    "ODS-15",
    WARNING,
    "/health answers within 3 s also while /predict is busy",
    source="follows from ODS-14",
    do="give the server a second worker or thread",
)


@rule(
    "ODS-16",
    "F,P",
    ERROR,
    "nothing that is needed lies under /opt/ds/model/deployed_model: the artefact is mounted over it, read-only",
    source=BYOC,
    do="put it elsewhere in the image, or into the model artefact",
)
def not_hidden(subject: Subject) -> Iterator[Found]:
    """Files of the image below the mount are never seen."""
    yield from hidden_files(subject, MOUNT.lstrip("/"))


def hidden_files(subject: Subject, mount: str) -> Iterator[Found]:
    """Files that a mount of the platform hides."""
    files = subject.files_under(mount)
    hidden = [f"/{member.path}" for member in files.under(mount) if member.type != "directory"]
    if hidden:
        yield Found(shown_few(hidden), f"would be hidden by what is mounted at /{mount}")


_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,29}[A-Za-z0-9]")


def _variables(subject: Subject) -> Mapping[str, object]:
    if subject.given.deployment is not None:
        return _environment(subject)["environmentVariables"].mapping()
    return said(subject)


@rule(
    "ODS-17",
    "R,D",
    ERROR,
    "variables have names of 2 to 31 letters, digits and '_', beginning with a letter and not ending in '_'",
    source=f"{BYOC_VARIABLES}; {OCI_SDK}",
    do="rename it",
)
def names(subject: Subject) -> Iterator[Found]:
    """Of the target's env."""
    for name in _variables(subject):
        if not _KEY.fullmatch(name):
            yield Found(f"env {name}", "is not a name that the service takes")


@rule(
    "ODS-18",
    "R,D",
    ERROR,
    "names and values of all variables have less than 2048 bytes together",
    source=BYOC_VARIABLES,
    do="put them into a file of the image or of the model artefact",
)
def small_environment(subject: Subject) -> Iterator[Found]:
    """Names and values, without the signs between them."""
    amount = sum(len(f"{name}{value}".encode()) for name, value in _variables(subject).items())
    if amount >= LONGEST:
        yield Found("env", f"has {amount} bytes")


@rule(
    "ODS-19",
    "R,D",
    ERROR,
    f"no variable that the service keeps for itself: {', '.join(RESERVED)}",
    source=BYOC_VARIABLES,
    do="remove it",
)
def not_reserved(subject: Subject) -> Iterator[Found]:
    """Of the target's env."""
    for name in sorted(set(_variables(subject)) & set(RESERVED)):
        yield Found(f"env {name}", "is kept by the service")


@rule(
    "ODS-20",
    "R,D",
    NOTE,
    f"variables that the service reads: {', '.join(SERVICE)}",
    source=f"{BYOC_VARIABLES}; {OCI_SAMPLES}",
)
def service_variables(subject: Subject) -> Iterator[Found]:
    """They are allowed, and change how the service treats the container; that of Triton is what its deployment is about."""
    variables = _variables(subject)
    for name in sorted(set(variables) & set(SERVICE)):
        if (name, variables[name]) != ("CONTAINER_TYPE", "TRITON"):
            yield Found(f"env {name}", "is read by the service itself")


@rule(
    "ODS-21",
    "D",
    ERROR,
    'nothing is passed as "", {} or []: an update would clear what is there',
    source=BYOC,
    do="leave the field out, or pass null",
)
def nothing_empty(subject: Subject) -> Iterator[Found]:
    """Wherever it stands in the document."""
    for path, value in _leaves(subject.deployment.content, ""):
        if value == "" or (isinstance(value, list | Mapping) and not value):
            is_variable = ".environmentVariables." in path
            yield Found(
                path, f"is {value!r}", "give the variable a value, or take it out of 'env'" if is_variable else ""
            )


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{index}]")
    else:
        yield path, value


STATELESS = probed(
    "ODS-22",
    WARNING,
    "the server is stateless: the same request has the same answer after a restart",
    source=BYOC,
    do="keep what must last in a database or in Object Storage",
    beyond="two answers may differ in a stateless server, and be the same in another",
)


@rule(
    "ODS-23",
    "I",
    WARNING,
    "one image, for linux/amd64",
    source=f"the shapes of the service; {UNVERIFIED} in its guide",
    do="build for platforms: [linux/amd64] alone",
)
def single(subject: Subject) -> Iterator[Found]:
    """An index is probably taken, and nobody says so."""
    platform = subject.config.platform
    if (platform.os, platform.architecture) != ("linux", "amd64"):
        yield Found("architecture", f"is {platform}")
    if subject.given.image and subject.image.exact and subject.image.top.media_type in INDEXES:
        yield Found("the manifest", "is an index of several images")
