"""The rules of a custom image for ModelArts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildkit import registry_hosts
from buildkit.amounts import human
from buildkit.checks.document import Value
from buildkit.checks.rule import ERROR, NOTE, WARNING, Found, NotKnown, probed, rule
from buildkit.checks.subject import Subject
from buildkit.oci.manifest import DOCKER_MANIFEST, INDEXES, OCI_INDEX
from buildkit.target_settings import ModelArts
from buildkit.targets.oci_data_science.rules import too_large
from buildkit.targets.reading import GB, GIB, missing, words
from buildkit.targets.sources import MODELARTS, MODELARTS_SITES, OTC_IMAGE, OTC_MODELARTS, SWR, SWR_ISSUES

ONLINE, BATCH = ("online",), ("batch",)
_RUN = "home/run.sh"


@rule(
    "MA-01",
    "I",
    ERROR,
    "a plain manifest of Docker's form: SWR refuses an OCI image index",
    source=SWR_ISSUES,
    do="name the target in the recipe, which then has Docker's manifest; by hand: --provenance=false --output type=docker",
)
def docker_manifest(subject: Subject) -> Iterator[Found]:
    """An index is an error; a single OCI manifest seems to be taken, and is a warning."""
    if not subject.image.exact:
        raise NotKnown("the image as it was pushed: an archive's media types are others")
    media_type = subject.image.top.media_type
    if media_type in INDEXES:
        severity = ERROR if media_type == OCI_INDEX else WARNING
        yield Found("the manifest", f"is an index ({media_type})", "", severity)
    elif media_type != DOCKER_MANIFEST:
        yield Found("the manifest", f"is {media_type}, which SWR is only believed to take", "", WARNING)


@rule(
    "MA-02",
    "F,R",
    ERROR,
    "the image has at most 30 GB (10 or 50 at some sites: 'largest' of the target)",
    source=f"{MODELARTS}; {MODELARTS_SITES}",
    do="make the image smaller, or set 'largest' to what your site takes",
)
def size(subject: Subject) -> Iterator[Found]:
    """All layers uncompressed."""
    said = subject.settings
    yield from too_large(subject, said.largest if isinstance(said, ModelArts) else 30)


@rule(
    "MA-03",
    "I,G,R",
    ERROR,
    "no layer of more than 10 GB, and at most 20 layers",
    source=SWR,
    do="set max_layer_size: 10 GB; squash small layers",
)
def layers(subject: Subject) -> Iterator[Found]:
    """As the registry holds them; the number of layers is a warning."""
    image = subject.given.image
    sizes = (
        [layer.size for layer in image.manifest.layers] if image else [size or 0 for size in subject.known_files.sizes]
    )
    for number, amount in enumerate(sizes, 1):
        if amount > 10 * GB:
            severity = ERROR if amount > 10 * GIB else WARNING
            yield Found(f"layer {number}", f"has {human(amount)}", "", severity)
    if len(sizes) > 20:
        yield Found("the image", f"has {len(sizes)} layers", "", WARNING)


@rule(
    "MA-04",
    "G",
    ERROR,
    "the image is in SWR, SWR.REGION.DOMAIN/ORGANISATION/IMAGE:TAG, in the service's region",
    source=OTC_IMAGE,
    do="push it to swr.REGION.myhuaweicloud.com/ORGANISATION/IMAGE:TAG; keep it private, and not shared from elsewhere",
)
def in_swr(subject: Subject) -> Iterator[Found]:
    """With an organisation, and in the region of the target where that is said."""
    for reference in subject.references:
        wanted = getattr(subject.settings, "region", None)
        found = registry_hosts.SWR_ANYWHERE.fullmatch(reference.host)
        if not found:
            yield Found(str(reference), f"is in {reference.host}")
        elif reference.repository.count("/") < 1:
            yield Found(str(reference), "names no organisation before the image")
        elif wanted and found["region"] != wanted:
            yield Found(str(reference), f"is in {found['region']}, and the service in {wanted}")


PORT = probed(
    "MA-05",
    ERROR,
    "serves on the port and protocol of the container API: 8080 and HTTP where nothing else is set",
    source=f"{MODELARTS}; {OTC_IMAGE}",
    do="listen on 0.0.0.0:8080, or say port and protocol in the recipe's target",
    modes=ONLINE,
)
APIS = probed(
    "MA-06",
    ERROR,
    "every API of config.json answers on the running image, with nothing set up first",
    source=MODELARTS,
    do="serve the url and method of every entry of apis",
    kinds="P,D",
    modes=ONLINE,
)


@rule(
    "MA-07",
    "D,P",
    ERROR,
    "health is described, and GET on its path answers 200",
    source=f"{MODELARTS}; {OTC_MODELARTS}",
    do='serve GET /health with {"health": "true"}, and keep "health" in config.json',
    modes=ONLINE,
)
def health(subject: Subject) -> Iterator[Found]:
    """The deployment's half; the running image has the other."""
    described = subject.deployment["health"]
    if not str(described["url"].content).startswith("/"):
        yield Found("health", "has no url")
    elif numbers := [key for key, value in described.mapping().items() if not isinstance(value, str)]:
        yield Found(f"health.{numbers[0]}", "must be a text, also where it is a number")


LOGS = probed(
    "MA-08",
    WARNING,
    "logs go to standard output and standard error",
    source=MODELARTS,
    do="log to stdout, and to no file",
    modes=ONLINE,
)
_COMMANDS = (
    ["sh", _RUN],
    ["sh", f"/{_RUN}"],
    ["/bin/sh", f"/{_RUN}"],
    ["bash", f"/{_RUN}"],
    ["/bin/bash", f"/{_RUN}"],
    ["/bin/sh", "-c", f"/bin/sh /{_RUN}"],
    ["/bin/sh", "-c", f"sh /{_RUN}"],
)


@rule(
    "MA-09",
    "F,I",
    ERROR,
    "/home/run.sh is there and readable, CMD starts it, ENTRYPOINT is empty",
    source=f"{MODELARTS}; {OTC_IMAGE}",
    do='put the script at /home/run.sh, and write CMD ["sh", "/home/run.sh"]',
    modes=BATCH,
)
def run_script(subject: Subject) -> Iterator[Found]:
    """Both forms of CMD that the documents show."""
    if words(subject.process, "Entrypoint"):
        yield Found("Entrypoint", f"is {words(subject.process, 'Entrypoint')}", "write ENTRYPOINT []")
    if words(subject.process, "Cmd") not in _COMMANDS:
        yield Found("Cmd", f"is {words(subject.process, 'Cmd')}")
    files = subject.known_files
    member = files.find(_RUN)
    if member is None:
        _ = subject.all_files
        yield Found(f"/{_RUN}", "is not in the image")
    elif member.type == "directory" or not files.real(member).mode & 0o444 or not files.real(member).size:
        yield Found(f"/{_RUN}", f"is no readable file (mode {member.mode:04o}, {member.size} bytes)")


@rule(
    "MA-10",
    "F",
    ERROR,
    "python, java (a JRE or JDK) and zip are on PATH",
    source=MODELARTS,
    do="install them in the Containerfile; python is looked for by that very name",
    modes=BATCH,
)
def programs(subject: Subject) -> Iterator[Found]:
    """``python3`` alone is told, since a script may call it so."""
    files = subject.all_files
    lacking = missing(files, ("python", "java", "zip"), subject.process)
    if "python" in lacking and not missing(files, ("python3",), subject.process):
        lacking.remove("python")
        yield Found("PATH", "has python3 and no python", "link python to python3", WARNING)
    if lacking:
        yield Found("PATH", f"has no {', '.join(lacking)}")


HARMLESS = probed(
    "MA-11",
    NOTE,
    "the image holds no malicious code",
    source=MODELARTS,
    do="have a scanner for malicious code look at it",
    kinds="R",
    beyond="a scanner of your own can say so; modelpack scan looks for vulnerabilities alone",
)
ENDS = probed(
    "MA-12",
    WARNING,
    "after SIGTERM it serves on for about 60 s and has ended after 90 s",
    source=OTC_IMAGE,
    do="for gunicorn: --graceful-timeout 60 --keep-alive 200",
    modes=ONLINE,
)
LATENCY = probed(
    "MA-13",
    WARNING,
    "a request is answered within 60 s",
    source=MODELARTS_SITES,
    do="make the request smaller, or answer asynchronously",
    modes=ONLINE,
)


def algorithm(subject: Subject) -> str:
    """model_algorithm: of the deployment, else as the recipe says it, else after the recipe's name."""
    if subject.given.deployment is not None:
        return subject.deployment["model_algorithm"].text()
    said = subject.settings
    named = said.algorithm if isinstance(said, ModelArts) else None
    return named or algorithm_for(subject.recipe.spec.name)


_LONGEST_ALGORITHM = 36


def algorithm_for(name: str) -> str:
    """The model_algorithm of a recipe that says none: its short name, made to fit."""
    short = name.rpartition("/")[2]
    return (short if short[:1].isalpha() else f"m-{short}")[:_LONGEST_ALGORITHM]


@rule(
    "MA-14",
    "R,D",
    ERROR,
    "model_algorithm begins with a letter and has at most 36 characters, none of & ! ' \" < > =",
    source=OTC_MODELARTS,
    do="set 'algorithm' of the target",
)
def algorithm_name(subject: Subject) -> Iterator[Found]:
    """As it is said; what comes of the recipe's name always fits."""
    name = algorithm(subject)
    if not re.fullmatch(r"[A-Za-z][^&!'\"<>=]{0,35}", name):
        yield Found("model_algorithm", f"is {name!r}")


@rule(
    "MA-15",
    "D",
    ERROR,
    "config.json has no dependencies and no runtime: an image brings its own",
    source=OTC_MODELARTS,
    do="remove them",
)
def no_dependencies(subject: Subject) -> Iterator[Found]:
    """Keys that belong to other kinds of models."""
    for key in ("dependencies", "runtime"):
        if key in subject.deployment.mapping():
            yield Found(key, "is there")


@rule(
    "MA-16",
    "D",
    ERROR,
    "swr_location is there only where the model is imported from OBS",
    source=OTC_MODELARTS,
    do="remove it: the container image is chosen at the import",
)
def no_location(subject: Subject) -> Iterator[Found]:
    """modelpack writes config.json for the import of an image."""
    if "swr_location" in subject.deployment.mapping():
        yield Found("swr_location", "is there")


@rule(
    "MA-17",
    "D",
    ERROR,
    "every API says Content-type and data of request and response",
    source=OTC_MODELARTS,
    do="write apis with request and response into the target",
)
def described(subject: Subject) -> Iterator[Found]:
    """Mandatory for batch services; the types are application/json and multipart/form-data."""
    for api in list(subject.deployment["apis"]) or [Value({}, "apis[0]")]:
        for side in ("request", "response"):
            yield from _side(api[side], subject.mode)


def _side(body: Value, mode: str) -> Iterator[Found]:
    kind = body["Content-type"].content
    if kind is None or "data" not in body.mapping():
        severity = ERROR if mode == "batch" else WARNING
        yield Found(body.path, "lacks Content-type or data", "", severity)
    elif kind not in ("application/json", "multipart/form-data"):
        yield Found(f"{body.path}.Content-type", f"is {kind!r}")
