"""The rules of a custom container for Vertex AI."""

from __future__ import annotations

from collections.abc import Iterator

from buildkit.checks.rule import ERROR, WARNING, Found, probed, rule
from buildkit.checks.subject import Subject
from buildkit.registry_hosts import ARTIFACT_REGISTRY
from buildkit.targets.environment import reserved
from buildkit.targets.sources import VERTEX


@rule(
    "VX-01",
    "I,C,R",
    ERROR,
    "no variable that begins with AIP_",
    source=VERTEX,
    do="remove it: the platform sets these",
)
def not_reserved(subject: Subject) -> Iterator[Found]:
    """In the recipe, the Containerfile, the image and .env files in it."""
    yield from reserved(subject, r"AIP_.*", "set by the platform")


LISTENS = probed(
    "VX-02",
    ERROR,
    "listens on 0.0.0.0 at AIP_HTTP_PORT (8080 where it is not set) and runs on",
    source=VERTEX,
    do="read AIP_HTTP_PORT and bind 0.0.0.0",
)
ALIVE = probed(
    "VX-03", ERROR, "the port takes a connection within four tries 10 s apart", source=VERTEX, do="open the port early"
)
HEALTH = probed(
    "VX-04",
    ERROR,
    "GET on AIP_HEALTH_ROUTE answers exactly 200 within 10 s when ready",
    source=VERTEX,
    do="read AIP_HEALTH_ROUTE and answer 200 there",
)
PREDICT = probed(
    "VX-05",
    ERROR,
    'POST on AIP_PREDICT_ROUTE takes {"instances": [...]} and answers {"predictions": [...]} in the same order',
    source=VERTEX,
    do="read AIP_PREDICT_ROUTE and answer there, or deploy with invokeRoutePrefix",
)
ROUTES = probed(
    "VX-06",
    WARNING,
    "routes are read from the environment, not written into the code",
    source=VERTEX,
    do="read AIP_HEALTH_ROUTE and AIP_PREDICT_ROUTE",
)
_MULTIPLE = ("us", "europe", "asia")


@rule(
    "VX-07",
    "G",
    ERROR,
    "the image is in Artifact Registry, REGION-docker.pkg.dev/PROJECT/REPOSITORY/IMAGE, in the model's one region",
    source=VERTEX,
    do="push it to the Artifact Registry of the model's region, not of a multi-region",
)
def in_artifact_registry(subject: Subject) -> Iterator[Found]:
    """The region is compared where the target says one."""
    wanted = getattr(subject.settings, "region", None)
    for reference in subject.references:
        found = ARTIFACT_REGISTRY.fullmatch(reference.host)
        if not found:
            yield Found(str(reference), f"is in {reference.host}")
        elif found["region"] in _MULTIPLE:
            yield Found(str(reference), f"is in the multi-region {found['region']}")
        elif reference.repository.count("/") < 2:
            yield Found(str(reference), "does not name project, repository and image")
        elif wanted and found["region"] != wanted:
            yield Found(str(reference), f"is in {found['region']}, and the model in {wanted}")


STORAGE = probed(
    "VX-08",
    WARNING,
    "artefacts are loaded from AIP_STORAGE_URI where it is not empty",
    source=VERTEX,
    do="read AIP_STORAGE_URI, a gs:// address",
    beyond="what loads from gs:// can only be tried there",
)
