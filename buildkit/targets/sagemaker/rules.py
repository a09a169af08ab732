"""The rules of a container for SageMaker."""

from __future__ import annotations

from buildkit.check import ERROR, probed
from buildkit.targets.sources import SAGEMAKER

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
STARTS = probed(
    "SM-07",
    ERROR,
    "the first healthy /ping within 4 minutes",
    source=SAGEMAKER,
    do="load less, or set startup_seconds (ContainerStartupHealthCheckTimeoutInSeconds, 60 to 3600)",
)
