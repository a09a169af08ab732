"""OCI Generative AI, hosted deployment: a read-only root, /tmp in memory, variables of the platform, port 8080."""

from __future__ import annotations

from typing import cast

from buildkit.probe.asked import Asked
from buildkit.probe.asking import JSON
from buildkit.probe.containers import Container
from buildkit.probe.server import Limit, Route, Sample, Server
from buildkit.probe.session import Probe
from buildkit.target_settings import OciGenerativeAi

_PORT = 8080
_INJECTED = {
    "PORT": str(_PORT),
    "K_SERVICE": "x",
    "K_CONFIGURATION": "x",
    "K_REVISION": "x-1",
    "KUBERNETES_SERVICE_HOST": "10.0.0.1",
}
"""Variables that the platform reserves for itself, with values as Knative and Kubernetes give them."""
_START_SECONDS = 600
"""The platform publishes no limit for the start: this one is ours."""


def oci_genai(asked: Asked) -> tuple[Probe, ...]:
    """An agent behind HTTP."""
    settings = cast(OciGenerativeAi, asked.settings)
    return (
        Server(
            container=Container(
                "",
                ports=(_PORT,),
                environment={**settings.env, **_INJECTED},
                read_only=True,
                temporary=("/tmp",),  # noqa: S108 - a folder of the container
            ),
            start=Limit("OGH-03", _START_SECONDS),
            stop=Limit("UNI-08", 30),
            ready=Route("OGH-03", "/ready", 10, media_type=JSON),
            alive=Route("OGH-04", "/health", 10, media_type=JSON),
            samples=asked.judged("OGH-05", 60),
            guesses=Sample("OGH-05", "", 60),
            early="OGH-03",
            listens="OGH-02",
            streams="OGH-05",
            stays="OGH-13",
            read_only="OGH-07",
            command="OGH-13",
        ),
    )
