"""ModelArts: a real-time service on port 8080 that goes on serving after SIGTERM, and a batch job that starts by itself."""

from __future__ import annotations

from typing import cast

from buildkit.probe.asked import Asked
from buildkit.probe.containers import Container
from buildkit.probe.job import Job, Programs
from buildkit.probe.server import Limit, Route, Sample, Server
from buildkit.probe.session import Probe
from buildkit.target_settings import ModelArts

_LATENCY_SECONDS = 60
_START_SECONDS = 600
"""ModelArts lets one set the start-up delay: ten minutes is this project's own patience."""
_EMPTY_FORM = b"--modelpack--\r\n"


def modelarts_online(asked: Asked) -> tuple[Probe, ...]:
    """A real-time service."""
    settings = cast(ModelArts, asked.settings)
    return (
        Server(
            container=Container("", ports=(settings.port,), environment=settings.env),
            start=Limit("MA-07", _START_SECONDS),
            stop=Limit("MA-12", 90),
            ready=Route("MA-07", settings.health, 3),
            command="MA-05",
            samples=asked.judged("MA-06", _LATENCY_SECONDS) or _apis(settings),
            guesses=Sample("MA-06", "", _LATENCY_SECONDS),
            early="MA-06",
            listens="MA-05",
            logs="MA-08",
            latency="MA-13",
            without_sample="write the apis into the recipe's target, or give --sample POST:/PATH",
        ),
    )


def modelarts_batch(asked: Asked) -> tuple[Probe, ...]:
    """A batch service: no command is given, /home/run.sh runs, and Python, Java and zip are there."""
    return (Job("MA-09", "/home/run.sh"), Programs("MA-10", ("python", "java", "zip")))


def _apis(settings: ModelArts) -> tuple[Sample, ...]:
    """The APIs that the recipe declares, asked with an empty body of their content type: only that they answer is known."""
    if "apis" not in settings.model_fields_set:
        return ()
    return tuple(
        Sample("MA-06", api.url, _LATENCY_SECONDS, api.method.upper(), *_empty(api.request.content_type))
        for api in settings.apis
    )


def _empty(content_type: str) -> tuple[str, bytes]:
    if content_type == "multipart/form-data":
        return f"{content_type}; boundary=modelpack", _EMPTY_FORM
    return content_type, b"{}"
