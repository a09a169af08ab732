"""KServe's InferenceService, with the storage URI of its mode and the runtime that takes the model."""

from __future__ import annotations

from typing import Any

from buildkit.deployment import Order, Piece, without_empty
from buildkit.errors import InvalidInput
from buildkit.target_settings import KServe
from buildkit.targets.serving import OPENVINO, server_of

SCHEMES = {"modelcar": "oci", "native": "oci+native", "fetch": "oci+fetch"}
_NATIVE_KUBERNETES, _NATIVE_KSERVE, _FETCH_KSERVE = (1, 33), (0, 20), (0, 20, 1)
RUNTIMES = {
    ("kserve", "openvino"): "kserve-openvino",
    ("kserve", "vllm"): "kserve-vllmserver",
    ("kserve", "triton"): "kserve-tritonserver",
    ("odh", "openvino"): "kserve-ovms",
    ("odh", "vllm"): "vllm-cuda-runtime",
}
"""The runtimes as KServe's config/runtimes and odh-model-controller's templates call them (summer of 2026)."""


def modelcar(order: Order) -> list[Piece]:
    """``oci://``; where nobody insisted and the cluster can mount images, ``oci+native://`` (KS-11)."""
    can = order.kubernetes >= _NATIVE_KUBERNETES and order.kserve >= _NATIVE_KSERVE
    return _service(order, "native" if can and not order.chosen else "modelcar")


def native(order: Order) -> list[Piece]:
    """``oci+native://``; raises InvalidInput where the cluster is too old for it."""
    _at_least(order.kubernetes, _NATIVE_KUBERNETES, "Kubernetes", "oci+native:// mounts a folder of an image")
    _at_least(order.kserve, _NATIVE_KSERVE, "KServe", "oci+native:// came")
    return _service(order, "native")


def fetch(order: Order) -> list[Piece]:
    """``oci+fetch://``; raises InvalidInput where KServe is too old for it."""
    _at_least(order.kserve, _FETCH_KSERVE, "KServe", "oci+fetch:// came after 0.20.0")
    return _service(order, "fetch")


def _at_least(there: tuple[int, ...], needed: tuple[int, ...], what: str, why: str) -> None:
    if there and there < needed:
        versions = [".".join(map(str, one)) for one in (needed, there)]
        hint = "use the target kserve:modelcar"
        raise InvalidInput(f"{why} with {what} {versions[0]}, and the cluster has {versions[1]}", hint=hint)


def _service(order: Order, mode: str) -> list[Piece]:
    said = order.settings
    if not isinstance(said, KServe):
        raise TypeError("a KServe deployment is made from KServe's settings")
    server = said.server or _guessed(order.files)
    runtime = said.runtime or RUNTIMES.get((said.distribution, server or ""))
    if runtime == "vllm-cuda-runtime" and not said.gpus:
        runtime = "vllm-cpu-runtime"
    if runtime is None:
        where = "Open Data Hub" if said.distribution == "odh" else "KServe"
        raise InvalidInput(
            f"no runtime of {where} is known for {server or 'this model'}",
            hint="say 'runtime: NAME' and 'server: openvino, vllm, triton or other' in the recipe's target",
        )
    document = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": order.label},
        "spec": {"predictor": _predictor(order, said, mode, runtime, server)},
    }
    return [Piece("inferenceservice.yaml", document, _comment(mode), judged=True, notes=_notes(order, mode))]


def _predictor(order: Order, said: KServe, mode: str, runtime: str, server: str | None) -> dict[str, Any]:
    gpus = {"nvidia.com/gpu": str(said.gpus)} if said.gpus else {}
    model = {
        "runtime": runtime,
        "modelFormat": model_format(order.files, server, said.distribution),
        "storageUri": f"{SCHEMES[mode]}://{order.pinned}",
        "args": list(said.args),
        "resources": {"limits": gpus, "requests": gpus},
    }
    secrets = [{"name": said.pull_secret}] if said.pull_secret else []
    return without_empty({"imagePullSecrets": secrets, "model": model})


def _guessed(files: tuple[str, ...]) -> str | None:
    """The server that a model's files look like; OpenVINO only where there is something that it loads."""
    server = server_of(files)
    return None if server == "openvino" and not any(path.endswith(OPENVINO) for path in files) else server


_FORMATS = {
    ".onnx": "onnx",
    ".xml": "openvino_ir",
    ".tflite": "tflite",
    ".pdmodel": "paddle",
    ".plan": "tensorrt",
    ".pt": "pytorch",
    ".graphdef": "tensorflow",
    ".pb": "tensorflow",
}
"""KServe's names of formats, by how a file of the model ends; a saved model is a folder with saved_model.pb."""


def model_format(files: tuple[str, ...], server: str | None, distribution: str) -> dict[str, str]:
    """``modelFormat`` as the runtimes spell it; Open Data Hub lists onnx with its version."""
    if server == "vllm":
        return {"name": "vLLM"}
    unknown = "triton" if server == "triton" and files else "onnx"
    found = next((_FORMATS[ending] for path in files for ending in _FORMATS if path.endswith(ending)), unknown)
    name = "triton" if server == "triton" and any(path.endswith("model.py") for path in files) else found
    return {"name": name, "version": "1"} if (distribution, name) == ("odh", "onnx") else {"name": name}


def _comment(mode: str) -> str:
    told = {
        "modelcar": "oci:// needs enableModelcar (enableOciModelSupport) in the ConfigMap inferenceservice-config",
        "native": "oci+native:// needs KServe 0.20 and Kubernetes 1.33 with the gate ImageVolume, 1.35 without",
        "fetch": "oci+fetch:// needs a KServe later than 0.20.0",
    }
    return told[mode]


def _notes(order: Order, mode: str) -> tuple[str, ...]:
    apply = (
        f"kubectl apply -f inferenceservice.yaml && kubectl wait --for=condition=Ready --timeout=30m isvc/{order.label}"
    )
    if mode == "modelcar" and order.kubernetes >= _NATIVE_KUBERNETES:
        return (apply, "this cluster can mount images: kserve:native needs no shared process namespace (KS-11)")
    return (apply,)
