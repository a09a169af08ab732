"""Vertex AI: routes and port come in AIP_ variables; here the routes are odd on purpose, so that nobody can guess them."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from buildkit.probe.asked import Asked
from buildkit.probe.containers import Container
from buildkit.probe.job import Unasked
from buildkit.probe.server import Limit, Route, Sample, Server
from buildkit.probe.session import Probe
from buildkit.target_settings import Vertex

_HEALTH, _PREDICT = "/odd-health", "/odd-predict"
_INSTANCES = b'{"instances": [{}], "parameters": {}}'
_START_SECONDS, _HEALTH_SECONDS, _PREDICT_SECONDS = 600, 10, 60
_CONNECT_SECONDS = 4 * 10
"""Four tries, ten seconds apart."""
_NO_STORAGE = "AIP_STORAGE_URI is empty here: what loads from gs:// can only be tried there"


def vertex(asked: Asked) -> tuple[Probe, ...]:
    """An endpoint with a custom container, version 1.0.0 of its contract."""
    settings = cast(Vertex, asked.settings)
    health, predict = settings.health or _HEALTH, settings.predict or _PREDICT
    injected = {
        "AIP_HTTP_PORT": "8080",
        "AIP_HEALTH_ROUTE": health,
        "AIP_PREDICT_ROUTE": predict,
        "AIP_STORAGE_URI": "",
        "AIP_MODE": "PREDICTION",
        "AIP_FRAMEWORK": "CUSTOM_CONTAINER",
    }
    default = Sample("", predict, 0, body=_INSTANCES)
    samples = asked.judged("VX-05", _PREDICT_SECONDS, default)
    return (
        Server(
            container=Container("", ports=(8080,), environment={**settings.env, **injected}),
            start=Limit("VX-04", _START_SECONDS),
            stop=Limit("UNI-08", 30),
            ready=Route("VX-04", health, _HEALTH_SECONDS),
            # A declared sample brings its body; the route is the one in the variable.
            samples=tuple(replace(sample, path=predict, prediction=True) for sample in samples),
            early="VX-04",
            listens="VX-02",
            connects=Limit("VX-03", _CONNECT_SECONDS),
            busy=Limit("VX-04", _HEALTH_SECONDS),
            stays="VX-02",
            command="VX-02",
            told_routes="VX-06",
        ),
        Unasked((("VX-08", _NO_STORAGE),)),
    )
