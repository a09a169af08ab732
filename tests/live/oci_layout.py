"""An OCI image layout written with the standard library alone: nothing of the product, which is what is tested."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
# What a kernel fills at run time; an image carries the folders only.
EMPTY_FOLDERS = ("dev", "proc", "sys")


class _Hashing:
    """A writable stream that passes bytes on and hashes them."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self.size += len(data)
        return self._target.write(data)

    def flush(self) -> None:
        self._target.flush()

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


@dataclass(frozen=True)
class Layer:
    """A layer's descriptor, and the digest of its tar before compression."""

    descriptor: Mapping[str, object]
    diff_id: str


def _entry(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.mtime = 0
    info.uname = info.gname = ""
    return info


def _add_tree(tar: tarfile.TarFile, rootfs: Path) -> None:
    for path in sorted(rootfs.rglob("*")):
        name = path.relative_to(rootfs)
        if name.parts[0] in EMPTY_FOLDERS and len(name.parts) > 1:
            continue
        tar.add(path, str(name), recursive=False, filter=_entry)


def write_layer(layout: Path, rootfs: Path) -> Layer:
    """Pack a folder into a gzip layer below ``layout``: sorted, times at 0, owners and modes as they lie on disk."""
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=blobs, delete=False) as target:
        packed = _Hashing(cast("IO[bytes]", target))
        # level 1: these bytes cross loopback only, and the time counts
        with gzip.GzipFile("", "wb", 1, cast("IO[bytes]", packed), mtime=0) as compressed:
            plain = _Hashing(cast("IO[bytes]", compressed))
            with tarfile.open(fileobj=cast("IO[bytes]", plain), mode="w|", format=tarfile.PAX_FORMAT) as tar:
                _add_tree(tar, rootfs)
    digest = packed.digest
    shutil.move(target.name, blobs / digest.removeprefix("sha256:"))
    return Layer({"mediaType": LAYER, "digest": digest, "size": packed.size}, plain.digest)


def _write_json(layout: Path, document: Mapping[str, object], media_type: str) -> dict[str, object]:
    content = json.dumps(document, sort_keys=True, separators=(",", ":")).encode("utf-8")
    digest = hashlib.sha256(content).hexdigest()
    (layout / "blobs" / "sha256" / digest).write_bytes(content)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def _write_manifest(
    layout: Path, layers: Sequence[Layer], config: Mapping[str, object], platform: str
) -> dict[str, object]:
    os_name, _, architecture = platform.partition("/")
    document = {
        "os": os_name,
        "architecture": architecture,
        "created": "1970-01-01T00:00:00Z",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "modelpack live tests"} for _ in layers],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _write_json(layout, document, CONFIG),
        "layers": [layer.descriptor for layer in layers],
    }
    descriptor = _write_json(layout, manifest, MANIFEST)
    return {**descriptor, "platform": {"os": os_name, "architecture": architecture}}


def write_layout(layout: Path, layers: Mapping[str, Sequence[Layer]], config: Mapping[str, object]) -> str:
    """Write one image per platform under one index tagged ``latest``.

    Args:
        layout: the folder that ``write_layer`` has put the layers into.
        layers: for each platform (``os/architecture``) its layers, lowest first.
        config: the ``config`` part of the image configuration (User, Env, Cmd …).

    Returns:
        The digest of the index.
    """
    manifests = [_write_manifest(layout, stack, config, platform) for platform, stack in layers.items()]
    index = _write_json(layout, {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}, INDEX)
    named = {**index, "annotations": {"org.opencontainers.image.ref.name": "latest"}}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}), encoding="utf-8")
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}', encoding="utf-8")
    return str(index["digest"])
