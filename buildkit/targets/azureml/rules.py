"""The rules of Azure Machine Learning."""

from __future__ import annotations

from buildkit.check import ERROR, WARNING, probed
from buildkit.targets.sources import AZURE, AZURE_YAML

ROUTES = probed(
    "AZ2-02",
    ERROR,
    "liveness answers 2xx once the process is up, readiness 200 once the model is loaded, scoring takes a POST",
    source=AZURE,
    do="serve the three routes that the recipe's target names",
    modes=("v2",),
)
IN_TIME = probed(
    "AZ2-03",
    WARNING,
    "probes are answered within 2 s (from 10 s on, every 10 s, 30 failures), requests within 5 s",
    source=AZURE_YAML,
    do="raise the probes' settings and request_timeout_ms (at most 180000) in the deployment",
    modes=("v2",),
)
