"""Orders for every target's deployment."""

from __future__ import annotations

from typing import Any

from buildkit.deployment import Order, Piece, version
from buildkit.oci.reference import Reference
from buildkit.target_settings import SETTINGS
from buildkit.targets import load, target_named

DIGEST = "sha256:" + "ab" * 32
ONNX = ("1/model.onnx",)
LLM = ("config.json", "model.safetensors", "tokenizer.json")


def deployed(
    target: str,
    place: str,
    files: tuple[str, ...] = ONNX,
    *,
    kubernetes: str = "",
    kserve: str = "",
    terraform: bool = False,
    chosen: bool = True,
    name: str = "granite",
    **said: Any,
) -> dict[str, Piece]:
    """What a target's deploy writes, by file."""
    found = target_named(target)
    settings = SETTINGS[found.platform].model_validate({"name": target, **said})
    order = Order(
        name,
        Reference.parse(f"{place}@{DIGEST}"),
        settings,
        found.mode,
        files,
        version(kubernetes, "Kubernetes") if kubernetes else (),
        version(kserve, "KServe") if kserve else (),
        terraform,
        chosen,
    )
    pieces: list[Piece] = load(found.deploy)(order)
    return {piece.file: piece for piece in pieces}


def document(piece: Piece) -> dict[str, Any]:
    """What the file says to the platform's own tools, which read YAML by the rules of its version 1.1."""
    import json

    import yaml

    text = piece.render()
    read = json.loads(text) if piece.file.endswith(".json") else yaml.safe_load(text)
    assert isinstance(read, dict)
    return read
