"""The guides, followed to the letter: if these fail, a newcomer types what stands there and meets an error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import blocks, commands
from tests.docs.outside import PASSWORD, Outside, outside
from tests.docs.reader import WRITTEN, Reader
from tests.docs.wheels import shrink
from tests.place import put_base

GUIDES = Path(__file__).resolve().parents[2] / "docs" / "guides"
PAGES = (
    "air-gapped",
    "azure-ml",
    "fleet",
    "gated-model",
    "huge-model",
    "kserve",
    "modelarts",
    "oci-data-science",
    "oci-generative-ai",
    "targets",
)
LOGGED_IN = frozenset({"azure-ml", "kserve", "modelarts", "oci-data-science", "oci-generative-ai"})
"""Guides that say how to log in: there the registries want it. The others go on from them."""
HERE = frozenset({"account", "kubectl", "oci", "az", "scanner", "packages"})
ENGINE = frozenset({"engine", "index"})
"""What an engine does, see tests/live/test_guides.py; and builds that install packages in it, which the kinds' own tests do."""
SECRETS = dict.fromkeys(("TOKEN", "OCI_AUTH_TOKEN", "SWR_PASSWORD"), PASSWORD)

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


def test_no_guide_escapes() -> None:
    """A guide is written and nobody follows it, or a fence of one is neither a file nor typed, nor a known need."""
    assert sorted(PAGES) == sorted(page.stem for page in GUIDES.glob("*.md"))
    for page in GUIDES.glob("*.md"):
        for block in blocks(page):
            assert block.lang == "console" or (block.title and block.lang in WRITTEN), f"{page}:{block.line}"
            assert set(block.note.removeprefix("needs:").split()) <= HERE | ENGINE, f"{page}:{block.line}"
            assert block.lang != "console" or commands(block), f"{page}:{block.line} has no command"


@pytest.mark.parametrize("name", PAGES)
def test_a_guide_says_what_happens(name: str, tmp_path: Path) -> None:
    """A newcomer types what stands there and meets an error, or another answer than is shown."""
    page = GUIDES / f"{name}.md"
    with outside(tmp_path, strict=name in LOGGED_IN) as world:
        prepare(world)

        def without_index(folder: Path) -> None:
            if (lock := folder / "uv.lock").exists() and not world.wheels:
                world.wheels.update(shrink(lock))

        reader = Reader(tmp_path, {**world.environment, **SECRETS}, HERE, without_index)
        reader.follow(page)
    assert not reader.wrong, "\n".join(reader.wrong)
    assert reader.ran
    assert all(set(block.note[6:].split()) & ENGINE for block in reader.unread)


def test_a_guide_can_be_followed_by_hand() -> None:
    """Who doubts a guide opens the shell that CONTRIBUTING names, and there is none."""
    typed = 'echo "$TOKEN" | modelpack login quay.io -u you+robot --password-stdin && modelpack init modelcar a && ls'
    command = [sys.executable, "-m", "tests.docs", "bash", "-c", typed]
    done = subprocess.run(command, cwd=GUIDES.parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["a/recipe.yaml", "a"]
