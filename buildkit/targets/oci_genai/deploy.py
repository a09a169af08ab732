"""A hosted application and its deployment of OCI Generative AI."""

from __future__ import annotations

from buildkit.deployment import Blanks, Order, Piece, without_empty
from buildkit.errors import InvalidInput
from buildkit.target_settings import OciGenerativeAi
from buildkit.targets.oci_data_science.deploy import DOMAIN, post, snake, terraform_of


def hosted(order: Order) -> list[Piece]:
    """The application first, then the deployment, whose artifact is named by URI and tag: the API has no digest."""
    said = order.settings
    if not isinstance(said, OciGenerativeAi):
        raise TypeError("a hosted deployment is made from OCI Generative AI's settings")
    if order.image.tag is None:
        raise InvalidInput(f"{order.image} has no tag", hint="a hosted deployment names its image by a tag: push one")
    blanks, later = Blanks(), Blanks()
    compartment = blanks(said.compartment, "compartmentId", "compartment", "ocid1.compartment.oc1...")
    application = without_empty(
        {
            "compartmentId": compartment,
            "displayName": order.label,
            "environmentVariables": [
                {"name": name, "type": "PLAINTEXT", "value": value} for name, value in sorted(said.env.items())
            ],
            "scalingConfig": {"scalingType": "CPU", "minReplica": said.minimum, "maxReplica": said.maximum},
        }
    )
    deployment = {
        "hostedApplicationId": later(
            said.application, "hostedApplicationId", "application", "the id that creating the application answers"
        ),
        "compartmentId": compartment,
        "displayName": order.label,
        "activeArtifact": {
            "artifactType": "SIMPLE_DOCKER_ARTIFACT",
            "containerUri": order.image.name,
            "tag": order.image.tag,
        },
    }
    endpoint = f"https://generativeai.{said.region or 'REGION'}.{DOMAIN}/20231130"
    note = f"the tag {order.image.tag} stands for {order.digest}: do not move it"
    pieces = [
        Piece(
            "application.json",
            application,
            notes=(*blanks.notes, post("application.json", f"{endpoint}/hostedApplications")),
        ),
        Piece(
            "deployment.json",
            deployment,
            judged=True,
            notes=(*later.notes, post("deployment.json", f"{endpoint}/hostedDeployments"), note),
        ),
    ]
    if order.terraform:
        text = terraform_of("oci_generative_ai_hosted_application", snake(order.label), application)
        text += "\n" + terraform_of("oci_generative_ai_hosted_deployment", snake(order.label), deployment)
        pieces.append(Piece("main.tf", text=text))
    return pieces
