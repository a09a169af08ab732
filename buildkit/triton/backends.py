"""What Triton's backends look for in a version's folder, and how one is found where a configuration names none.

Names: triton-inference-server/core, src/constants.h; the order of the search: src/model_config_utils.cc,
AutoCompleteBackendFields.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

ENSEMBLE = "ensemble"
PYTHON = "python"
ONNX = "onnxruntime"


@dataclass(frozen=True)
class Backend:
    """A backend: the file that it loads by default, or ``instead`` of that, and whether it finds inputs and outputs by itself."""

    name: str
    file: str
    completes: bool = False
    instead: tuple[str, ...] = ()


_BACKENDS = (
    Backend("tensorflow", "model.savedmodel", completes=True, instead=("model.graphdef",)),
    Backend("tensorrt", "model.plan", completes=True),
    Backend(ONNX, "model.onnx", completes=True),
    Backend("openvino", "model.xml", completes=True),
    Backend("pytorch", "model.pt"),
    Backend(PYTHON, "model.py"),
    Backend("dali", "model.dali", completes=True),
    Backend("vllm", "model.json", completes=True),
)
KNOWN = {backend.name: backend for backend in _BACKENDS}

PLATFORMS = {
    "tensorflow_graphdef": Backend("tensorflow", "model.graphdef"),
    "tensorflow_savedmodel": Backend("tensorflow", "model.savedmodel", completes=True),
    "tensorrt_plan": KNOWN["tensorrt"],
    "onnxruntime_onnx": KNOWN[ONNX],
    "pytorch_libtorch": KNOWN["pytorch"],
    "libtorch": KNOWN["pytorch"],
    "torch_aoti": Backend("pytorch", "model.pt2"),
}
"""What a configuration may write as ``platform``, beside ``ensemble``."""

OTHERS = ("fil", "identity", "paddle", "repeat", "square", "tensorrtllm")
"""Backends of Triton's own that load files of their model's choice, or none: no slip of a name in ``KNOWN``."""


def found_in(inside: Collection[str]) -> Backend | None:
    """The backend whose default file, or a folder of that name, lies in a version's folder."""
    names = {path.partition("/")[0] for path in inside}
    ordered = (*_BACKENDS[:5], PLATFORMS["torch_aoti"], KNOWN[PYTHON])
    return next((backend for backend in ordered if names & {backend.file, *backend.instead}), None)
