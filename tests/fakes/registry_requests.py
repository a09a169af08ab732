"""Requests that the registry's tests send again and again, and what they send."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from tests.fakes.content import Synthetic
from tests.fakes.plain_client import Answer, ask
from tests.fakes.registry import OCI_MANIFEST, Registry

DATA = Synthetic(2_000_003, seed=9).read(0, 2_000_003)
CONFIG = b'{"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": []}}'


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def post(registry: Registry, name: str = "org/model", query: str = "", body: bytes = b"") -> Answer:
    return ask("POST", f"{registry.url}/v2/{name}/blobs/uploads/{query}", body)


def put(location: str, data: bytes, body: bytes = b"") -> Answer:
    return ask("PUT", f"{location}&digest={digest_of(data)}", body)


def manifest_of(registry: Registry, name: str = "org/model", **more: Any) -> bytes:
    config, layer = registry.put_blob(name, CONFIG), registry.put_blob(name, DATA)
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": len(CONFIG)},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": len(DATA)}],
    }
    return json.dumps(document | more).encode()


def put_manifest(registry: Registry, data: bytes, reference: str = "v1", kind: str = OCI_MANIFEST) -> Answer:
    return ask("PUT", f"{registry.url}/v2/org/model/manifests/{reference}", data, {"Content-Type": kind})
