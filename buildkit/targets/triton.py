"""The rules of a container that runs Triton."""

from __future__ import annotations

from buildkit.check import ERROR, probed
from buildkit.targets.sources import OCI_SAMPLES, TRITON

SERVES = probed(
    "TR-03",
    ERROR,
    "GET /v2/health/live and /v2/health/ready answer 200 on port 8000, and every model is ready",
    source=f"{TRITON}; {OCI_SAMPLES}",
    do="read the server's log: a model that does not load keeps it unready",
    modes=("triton",),
)
