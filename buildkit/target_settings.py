"""What a recipe says about the platforms that its image goes to: ``targets: [kserve, {name: modelarts, apis: [...]}]``.

Every platform has one class. What it may say is what the platform's rules, probes and deployments need to know and cannot
find in the image; every key has a default that the platform documents, or may be left out.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from buildkit.inputs import Part, Plain
from buildkit.reading.plain import Refusal, shown

Port = Annotated[int, Field(ge=1, le=65535)]
Environment = dict[Plain, Plain]


def _route(text: str) -> str:
    if not text.startswith("/") or any(letter.isspace() for letter in text):
        raise Refusal(f"{shown(text)} is not a path of a server", "write it with its first slash, as in /predict")
    return text


Route = Annotated[str, AfterValidator(_route)]


class Sample(Part):
    """A request that the server must answer: what is sent, and what is accepted in return."""

    path: Route = Field(default="/predict", description="The path that is asked.")
    method: Literal["GET", "POST", "PUT", "DELETE", "PATCH"] = Field(default="POST", description="The HTTP method.")
    content_type: Plain = Field(default="application/json", description="The media type of the body.")
    body: Any = Field(default=None, description="The body: a text as it is, anything else as JSON.")
    file: Plain | None = Field(default=None, description="A file beside the recipe that holds the body.")


class TargetSettings(Part):
    """What every target may be told. ``name`` is the platform, with a mode of it after a colon."""

    name: str = Field(description="The platform, and its mode after a colon.")

    @property
    def platform(self) -> str:
        """The platform without its mode."""
        return self.name.partition(":")[0]


class ServerSettings(TargetSettings):
    """A platform that runs a server."""

    port: Port = Field(default=8080, description="The port that the server listens on.")
    env: Environment = Field(default_factory=dict, description="Variables that the deployment sets.")
    samples: tuple[Sample, ...] = Field(default=(), description="Requests that the server must answer.")
    region: Plain | None = Field(default=None, description="The region that it is deployed to.")


class KServe(TargetSettings):
    """KServe and Open Data Hub: the model is an image, a runtime of the cluster serves it."""

    name: Literal["kserve", "kserve:modelcar", "kserve:native", "kserve:fetch"] = Field(
        description="The platform, and its mode after a colon."
    )
    server: Literal["openvino", "vllm", "triton", "other"] | None = Field(
        default=None, description="What serves the model: decides the layout of /models that is checked."
    )
    runtime: Plain | None = Field(default=None, description="The ServingRuntime's name in the cluster.")
    distribution: Literal["kserve", "odh"] = Field(default="kserve", description="KServe alone, or Open Data Hub.")
    pull_secret: Plain | None = Field(default=None, description="The secret that pulls a private image.")
    args: tuple[Plain, ...] = Field(default=(), description="Arguments for the model server.")
    gpus: Annotated[int, Field(ge=0)] = Field(default=0, description="GPUs of the model server.")


class Kubernetes(TargetSettings):
    """A pod that mounts the image as a volume."""

    name: Literal["kubernetes"] = Field(description="The platform, and its mode after a colon.")
    mount_path: Route = Field(default="/mnt/models", description="Where the pod mounts it.")
    sub_path: Plain | None = Field(default="models", description="The folder of the image that is mounted; null: all.")
    server_image: Plain | None = Field(default=None, description="The image of the container that reads the model.")
    pull_secret: Plain | None = Field(default=None, description="The secret that pulls a private image.")


class CustomEndpoint(Part):
    """An endpoint of OCI Data Science's customHttpEndpoints."""

    suffix: Route = Field(description="endpointUriSuffix; {} stands for one segment.")
    methods: tuple[Literal["GET", "POST", "PUT", "DELETE"], ...] = Field(description="httpMethods.")


class OciDataScience(ServerSettings):
    """A model deployment of OCI Data Science with a container of one's own."""

    name: Literal["oci-data-science", "oci-data-science:triton"] = Field(
        description="The platform, and its mode after a colon."
    )
    port: Port = Field(default=8080, description="serverPort.")
    health_port: Port | None = Field(default=None, description="healthCheckPort; by default the server's port.")
    entrypoint: tuple[Plain, ...] = Field(default=(), description="Replaces the image's ENTRYPOINT.")
    cmd: tuple[Plain, ...] = Field(default=(), description="Replaces the image's CMD.")
    predict_path: Route | None = Field(default=None, description="MODEL_DEPLOY_PREDICT_ENDPOINT, where not /predict.")
    health_path: Route | None = Field(default=None, description="MODEL_DEPLOY_HEALTH_ENDPOINT, where not /health.")
    predict_api: Literal["openai"] | None = Field(default=None, description="predictApiSpecification.")
    endpoints: tuple[CustomEndpoint, ...] = Field(default=(), description="customHttpEndpoints, at most 15.")
    artifact: Plain | None = Field(default=None, description="The folder beside the recipe that becomes the artefact.")
    compartment: Plain | None = Field(default=None, description="The compartment's OCID.")
    project: Plain | None = Field(default=None, description="The project's OCID.")
    model: Plain | None = Field(default=None, description="The OCID of the model in the model catalog.")
    shape: Plain = Field(default="VM.Standard.E4.Flex", description="instanceShapeName.")
    ocpus: Annotated[float, Field(gt=0)] = Field(default=1, description="ocpus of a flexible shape.")
    memory: Annotated[float, Field(gt=0)] = Field(default=16, description="memoryInGBs of a flexible shape.")
    instances: Annotated[int, Field(ge=1)] = Field(default=1, description="instanceCount.")
    bandwidth: Annotated[int, Field(ge=1)] = Field(default=10, description="bandwidthMbps.")


class OciGenerativeAi(ServerSettings):
    """A hosted deployment of OCI Generative AI: an agent in a container."""

    name: Literal["oci-genai"] = Field(description="The platform, and its mode after a colon.")
    compartment: Plain | None = Field(default=None, description="The compartment's OCID.")
    application: Plain | None = Field(default=None, description="The hosted application's OCID, where it is there.")
    minimum: Annotated[int, Field(ge=0)] = Field(default=1, description="minReplica.")
    maximum: Annotated[int, Field(ge=1)] = Field(default=1, description="maxReplica.")


class Body(Part):
    """A request or response of a ModelArts API."""

    content_type: Literal["application/json", "multipart/form-data"] = Field(
        default="application/json", description="Content-type."
    )
    data: dict[str, Any] = Field(default_factory=dict, description="The JSON Schema of the body.")


class Api(Part):
    """An inference API of ModelArts' config.json."""

    url: Route = Field(default="/", description="The path.")
    method: Literal["get", "post", "put", "delete"] = Field(default="post", description="The HTTP method.")
    request: Body = Field(default_factory=Body, description="What is sent.")
    response: Body = Field(default_factory=Body, description="What comes back.")


class ModelArts(ServerSettings):
    """A model of Huawei Cloud's ModelArts, or of the Open Telekom Cloud's, imported from an image."""

    name: Literal["modelarts", "modelarts:online", "modelarts:batch"] = Field(
        description="The platform, and its mode after a colon."
    )
    protocol: Literal["http", "https"] = Field(default="http", description="The container API's protocol.")
    algorithm: Plain | None = Field(default=None, description="model_algorithm; by default the recipe's name.")
    health: Route = Field(default="/health", description="The path of the health check.")
    apis: tuple[Api, ...] = Field(default=(Api(),), description="The inference APIs.")
    largest: Annotated[int, Field(ge=1)] = Field(default=30, description="GB that an image may have at that site.")


class AzureMl(ServerSettings):
    """Azure Machine Learning: a managed online endpoint with a container of one's own, or a base image of v1."""

    name: Literal["azureml", "azureml:v2", "azureml:v1"] = Field(
        description="The platform, and its mode after a colon."
    )
    liveness: Route = Field(default="/health", description="The path of the liveness probe.")
    readiness: Route = Field(default="/ready", description="The path of the readiness probe.")
    scoring: Route = Field(default="/predict", description="The path that scores.")
    model: Plain | None = Field(default=None, description="A registered model: azureml:NAME:VERSION.")
    model_mount_path: Route | None = Field(default=None, description="Where the registered model is mounted.")
    endpoint: Plain | None = Field(default=None, description="The endpoint's name; by default the recipe's.")
    instance_type: Plain = Field(default="Standard_DS3_v2", description="The virtual machine.")
    instances: Annotated[int, Field(ge=1)] = Field(default=1, description="instance_count.")
    entry_script: Plain | None = Field(default=None, description="v1: entryScript.")
    conda_file: Plain | None = Field(default=None, description="v1: condaFile.")


class SageMaker(ServerSettings):
    """A model of AWS SageMaker with a container of one's own."""

    name: Literal["sagemaker"] = Field(description="The platform, and its mode after a colon.")
    role: Plain | None = Field(default=None, description="ExecutionRoleArn.")
    model_data: Plain | None = Field(default=None, description="ModelDataUrl, an s3:// address.")
    instance_type: Plain = Field(default="ml.m5.xlarge", description="InstanceType.")
    instances: Annotated[int, Field(ge=1)] = Field(default=1, description="InitialInstanceCount.")
    startup_seconds: Annotated[int, Field(ge=60, le=3600)] | None = Field(
        default=None, description="ContainerStartupHealthCheckTimeoutInSeconds."
    )


class Vertex(ServerSettings):
    """A model of Google's Vertex AI with a custom container."""

    name: Literal["vertex"] = Field(description="The platform, and its mode after a colon.")
    health: Route | None = Field(default=None, description="healthRoute.")
    predict: Route | None = Field(default=None, description="predictRoute.")
    project: Plain | None = Field(default=None, description="The project.")


SETTINGS: dict[str, type[TargetSettings]] = {
    "kserve": KServe,
    "kubernetes": Kubernetes,
    "oci-data-science": OciDataScience,
    "oci-genai": OciGenerativeAi,
    "modelarts": ModelArts,
    "azureml": AzureMl,
    "sagemaker": SageMaker,
    "vertex": Vertex,
}
"""The class of every platform's settings."""


def settings_of(name: str) -> TargetSettings:
    """The settings of a target of which nothing is said: all defaults. ``name`` is a known one."""
    return SETTINGS[name.partition(":")[0]].model_validate({"name": name})


_DEFAULT_MODES = {"kserve": "modelcar", "modelarts": "online", "azureml": "v2"}


def full_name(name: str) -> str:
    """A target's name with its mode: a platform alone is its default mode."""
    return f"{name}:{_DEFAULT_MODES[name]}" if name in _DEFAULT_MODES else name


def once_each(targets: tuple[TargetSettings, ...]) -> tuple[TargetSettings, ...]:
    """The targets of a recipe, which may name a platform in several modes; raises Refusal where one is there twice."""
    found = [full_name(one.name) for one in targets]
    twice = sorted({name for name in found if found.count(name) > 1})
    if twice:
        raise Refusal(
            f"names {', '.join(map(shown, twice))} twice", "write a second recipe for what is deployed in another way"
        )
    return targets


def names() -> list[str]:
    """Every target that may be named, each platform's default mode also by the platform alone."""
    return [name for one in SETTINGS.values() for name in get_args(one.model_fields["name"].annotation)]


def _spelled_out(value: object) -> object:
    """A target's name alone as the mapping that it stands for; what names none is refused."""
    spelled = {"name": value} if isinstance(value, str) else value
    if isinstance(spelled, dict):
        name = spelled.get("name")
        if name not in names():
            what = f"there is no target {shown(name)}" if isinstance(name, str) else "does not say its 'name'"
            raise Refusal(what, f"the targets are: {', '.join(names())}")
    elif not isinstance(spelled, TargetSettings):
        raise Refusal("is not a target", "write its name, or a mapping with its 'name' and settings")
    return spelled


class _TextOr:
    """Lets the schema say that a text may stand for the whole mapping."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, handler(schema)]}

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return handler(source)


TargetUse = Annotated[
    KServe | Kubernetes | OciDataScience | OciGenerativeAi | ModelArts | AzureMl | SageMaker | Vertex,
    Field(discriminator="name"),
    BeforeValidator(_spelled_out),
    _TextOr(),
]


class Waiver(Part):
    """A rule that a recipe breaks on purpose."""

    rule: Plain = Field(description="The rule's id, such as KS-05.")
    reason: Plain = Field(description="Why; every report repeats it.")
