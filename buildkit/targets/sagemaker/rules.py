"""The rules of a container for SageMaker."""

from __future__ import annotations

from collections.abc import Iterator

from buildkit.checks.rule import ERROR, WARNING, Found, NotKnown, probed, rule
from buildkit.checks.subject import Subject
from buildkit.oci.files import Files
from buildkit.oci.manifest import DOCKER_MANIFEST, INDEXES
from buildkit.process import INIT
from buildkit.registry_hosts import ECR
from buildkit.targets.oci_data_science.rules import hidden_files
from buildkit.targets.reading import program, words
from buildkit.targets.sources import SAGEMAKER, SAGEMAKER_MEDIA, UNVERIFIED


@rule(
    "SM-01",
    "I",
    ERROR,
    "one manifest of Docker's form for linux/amd64 or linux/arm64: CreateModel refuses OCI manifests and any index",
    source=SAGEMAKER_MEDIA,
    do="name the target in the recipe, which then has Docker's manifest; by hand: --provenance=false --output type=docker",
)
def docker_manifest(subject: Subject) -> Iterator[Found]:
    """ "Unsupported manifest media type" is what CreateModel says."""
    platform = subject.config.platform
    if (platform.os, platform.architecture) not in (("linux", "amd64"), ("linux", "arm64")):
        yield Found("architecture", f"is {platform}")
    if not subject.image.exact:
        raise NotKnown("the image as it was pushed: an archive's media types are others")
    media_type = subject.image.top.media_type
    if media_type != DOCKER_MANIFEST:
        yield Found("the manifest", f"is {'an index, ' if media_type in INDEXES else ''}{media_type}")


PING = probed(
    "SM-02",
    ERROR,
    "GET /ping on port 8080 answers 200 within 2 s, and something else while the model loads",
    source=SAGEMAKER,
    do="serve GET /ping on 0.0.0.0:8080",
)
INVOCATIONS = probed(
    "SM-03",
    ERROR,
    "POST /invocations answers within 60 s; the connection is taken within 250 ms",
    source=SAGEMAKER,
    do="serve POST /invocations on 0.0.0.0:8080",
)


@rule(
    "SM-04",
    "I,F,P",
    ERROR,
    "started as 'docker run IMAGE serve': an ENTRYPOINT in exec form takes it, or a program 'serve' is on PATH",
    source=SAGEMAKER,
    do='write ENTRYPOINT ["python", "serve.py"], or put an executable serve on PATH',
)
def takes_serve(subject: Subject) -> Iterator[Found]:
    """CMD is replaced by ``serve``. A shell that is the entrypoint hears the signals in the server's place."""
    entrypoint = words(subject.process, "Entrypoint")
    if entrypoint == [INIT]:
        if program(_where_serve_may_be(subject), "serve", subject.process) is None:
            what = f"is {INIT}, which starts 'serve' in the place of the command, and PATH has no serve"
            yield Found("Entrypoint", what, "write serve: true in the recipe")
    elif not entrypoint and program(subject.all_files, "serve", subject.process) is None:
        yield Found("Entrypoint", "is empty, and PATH has no serve")
    elif entrypoint[:2] in (["/bin/sh", "-c"], ["sh", "-c"]) and not any("exec " in word for word in entrypoint):
        yield Found("Entrypoint", "is in shell form: SIGTERM does not reach the server", "use the exec form", WARNING)


def _where_serve_may_be(subject: Subject) -> Files:
    """All files; those that a recipe adds where it starts something else: a serve of the base is not what it means to start."""
    means_other = subject.given.plan is not None and words(subject.process, "Cmd")[:1] != ["serve"]
    return subject.known_files if means_other else subject.all_files


@rule("SM-05", "I", WARNING, "the container runs as root", source=SAGEMAKER, do="leave USER out")
def root(subject: Subject) -> Iterator[Found]:
    """Other targets want the opposite."""
    user = str(subject.process.get("User") or "")
    if user.partition(":")[0] not in ("", "0", "root"):
        yield Found("User", f"is {user}")


@rule(
    "SM-06",
    "F",
    ERROR,
    "nothing that is needed lies under /opt/ml/model: the model's archive is mounted over it",
    source=f"common knowledge; {UNVERIFIED}",
    do="put a model that comes with the image elsewhere",
)
def not_hidden(subject: Subject) -> Iterator[Found]:
    """Files of the image below the mount are never seen."""
    yield from hidden_files(subject, "opt/ml/model")


STARTS = probed(
    "SM-07",
    ERROR,
    "the first healthy /ping within 4 minutes",
    source=SAGEMAKER,
    do="load less, or set startup_seconds (ContainerStartupHealthCheckTimeoutInSeconds, 60 to 3600)",
)


@rule(
    "SM-08",
    "G",
    ERROR,
    "the image is in ECR, in the endpoint's region",
    source=f"common knowledge; {UNVERIFIED}",
    do="push it to ACCOUNT.dkr.ecr.REGION.amazonaws.com",
)
def in_ecr(subject: Subject) -> Iterator[Found]:
    """The region is compared where the target says one."""
    wanted = getattr(subject.settings, "region", None)
    for reference in subject.references:
        found = ECR.fullmatch(reference.host)
        if not found:
            yield Found(str(reference), f"is in {reference.host}")
        elif wanted and found["region"] != wanted:
            yield Found(str(reference), f"is in {found['region']}, and the endpoint in {wanted}")
