"""OCI Data Science: the artefact mounted read-only, health asked by a curl inside the container, ten minutes to start."""

from __future__ import annotations

from typing import cast

from buildkit.probe.asked import Asked
from buildkit.probe.containers import Container, Mount
from buildkit.probe.server import Limit, Route, Sample, Server
from buildkit.probe.session import Probe
from buildkit.target_settings import OciDataScience
from buildkit.targets.oci_data_science.facts import MOUNT, REPOSITORY, TRITON_COMMAND

_START_SECONDS, _HEALTH_SECONDS, _PREDICT_SECONDS = 600, 3, 60
"""The service's HEALTHCHECK: start period and timeout. For a prediction no limit is published: a minute is ours."""


def oci_data_science(asked: Asked) -> tuple[Probe, ...]:
    """A server of one's own."""
    settings = cast(OciDataScience, asked.settings)
    health, health_port = settings.health_path or "/health", settings.health_port or settings.port
    predict = Sample("", settings.predict_path or "/predict", 0)
    return (
        Server(
            container=_container(asked, settings, (*settings.entrypoint, *settings.cmd)),
            start=Limit("ODS-14", _START_SECONDS),
            stop=Limit("UNI-08", 30),
            ready=Route("ODS-01", health, _HEALTH_SECONDS, port=health_port),
            samples=asked.judged("ODS-02", _PREDICT_SECONDS, predict),
            early="ODS-02",
            listens="ODS-05",
            busy=Limit("ODS-15", _HEALTH_SECONDS),
            command="ODS-07",
            hidden="ODS-16",
            inside=(("ODS-06", ("curl", "-f", "-s", "-o", "/dev/null", f"http://localhost:{health_port}{health}")),),
        ),
    )


def oci_data_science_triton(asked: Asked) -> tuple[Probe, ...]:
    """Triton, started as the samples of the service start it; with no repository to mount, as the image says itself."""
    settings = cast(OciDataScience, asked.settings)
    if "port" not in settings.model_fields_set:
        settings = settings.model_copy(update={"port": 8000})
    command = (*settings.entrypoint, *settings.cmd)
    if not command and (asked.artifact / REPOSITORY).is_dir():
        command = TRITON_COMMAND
    port = settings.port
    return (
        Server(
            container=_container(asked, settings, command, {"CONTAINER_TYPE": "TRITON"}),
            start=Limit("ODS-14", _START_SECONDS),
            stop=Limit("UNI-08", 30),
            ready=Route("TR-03", "/v2/health/ready", _HEALTH_SECONDS),
            alive=Route("TR-03", "/v2/health/live", _HEALTH_SECONDS),
            samples=asked.judged("TR-03", _PREDICT_SECONDS),
            listens="ODS-05",
            busy=Limit("ODS-15", _HEALTH_SECONDS),
            models="TR-03",
            command="ODS-07",
            hidden="ODS-16",
            inside=(("ODS-06", ("curl", "-f", "-s", "-o", "/dev/null", f"http://localhost:{port}/v2/health/ready")),),
        ),
    )


def _container(
    asked: Asked, settings: OciDataScience, command: tuple[str, ...], environment: dict[str, str] | None = None
) -> Container:
    return Container(
        "",
        arguments=command[1:] if settings.entrypoint else command,
        entrypoint=command[0] if settings.entrypoint else None,
        ports=tuple(dict.fromkeys((settings.port, settings.health_port or settings.port))),
        environment={**(environment or {}), **settings.env},
        mounts=(Mount(asked.artifact, MOUNT),),
    )
