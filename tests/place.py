"""A project in a folder with a hub and a registry on loopback: what most tests of the whole begin with."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from buildkit import flow
from buildkit.delivery.push import Delivered
from buildkit.events import Event
from buildkit.oci.manifest import ImageConfig, Index, Manifest
from buildkit.oci.reference import Reference
from buildkit.policy import Policy
from buildkit.recipe import Recipe, load
from buildkit.settings import find
from buildkit.world import World
from tests.fakes.hub import Hub
from tests.fakes.registry import OCI_INDEX, OCI_MANIFEST, Registry

FILES: dict[str, bytes] = {
    "config.json": b'{"architectures": ["Granite"]}',
    "model-00001-of-00002.safetensors": os.urandom(1_500_000),
    "model-00002-of-00002.safetensors": os.urandom(1_200_000),
    "nested/config.json": b"another file of the same name",
    "README.md": b"# A model",
}


def put_base(
    registry: Registry,
    name: str = "ubi9/ubi-micro",
    content: bytes = b"shell",
    *,
    programs: Sequence[str] = ("bin/sh",),
    tag: str = "latest",
    zipped: bool = False,
    history: object = ({"created": "2024-01-01T00:00:00Z", "created_by": "base", "comment": "made by hand"},),
    **process: object,
) -> str:
    """A base image with one layer, as an index with one platform."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for program in programs:
            info = tarfile.TarInfo(program)
            info.size, info.mode = len(content), 0o755
            tar.addfile(info, io.BytesIO(content))
    diff_id = f"sha256:{hashlib.sha256(layer.getvalue()).hexdigest()}"
    packed = gzip.compress(layer.getvalue(), mtime=0) if zipped else layer.getvalue()
    media_type = "application/vnd.oci.image.layer.v1.tar" + ("+gzip" if zipped else "")
    config = {
        "os": "linux",
        "architecture": "amd64",
        "created": "2024-01-01T00:00:00Z",
        "config": {"Env": ["PATH=/bin", "container=oci"], "Labels": {"vendor": "base"}, "Cmd": ["/bin/sh"]}
        | {key.capitalize(): value for key, value in process.items()},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": history,
    }
    raw = json.dumps(config).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": registry.put_blob(name, raw),
            "size": len(raw),
        },
        "layers": [{"mediaType": media_type, "digest": registry.put_blob(name, packed), "size": len(packed)}],
    }
    raw = json.dumps(manifest).encode()
    platform = {"os": "linux", "architecture": "amd64"}
    entry = {
        "mediaType": OCI_MANIFEST,
        "digest": registry.put_manifest(name, raw, OCI_MANIFEST),
        "size": len(raw),
        "platform": platform,
    }
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}).encode()
    return registry.put_manifest(name, index, OCI_INDEX, tag)


@dataclass
class Place:
    """A project in a folder, with a hub and a registry."""

    folder: Path
    hub: Hub
    registry: Registry
    events: list[Event]

    def recipe(self, **changes: object) -> Recipe:
        lines = {"kind": "modelcar", "name": "granite", "model": "hf://org/granite", "tags": ["v1"], **changes}
        lines.setdefault("base", f"{self.registry.address}/ubi9/ubi-micro:latest")
        path = self.folder / "recipe.yaml"
        path.write_text(json.dumps(lines))
        return load(path)

    def world(self) -> World:
        return World(find(self.folder), self.events.append, sleep=lambda seconds: None)

    def build(
        self, recipe: Recipe | None = None, *, push: bool = True, policy: Policy = Policy.KEEP, **wanted: object
    ) -> Delivered:
        registry = f"{self.registry.address}/models" if push else None
        return flow.build(recipe or self.recipe(), self.world(), flow.Wanted("embedded", policy, registry, **wanted))  # type: ignore[arg-type]

    @property
    def lock(self) -> Path:
        return self.folder / "recipe.lock"

    def served(self) -> tuple[Manifest, ImageConfig]:
        store = self.world().repository(
            self.world().settings.registry(f"{self.registry.address}/models").repository("granite")
        )
        document = store.resolve("v1")
        assert document is not None
        manifest = Manifest.read(document)
        return manifest, ImageConfig.read(self.registry.blob(manifest.config.digest))

    def base(self) -> tuple[Manifest, ImageConfig]:
        """What :func:`put_base` put there."""
        store = self.world().repository(Reference.parse(f"{self.registry.address}/ubi9/ubi-micro"))
        index = store.resolve("latest")
        assert index is not None
        document = store.resolve(Index.read(index).manifests[0].digest)
        assert document is not None
        manifest = Manifest.read(document)
        return manifest, ImageConfig.read(self.registry.blob(manifest.config.digest))

    def model_files(self) -> dict[str, bytes]:
        """Every file under /models as the registry serves them."""
        manifest, _ = self.served()
        found = {}
        for layer in manifest.layers[1:] if len(manifest.layers) > 1 else manifest.layers:
            with tarfile.open(fileobj=io.BytesIO(self.registry.blob(layer.digest))) as tar:
                for member in tar:
                    assert (member.uid, member.gid) == (1001, 0)
                    assert member.mode == (0o555 if member.isdir() else 0o444)
                    if member.isfile():
                        found[member.name.removeprefix("models/")] = tar.extractfile(member).read()  # type: ignore[union-attr]
        return found


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with Hub() as hub, Registry() as registry:
        hub.add("org/granite", FILES)
        put_base(registry)
        folder = tmp_path / "a project"
        folder.mkdir()
        (folder / "modelpack.yaml").write_text(json.dumps({"hub": {"endpoint": hub.endpoint}}))
        yield Place(folder, hub, registry, [])


def uploads(registry: Registry) -> int:
    return sum(request.request_bytes for request in registry.requests if request.method == "PATCH")
