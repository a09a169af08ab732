"""Azure Machine Learning: v2 asks liveness and readiness every ten seconds; v1 builds on a base with conda."""

from __future__ import annotations

from typing import cast

from buildkit.probe.asked import Asked
from buildkit.probe.containers import Container, Mount
from buildkit.probe.job import Version
from buildkit.probe.server import Limit, Route, Sample, Server
from buildkit.probe.session import Probe
from buildkit.target_settings import AzureMl

_MODEL = "/var/azureml-app/azureml-models/model/1"
_START_SECONDS, _PROBE_SECONDS, _REQUEST_SECONDS = 10 + 30 * 10, 2, 5
"""The defaults of a deployment: initial delay, 30 failures 10 s apart; a probe's timeout; request_timeout_ms."""


def azureml_v2(asked: Asked) -> tuple[Probe, ...]:
    """A managed online endpoint."""
    settings = cast(AzureMl, asked.settings)
    mount = settings.model_mount_path or _MODEL
    return (
        Server(
            container=Container(
                "",
                ports=(settings.port,),
                environment={"AZUREML_MODEL_DIR": mount, **settings.env},
                mounts=(Mount(asked.artifact, mount),),
            ),
            start=Limit("AZ2-03", _START_SECONDS),
            stop=Limit("UNI-08", 30),
            ready=Route("AZ2-02", settings.readiness, _PROBE_SECONDS),
            command="AZ2-02",
            alive=Route("AZ2-02", settings.liveness, _PROBE_SECONDS, only_200=False),
            samples=asked.judged("AZ2-02", 60, Sample("", settings.scoring, 0)),
            early="AZ2-02",
            busy=Limit("AZ2-03", _PROBE_SECONDS),
            hidden="AZ2-04",
            latency="AZ2-03",
            latency_seconds=_REQUEST_SECONDS,
        ),
    )


def azureml_v1(asked: Asked) -> tuple[Probe, ...]:
    """The base image of an inferenceconfig.json."""
    return (Version("AZ1-02", "conda", (4, 5)), Version("AZ1-03", "python", (3, 6)))
