"""The rules of a custom container for Vertex AI."""

from __future__ import annotations

from buildkit.check import ERROR, WARNING, probed
from buildkit.targets.sources import VERTEX

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
STORAGE = probed(
    "VX-08",
    WARNING,
    "artefacts are loaded from AIP_STORAGE_URI where it is not empty",
    source=VERTEX,
    do="read AIP_STORAGE_URI, a gs:// address",
)
