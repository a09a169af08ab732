"""What is written for a platform loads in that platform's own library. ``nox -s platforms`` installs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.targets.orders import DIGEST, LLM, ONNX, deployed, document

QUAY = "quay.io/org/granite:v1"
OCIR = "iad.ocir.io/tenancy/granite:v1"
ENV = {"LOG_LEVEL": "info"}


KSERVE_VERSIONS = [
    ("kserve:modelcar", "", ""),
    ("kserve:native", "1.35", "0.20"),
    ("kserve:fetch", "", "0.21"),
]


def constructed(kind: str, content: Any, *namespaces: Any) -> Any:
    """A document as the objects of an OpenAPI library: every key must be a field of its class."""
    if kind.startswith("list["):
        return [constructed(kind[5:-1], one, *namespaces) for one in content]
    model = next((found for space in namespaces if (found := getattr(space, kind, None))), None)
    if model is None or not hasattr(model, "openapi_types"):
        return content
    names = {key: name for name, key in model.attribute_map.items()}
    assert set(content) <= set(names), f"{kind} has no {set(content) - set(names)}"
    return model(
        **{
            names[key]: constructed(model.openapi_types[names[key]], value, *namespaces)
            for key, value in content.items()
        }
    )


@pytest.mark.parametrize(("target", "kubernetes", "version"), KSERVE_VERSIONS)
@pytest.mark.parametrize("files", [ONNX, LLM])
def test_kserve_reads_its_inference_service(target: str, kubernetes: str, version: str, files: tuple[str, ...]) -> None:
    """A key that KServe does not know would be dropped by the cluster in silence."""
    kserve = pytest.importorskip("kserve")
    from kubernetes import client

    piece = deployed(
        target, QUAY, files, kubernetes=kubernetes, kserve=version, pull_secret="pull", gpus=1, args=["--dtype=half"]
    )
    written = document(piece["inferenceservice.yaml"])
    service = constructed("V1beta1InferenceService", written, kserve, client)
    assert service.kind == "InferenceService"
    assert service.spec.predictor.model.storage_uri.endswith(DIGEST)
    assert service.spec.predictor.image_pull_secrets[0].name == "pull"


@pytest.mark.parametrize("version", ["1.33", "1.35"])
def test_kubernetes_takes_the_pod(version: str) -> None:
    """The schema of that very Kubernetes: image volumes came with 1.31."""
    validate = pytest.importorskip("kubernetes_validate")
    written = document(deployed("kubernetes", QUAY, kubernetes=version, pull_secret="pull")["pod.yaml"])
    validate.validate(written, version, strict=True)


def test_oracle_reads_the_model_deployment() -> None:
    """A misspelt field is dropped by the service, and the deployment starts something else."""
    oci = pytest.importorskip("oci")
    models = oci.data_science.models
    written = document(
        deployed(
            "oci-data-science",
            OCIR,
            env=ENV,
            entrypoint=["python", "app.py"],
            health_port=8081,
            endpoints=[{"suffix": "/v1/{}", "methods": ["POST"]}],
        )["create.json"]
    )
    assert set(written) <= set(models.CreateModelDeploymentDetails().attribute_map.values())
    details = written["modelDeploymentConfigurationDetails"]
    assert set(details) <= set(models.SingleModelDeploymentConfigurationDetails().attribute_map.values())
    assert set(details["modelConfigurationDetails"]) <= set(models.ModelConfigurationDetails().attribute_map.values())
    environment = details["environmentConfigurationDetails"]
    fields = models.OcirModelDeploymentEnvironmentConfigurationDetails().attribute_map
    assert set(environment) <= set(fields.values())
    by_key = {key: name for name, key in fields.items()}
    read = models.OcirModelDeploymentEnvironmentConfigurationDetails(
        **{by_key[key]: value for key, value in environment.items() if key != "environmentConfigurationType"}
    )
    assert (read.server_port, read.health_check_port, read.image_digest) == (8080, 8081, DIGEST)
    instance = details["modelConfigurationDetails"]["instanceConfiguration"]
    shape = models.ModelDeploymentInstanceShapeConfigDetails().attribute_map.values()
    assert set(instance["modelDeploymentInstanceShapeConfigDetails"]) <= set(shape)
    update = document(deployed("oci-data-science", OCIR, env=ENV)["update.json"])
    assert set(update) <= set(models.UpdateModelDeploymentDetails().attribute_map.values())


def test_oracle_reads_the_hosted_deployment() -> None:
    """The artifact's URI and tag are two fields."""
    oci = pytest.importorskip("oci")
    models = oci.generative_ai.models
    pieces = deployed("oci-genai", OCIR, env=ENV, compartment="ocid1.compartment.oc1..x")
    application, deployment = document(pieces["application.json"]), document(pieces["deployment.json"])
    assert set(application) <= set(models.CreateHostedApplicationDetails().attribute_map.values())
    assert set(application["scalingConfig"]) <= set(models.ScalingConfig().attribute_map.values())
    assert application["scalingConfig"]["scalingType"] in _values(models.ScalingConfig, "SCALING_TYPE")
    assert [models.EnvironmentVariable(**one).type for one in application["environmentVariables"]] == ["PLAINTEXT"]
    assert set(deployment) <= set(models.CreateHostedDeploymentDetails().attribute_map.values())
    artifact = deployment["activeArtifact"]
    fields = {key: name for name, key in models.SingleDockerArtifact().attribute_map.items()}
    assert models.Artifact.get_subtype(artifact) == "SingleDockerArtifact"
    read = models.SingleDockerArtifact(
        **{fields[key]: value for key, value in artifact.items() if key != "artifactType"}
    )
    assert (read.container_uri, read.tag) == ("iad.ocir.io/tenancy/granite", "v1")


def _values(model: Any, prefix: str) -> set[str]:
    return {value for key, value in vars(model).items() if key.startswith(prefix)}


def test_azure_loads_environment_endpoint_and_deployment(tmp_path: Path) -> None:
    """az ml refuses a file with a key that its schema does not have."""
    azure = pytest.importorskip("azure.ai.ml")
    pieces = deployed(
        "azureml", "team.azurecr.io/granite:v1", env=ENV, model="azureml:m:1", model_mount_path="/var/models"
    )
    for name, piece in pieces.items():
        (tmp_path / name).write_text(piece.render())
    deployment = azure.load_online_deployment(tmp_path / "deployment.yml")
    assert deployment.environment.image == f"team.azurecr.io/granite@{DIGEST}"
    assert deployment.environment.inference_config.scoring_route.path == "/predict"
    assert deployment.model_mount_path == "/var/models"
    assert azure.load_environment(tmp_path / "environment.yml").inference_config
    assert azure.load_online_endpoint(tmp_path / "endpoint.yml").auth_mode == "key"
