"""The guides with an engine: if these fail, what a newcomer runs as the platform would run it is not what the page says."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.docs.outside import Outside, outside
from tests.docs.reader import Reader
from tests.docs.test_guides import GUIDES, HERE, SECRETS, prepare
from tests.docs.wheels import INDEX
from tests.fakes.registry import OCI_INDEX, OCI_MANIFEST, Registry
from tests.live.base_images import OFFICIAL_PYTHON, SHELL_BASE, BaseImageError, build_base
from tests.live.conftest import missing

pytestmark = [pytest.mark.live, pytest.mark.engine]

CURL = b"""#!/usr/bin/python3
import sys, urllib.request
sys.stdout.buffer.write(urllib.request.urlopen(sys.argv[-1], timeout=3).read())
"""
"""So much of curl as a health check asks for: Debian's smallest has none, and the official Python has."""


def put_layout(registry: Registry, repository: str, layout: Path, *tags: str) -> None:
    """A base that runs, for this machine's users: linux/amd64, with a curl in a layer of its own."""
    blobs = layout / "blobs" / "sha256"

    def read(descriptor: Mapping[str, str]) -> dict[str, object]:
        content = json.loads((blobs / descriptor["digest"].removeprefix("sha256:")).read_bytes())
        assert isinstance(content, dict)
        return content

    index = read(json.loads((layout / "index.json").read_text())["manifests"][0])
    entries = index["manifests"]
    assert isinstance(entries, list)
    entry = next(one for one in entries if one["platform"]["architecture"] == "amd64")
    manifest = read(entry)
    config = read(manifest["config"])  # type: ignore[arg-type]
    layers, added = manifest["layers"], io.BytesIO()
    assert isinstance(layers, list) and isinstance(config["rootfs"], dict)
    for layer in layers:
        registry.put_blob(repository, blobs / layer["digest"].removeprefix("sha256:"))
    with tarfile.open(fileobj=added, mode="w") as tar:
        member = tarfile.TarInfo("usr/local/bin/curl")
        member.size, member.mode = len(CURL), 0o755
        tar.addfile(member, io.BytesIO(CURL))
    digest = registry.put_blob(repository, added.getvalue())
    config["rootfs"]["diff_ids"].append(digest)
    layers.append({"mediaType": OCI_MANIFEST.replace("manifest.v1+json", "layer.v1.tar"), "digest": digest, "size": len(added.getvalue())})  # fmt: skip
    raw = json.dumps(config).encode()
    manifest["config"] = {**manifest["config"], "digest": registry.put_blob(repository, raw), "size": len(raw)}  # type: ignore[dict-item]
    raw = json.dumps(manifest).encode()
    entry = {**entry, "digest": registry.put_manifest(repository, raw, OCI_MANIFEST), "size": len(raw)}
    registry.put_manifest(repository, json.dumps({**index, "manifests": [entry]}).encode(), OCI_INDEX, *tags)


def prepare_bases(world: Outside, config: pytest.Config) -> None:
    """Bases that run, in the place of those that only have their names."""
    try:
        shell, python = build_base(SHELL_BASE), build_base(OFFICIAL_PYTHON)
    except BaseImageError as error:
        missing(config, "bases", str(error))
    put_layout(world.registries["registry.access.redhat.com"], SHELL_BASE, shell.layout, "latest")
    docker = world.registries["registry-1.docker.io"]
    put_layout(docker, OFFICIAL_PYTHON, python.layout, "3.12", "3.11-slim", "3.12-slim")


@pytest.mark.parametrize("name", ["azure-ml", "kserve", "modelarts", "oci-data-science", "oci-generative-ai"])
def test_a_guide_with_podman(
    name: str, tmp_path: Path, podman_environment: Mapping[str, str], request: pytest.FixtureRequest
) -> None:
    """verify and run are refused, or say something else, on a machine that has podman."""
    with outside(tmp_path, (INDEX,), strict=True) as world:
        prepare(world)
        prepare_bases(world, request.config)
        environment = {**podman_environment, **world.environment, **SECRETS}
        reader = Reader(tmp_path, environment, HERE | {"engine"})
        reader.follow(GUIDES / f"{name}.md")
    assert not reader.wrong, "\n".join(reader.wrong)
    assert all("index" in block.note for block in reader.unread)
