"""A model deployment of OCI Data Science: JSON for create and update, and Terraform."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from buildkit.deployment import Blanks, Order, Piece, without_empty
from buildkit.target_settings import OciDataScience
from buildkit.targets.oci_data_science.facts import TRITON_COMMAND

DOMAIN = "oci.oraclecloud.com"
"""What the hosts of the commercial realm's services end in; they begin with service and region (OCI SDK, service endpoints)."""
_TRITON_PORT = 8000
_MAPS = ("environmentVariables",)
"""What a person fills: for Terraform an argument, and no block."""


def deployment(order: Order) -> list[Piece]:
    """What 'create' and 'update' take: a field that is not set is left out, never empty."""
    said = order.settings
    if not isinstance(said, OciDataScience):
        raise TypeError("a model deployment is made from OCI Data Science's settings")
    blanks = Blanks()
    environment = _environment(order, said)
    create = without_empty(
        {
            "displayName": order.label,
            "projectId": blanks(said.project, "projectId", "project", "ocid1.datascienceproject.oc1..."),
            "compartmentId": blanks(said.compartment, "compartmentId", "compartment", "ocid1.compartment.oc1..."),
            "modelDeploymentConfigurationDetails": {
                "deploymentType": "SINGLE_MODEL",
                "modelConfigurationDetails": _model(said, blanks),
                "environmentConfigurationDetails": environment,
            },
        },
        told=_MAPS,
    )
    update = {
        "modelDeploymentConfigurationDetails": {
            "deploymentType": "SINGLE_MODEL",
            "environmentConfigurationDetails": environment,
        }
    }
    how = post("create.json", f"https://datascience.{said.region or 'REGION'}.{DOMAIN}/20190101/modelDeployments")
    pieces = [
        Piece("create.json", create, judged=True, notes=(*blanks.notes, how)),
        Piece("update.json", update, notes=("an update replaces lists and maps whole, and keeps what is left out",)),
    ]
    return [*pieces, *([Piece("main.tf", text=terraform(order, create))] if order.terraform else [])]


def post(file: str, uri: str) -> str:
    """The command that sends a file as a request (OCI CLI, ``oci raw-request``)."""
    return f"oci raw-request --http-method POST --request-body file://{file} --target-uri {uri}"


def _environment(order: Order, said: OciDataScience) -> dict[str, Any]:
    triton = order.mode == "triton"
    variables = {
        **({"CONTAINER_TYPE": "TRITON"} if triton else {}),
        **({"MODEL_DEPLOY_PREDICT_ENDPOINT": said.predict_path} if said.predict_path else {}),
        **({"MODEL_DEPLOY_HEALTH_ENDPOINT": said.health_path} if said.health_path else {}),
        **said.env,
    }
    port = _TRITON_PORT if triton and "port" not in said.model_fields_set else said.port
    endpoints = [{"endpointUriSuffix": one.suffix, "httpMethods": list(one.methods)} for one in said.endpoints]
    command = list(said.cmd) or ([*TRITON_COMMAND] if triton and not said.entrypoint and not order.files else [])
    return without_empty(
        {
            "environmentConfigurationType": "OCIR_CONTAINER",
            "image": f"{order.image.name}:{order.image.tag}" if order.image.tag else order.pinned,
            "imageDigest": str(order.digest),
            "entrypoint": list(said.entrypoint),
            "cmd": command,
            "serverPort": port,
            "healthCheckPort": port if said.health_port is None else said.health_port,
            "environmentVariables": variables,
            "predictApiSpecification": said.predict_api,
            "customHttpEndpoints": endpoints,
        },
        told=_MAPS,
    )


def _model(said: OciDataScience, blanks: Blanks) -> dict[str, Any]:
    shape: dict[str, Any] = {"instanceShapeName": said.shape}
    if said.shape.endswith(".Flex"):
        shape["modelDeploymentInstanceShapeConfigDetails"] = {"ocpus": said.ocpus, "memoryInGBs": said.memory}
    return {
        "modelId": blanks(said.model, "modelId", "model", "ocid1.datasciencemodel.oc1..."),
        "bandwidthMbps": said.bandwidth,
        "instanceConfiguration": shape,
        "scalingPolicy": {"policyType": "FIXED_SIZE", "instanceCount": said.instances},
    }


def terraform(order: Order, create: Mapping[str, Any]) -> str:
    """``oci_datascience_model_deployment`` with the same values: Terraform's names are those of the API in snake_case."""
    return terraform_of("oci_datascience_model_deployment", order.label, create)


def terraform_of(kind: str, name: str, content: Mapping[str, Any]) -> str:
    """A resource of Terraform's provider for OCI, from what the API takes."""
    return f'resource "{kind}" "{name.replace("-", "_")}" {{\n{_block(content, 1)}}}\n'


def _block(content: Mapping[str, Any], depth: int) -> str:
    """Nested objects are blocks, lists of objects are repeated ones, maps of variables are arguments."""
    indent = "  " * depth
    lines = []
    for key, value in content.items():
        name = snake(key)
        if isinstance(value, Mapping) and key not in _MAPS:
            lines.append(f"{indent}{name} {{\n{_block(value, depth + 1)}{indent}}}\n")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            lines += [f"{indent}{name} {{\n{_block(one, depth + 1)}{indent}}}\n" for one in value]
        else:
            lines.append(f"{indent}{name} = {_value(value, indent)}\n")
    return "".join(lines)


def snake(key: str) -> str:
    """``memoryInGBs`` is ``memory_in_gbs``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key.replace("GBs", "Gbs")).lower()


def _value(value: Any, indent: str) -> str:
    if isinstance(value, Mapping):
        inner = "".join(f"{indent}  {json.dumps(key)} = {_value(one, indent)}\n" for key, one in value.items())
        return f"{{\n{inner}{indent}}}"
    # Terraform expands ${ and %{ in strings.
    return json.dumps(value, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")
