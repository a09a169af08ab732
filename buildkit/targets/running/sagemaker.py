"""SageMaker: ``docker run IMAGE serve``, /ping within two seconds, SIGTERM and thirty seconds."""

from __future__ import annotations

from typing import cast

from buildkit.probe.asked import Asked
from buildkit.probe.containers import Container, Mount
from buildkit.probe.server import Limit, Route, Sample, Server
from buildkit.probe.session import Probe
from buildkit.target_settings import SageMaker

_MODEL = "/opt/ml/model"
_START_SECONDS, _PING_SECONDS, _REPLY_SECONDS, _STOP_SECONDS = 240, 2, 60, 30


def sagemaker(asked: Asked) -> tuple[Probe, ...]:
    """A real-time endpoint."""
    settings = cast(SageMaker, asked.settings)
    return (
        Server(
            container=Container(
                "",
                arguments=("serve",),
                ports=(8080,),
                environment=settings.env,
                mounts=(Mount(asked.artifact, _MODEL),),
            ),
            start=Limit("SM-07", settings.startup_seconds or _START_SECONDS),
            stop=Limit("SM-04", _STOP_SECONDS),
            ready=Route("SM-02", "/ping", _PING_SECONDS),
            samples=asked.judged("SM-03", _REPLY_SECONDS, Sample("", "/invocations", 0)),
            early="SM-02",
            listens="SM-02",
            busy=Limit("SM-02", _PING_SECONDS),
            command="SM-04",
            hidden="SM-06",
        ),
    )
