"""ModelArts' config.json for a model that is imported from a container image."""

from __future__ import annotations

from typing import Any

from buildkit.deployment import Order, Piece
from buildkit.target_settings import Api, Body, ModelArts
from buildkit.targets.modelarts.rules import algorithm_for


def config(order: Order) -> list[Piece]:
    """Keys as the documents spell them; numbers of the health check are texts there."""
    said = order.settings
    if not isinstance(said, ModelArts):
        raise TypeError("config.json is made from ModelArts' settings")
    document: dict[str, Any] = {
        "model_algorithm": said.algorithm or algorithm_for(order.name),
        "model_type": "Image",
        "health": {
            "url": said.health,
            "protocol": said.protocol,
            "initial_delay_seconds": "12",
            "timeout_seconds": "3",
        },
        "apis": [_api(api) for api in said.apis],
    }
    name = f"{order.image.name}:{order.image.tag}" if order.image.tag else order.pinned
    notes = (
        f"import the model from the container image {name} ({order.digest})",
        f"set the container API to {said.protocol.upper()}, port {said.port}",
    )
    return [Piece("config.json", document, judged=True, notes=notes)]


def _api(api: Api) -> dict[str, Any]:
    return {"url": api.url, "method": api.method, "request": _body(api.request), "response": _body(api.response)}


def _body(body: Body) -> dict[str, Any]:
    return {"Content-type": body.content_type, "data": body.data or {"type": "object", "properties": {}}}
