"""Vertex AI: the body of models.upload."""

from __future__ import annotations

from buildkit.deployment import Order, Piece, without_empty
from buildkit.target_settings import Vertex


def upload(order: Order) -> list[Piece]:
    """``{"model": {...}}`` with the container's specification."""
    said = order.settings
    if not isinstance(said, Vertex):
        raise TypeError("a Vertex model is made from Vertex's settings")
    container = {
        "imageUri": order.pinned,
        "env": [{"name": name, "value": value} for name, value in sorted(said.env.items())],
        "ports": [{"containerPort": said.port}],
        "predictRoute": said.predict,
        "healthRoute": said.health,
    }
    document = {"model": {"displayName": order.label, "containerSpec": without_empty(container)}}
    region, project = said.region or "REGION", said.project or "PROJECT"
    url = f"https://{region}-aiplatform.googleapis.com/v1/projects/{project}/locations/{region}/models:upload"
    return [Piece("model.json", document, judged=True, notes=(f"POST it to {url}",))]
