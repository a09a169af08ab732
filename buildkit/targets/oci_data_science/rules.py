"""The rules of a model deployment with a container of one's own."""

from __future__ import annotations

from buildkit.check import ERROR, WARNING, probed
from buildkit.targets.sources import BYOC, OCI_SAMPLES

OWN = ("",)
"""The mode of a server of one's own; Triton has its own endpoints."""

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
BINDS = probed(
    "ODS-05", ERROR, "the server listens on 0.0.0.0, not on 127.0.0.1", source=BYOC, do="bind the server to 0.0.0.0"
)
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
STATELESS = probed(
    "ODS-22", WARNING, "the server is stateless: the same request has the same answer after a restart", source=BYOC
)
