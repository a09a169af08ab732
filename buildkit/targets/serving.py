"""What serves a model, as its files tell: one guess for the rules of layouts and for what is deployed."""

from __future__ import annotations

import re
from collections.abc import Collection

INDEX = "model.safetensors.index.json"
OPENVINO = (".onnx", ".xml", ".pdmodel", ".tflite", ".pb")
"""How the files end that OpenVINO Model Server loads."""
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "tekken.json", "vocab.txt")
_IN_A_MODEL = re.compile(r"(?!\d+/)[^/]+/\d+/model\.\w+(?:/|$)")
"""Triton's layout: a model's folder, a version's, and a file or folder of a name that a backend looks for."""


def server_of(paths: Collection[str]) -> str | None:
    """The server that a layout was probably made for; None where no file tells. An empty folder's path ends with '/'."""
    files = [path for path in paths if not path.endswith("/")]
    beside = {path for path in files if "/" not in path}
    if any(path.rpartition("/")[2] == "config.pbtxt" for path in files):
        return "triton"
    if any(name.endswith(".safetensors") or name == INDEX for name in beside):
        return "vllm"
    if any(_IN_A_MODEL.match(path) for path in files):
        return "triton"
    versioned = files and any(path.partition("/")[0].isdigit() for path in paths)
    if versioned or any(name.endswith(OPENVINO) for name in beside):
        return "openvino"
    return "vllm" if is_language_model(beside) or nested_in(paths) else None


def is_language_model(names: Collection[str]) -> bool:
    """Whether a folder with these files holds what a language model has beside its weights."""
    return "config.json" in names and any(name in names for name in TOKENIZERS)


def nested_in(paths: Collection[str]) -> str:
    """The one folder in which a language model lies that should lie directly in the root; "" where there is none."""
    folders = {path.partition("/")[0] for path in paths}
    within = {inside for _, slash, inside in (path.partition("/") for path in paths) if slash and "/" not in inside}
    is_one = len(folders) == 1 and is_language_model(within) and any(name.endswith(".safetensors") for name in within)
    return folders.pop() if is_one else ""
