"""SageMaker's three calls: CreateModel, CreateEndpointConfig, CreateEndpoint."""

from __future__ import annotations

from buildkit.deployment import Blanks, Order, Piece, without_empty
from buildkit.target_settings import SageMaker


def create(order: Order) -> list[Piece]:
    """JSON for ``aws sagemaker create-... --cli-input-json file://...``."""
    said = order.settings
    if not isinstance(said, SageMaker):
        raise TypeError("a SageMaker model is made from SageMaker's settings")
    blanks = Blanks()
    role = blanks(said.role, "ExecutionRoleArn", "role", "arn:aws:iam::123456789012:role/NAME")
    model = without_empty(
        {
            "ModelName": order.label,
            "ExecutionRoleArn": role,
            "PrimaryContainer": {
                "Image": order.pinned,
                "ModelDataUrl": said.model_data,
                "Environment": dict(said.env),
            },
        },
        told=("Environment",),
    )
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": order.label,
        "InstanceType": said.instance_type,
        "InitialInstanceCount": said.instances,
        "ContainerStartupHealthCheckTimeoutInSeconds": said.startup_seconds,
    }
    config = {"EndpointConfigName": order.label, "ProductionVariants": [without_empty(variant)]}
    endpoint = {"EndpointName": order.label, "EndpointConfigName": order.label}
    command = "aws sagemaker create-{0} --cli-input-json file://{0}.json"
    return [
        Piece("model.json", model, judged=True, notes=(*blanks.notes, command.format("model"))),
        Piece("endpoint-config.json", config, notes=(command.format("endpoint-config"),)),
        Piece("endpoint.json", endpoint, notes=(command.format("endpoint"),)),
    ]
