"""The guides, followed to the letter: if these fail, a newcomer types what stands there and meets an error."""

from __future__ import annotations

from tests.docs.outside import Outside
from tests.place import put_base

GRANITE = {
    "config.json": b'{"architectures": ["GraniteForCausalLM"], "torch_dtype": "bfloat16"}',
    "generation_config.json": b"{}",
    "model.safetensors": b"weights " * 50_000,
    "tokenizer.json": b"{}",
    "tokenizer_config.json": b"{}",
    "README.md": b"# Granite",
    ".gitattributes": b"*.safetensors filter=lfs",
}


def prepare(outside: Outside) -> None:
    """What the guides name: models on the hub, bases in their registries."""
    outside.hub.add("ibm-granite/granite-3.0-2b-instruct", GRANITE, card={"license": "apache-2.0"})
    outside.hub.add("org/mini", {"config.json": b"{}", "model.safetensors": b"weights"}, card={"license": "mit"})
    outside.hub.add("org/gated", GRANITE, gated="manual", card={"license": "cc-by-nc-4.0"})
    shards = {f"model-0000{number}-of-00003.safetensors": bytes([number]) * 300_000 for number in (1, 2, 3)}
    outside.hub.add("org/huge", {"config.json": b"{}", **shards})
    docker = outside.registries["registry-1.docker.io"]
    python = ("bin/sh", "usr/local/bin/python3", "usr/local/bin/pip", "usr/bin/curl")
    path = ["PATH=/usr/local/bin:/usr/bin:/bin"]
    put_base(docker, "library/python", programs=python, tag="3.12", cmd=["python3"], env=path)
    batch = ("bin/sh", "usr/bin/python3", "usr/bin/java", "usr/bin/zip")
    put_base(outside.registries["registry.lab.example"], "python-java-zip", programs=batch, tag="3.11", env=path)
    triton = ("bin/sh", "usr/bin/curl", "usr/bin/python3", "opt/tritonserver/bin/tritonserver")
    put_base(outside.registries["nvcr.io"], "nvidia/tritonserver", programs=triton, tag="25.10-py3", env=path)
