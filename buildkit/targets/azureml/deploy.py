"""Azure Machine Learning: environment, endpoint and deployment of v2; inferenceconfig.json of v1."""

from __future__ import annotations

from typing import Any

from buildkit.deployment import Order, Piece, without_empty
from buildkit.target_settings import AzureMl

_SCHEMAS = "https://azuremlschemas.azureedge.net/latest/"


def v2(order: Order) -> list[Piece]:
    """YAML for ``az ml``; the environment holds the image by its digest and the three routes."""
    said = _said(order)
    environment = {
        "name": order.label,
        "version": order.digest.hex[:12],
        "image": order.pinned,
        "inference_config": {
            "liveness_route": _route(said, said.liveness),
            "readiness_route": _route(said, said.readiness),
            "scoring_route": _route(said, said.scoring),
        },
    }
    # Three to 32 characters, of which the last is none of '-' (az ml: endpoint names).
    endpoint = said.endpoint or (order.label if len(order.label) > 2 else f"{order.label}-model")[:32].strip("-")
    deployment = without_empty(
        {
            "$schema": f"{_SCHEMAS}managedOnlineDeployment.schema.json",
            "name": "blue",
            "endpoint_name": endpoint,
            "model": said.model,
            "model_mount_path": said.model_mount_path,
            "environment": environment,
            "environment_variables": dict(said.env),
            "instance_type": said.instance_type,
            "instance_count": said.instances,
        },
        told=("environment_variables",),
    )
    schema = {"$schema": f"{_SCHEMAS}environment.schema.json"}
    online = {"$schema": f"{_SCHEMAS}managedOnlineEndpoint.schema.json", "name": endpoint, "auth_mode": "key"}
    return [
        Piece("environment.yml", {**schema, **environment}),
        Piece("endpoint.yml", online, notes=("az ml online-endpoint create -f endpoint.yml",)),
        Piece(
            "deployment.yml",
            deployment,
            judged=True,
            notes=("az ml online-deployment create -f deployment.yml --all-traffic",),
        ),
    ]


def v1(order: Order) -> list[Piece]:
    """inferenceconfig.json of the CLI v1, where ``baseImageRegistry`` is a text."""
    said = _said(order)
    document: dict[str, Any] = {
        "entryScript": said.entry_script or "score.py",
        "runtime": "python",
        "condaFile": said.conda_file,
        "baseImage": f"{order.image.repository}@{order.digest}",
        "baseImageRegistry": order.image.host,
    }
    note = "v1 is out of support since 2025 (CLI) and 2026 (SDK): the target azureml:v2 takes the same image"
    return [Piece("inferenceconfig.json", without_empty(document), judged=True, notes=(note,))]


def _said(order: Order) -> AzureMl:
    if not isinstance(order.settings, AzureMl):
        raise TypeError("an Azure deployment is made from Azure Machine Learning's settings")
    return order.settings


def _route(said: AzureMl, path: str) -> dict[str, Any]:
    return {"port": said.port, "path": path}
