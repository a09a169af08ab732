"""Images written by the tests' own hand, right for a target; each test changes one thing in a copy."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

OCI = "application/vnd.oci.image."
DOCKER = "application/vnd.docker."


@dataclass(frozen=True)
class Entry:
    """A member of a layer: a file with content, a directory (``type`` "5"), a symlink ("2"), a hard link ("1"), a device ("3")."""

    name: str
    content: bytes = b""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    type: str = "0"
    link: str = ""
    size: int | None = None


def folder(name: str, mode: int = 0o755, gid: int = 0) -> Entry:
    return Entry(name, mode=mode, gid=gid, type="5")


def link(name: str, target: str) -> Entry:
    return Entry(name, mode=0o777, type="2", link=target)


def program(name: str) -> Entry:
    return Entry(name, b"\x7fELF", mode=0o755)


def model(name: str, content: bytes = b"weights") -> Entry:
    return Entry(f"models/{name}", content, 0o444, 1001, 0)


Layer = tuple[Entry, ...]


@dataclass(frozen=True)
class Draft:
    """An image to be written. ``zipped`` and ``docker`` are its form; ``index`` puts an index above the manifest.

    ``packed`` compresses layers in another way than gzip. ``odd_config`` and ``odd_manifest`` are keys that these have
    in the place of what is right.
    """

    layers: tuple[Layer, ...]
    process: Mapping[str, Any] = field(default_factory=dict)
    architecture: str = "amd64"
    history: tuple[str, ...] = ()
    zipped: bool = False
    docker: bool = False
    index: bool = False
    layer_type: str = ""
    packed: Callable[[bytes], bytes] | None = None
    odd_config: Mapping[str, Any] = field(default_factory=dict)
    odd_manifest: Mapping[str, Any] = field(default_factory=dict)

    def with_(self, *entries: Entry) -> Draft:
        """With more entries in the last layer; an entry takes the place of one of the same name."""
        names = {entry.name.rstrip("/") for entry in entries}
        last = tuple(entry for entry in self.layers[-1] if entry.name.rstrip("/") not in names)
        return replace(self, layers=(*self.layers[:-1], (*last, *entries)))

    def without(self, *names: str) -> Draft:
        """Without entries, and what lies below them."""

        def gone(entry: Entry) -> bool:
            return any(entry.name == name or entry.name.startswith(f"{name}/") for name in names)

        return replace(self, layers=tuple(tuple(e for e in layer if not gone(e)) for layer in self.layers))

    def above(self, *entries: Entry) -> Draft:
        """With one more layer."""
        return replace(self, layers=(*self.layers, entries))

    def config(self, **changes: Any) -> Draft:
        """With other values in the config's process; None takes one away."""
        process = {key: value for key, value in {**self.process, **changes}.items() if value is not None}
        return replace(self, process=process)


def tar(layer: Layer) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as written:
        for entry in layer:
            info = tarfile.TarInfo(entry.name)
            info.mode, info.uid, info.gid = entry.mode, entry.uid, entry.gid
            info.type, info.linkname = entry.type.encode(), entry.link
            info.size = len(entry.content)
            written.addfile(info, io.BytesIO(entry.content))
    return out.getvalue()


def write(draft: Draft, path: Path) -> str:
    """Writes an OCI layout; returns how --image names it."""
    blobs = path / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)

    def put(data: bytes, media_type: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    tars = [tar(layer) for layer in draft.layers]
    family = f"{DOCKER}image.rootfs.diff.tar" if draft.docker else f"{OCI}layer.v1.tar"
    ending = {(True, True): ".gzip", (True, False): "", (False, True): "+gzip", (False, False): ""}
    kind = draft.layer_type or family + ending[draft.docker, draft.zipped]
    packed = draft.packed or ((lambda one: gzip.compress(one, 1, mtime=0)) if draft.zipped else bytes)
    layers = [put(packed(one), kind) for one in tars]
    config = {
        "os": "linux",
        "architecture": draft.architecture,
        "config": dict(draft.process),
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(one).hexdigest()}" for one in tars]},
        "history": [{"created_by": step} for step in draft.history],
        **draft.odd_config,
    }
    manifest_type = f"{DOCKER}distribution.manifest.v2+json" if draft.docker else f"{OCI}manifest.v1+json"
    config_type = f"{DOCKER}container.image.v1+json" if draft.docker else f"{OCI}config.v1+json"
    manifest = {
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "config": put(json.dumps(config).encode(), config_type),
        "layers": layers,
        **draft.odd_manifest,
    }
    top = put(json.dumps(manifest).encode(), manifest_type)
    if draft.index:
        entry = {**top, "platform": {"os": "linux", "architecture": draft.architecture}}
        index_type = f"{OCI}index.v1+json"
        index = {"schemaVersion": 2, "mediaType": index_type, "manifests": [entry]}
        top = put(json.dumps(index).encode(), index_type)
    (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))
    (path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return f"oci:{path}"


SHELL: Layer = (
    folder("bin"),
    program("bin/busybox"),
    link("bin/sh", "busybox"),
    *(
        Entry(f"bin/{name}", mode=0o755, type="1", link="bin/busybox")
        for name in ("ln", "sleep", "ls", "mkdir", "echo")
    ),
    folder("etc"),
    Entry("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\napp:x:1001:0:app:/app:/bin/sh\n"),
)
PROCESS = {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin"]}

OVMS = Draft(
    (SHELL, (folder("models", 0o555), folder("models/1", 0o555), model("1/model.onnx"))), {**PROCESS, "User": "1001"}
)
_SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
_INDEX = json.dumps({"weight_map": {"a": _SHARDS[0], "b": _SHARDS[1]}}).encode()
VLLM = Draft(
    (
        SHELL,
        (
            folder("models", 0o555),
            model("config.json", b"{}"),
            model("tokenizer.json", b"{}"),
            model("model.safetensors.index.json", _INDEX),
            *(model(shard) for shard in _SHARDS),
        ),
    ),
    {**PROCESS, "User": "1001"},
)
CONFIG = (
    b'name: "net"\nbackend: "onnxruntime"\nmax_batch_size: 8\ninput [{ name: "x" data_type: TYPE_FP32 dims: [3] }]\n'
)
TRITON = Draft(
    (
        SHELL,
        (
            folder("models", 0o555),
            folder("models/net", 0o555),
            folder("models/net/1", 0o555),
            model("net/config.pbtxt", CONFIG),
            model("net/1/model.onnx"),
        ),
    ),
    {**PROCESS, "User": "1001"},
)
SERVER = Draft(
    (
        SHELL,
        (
            folder("usr/bin"),
            program("usr/bin/curl"),
            program("usr/bin/python3.12"),
            link("usr/bin/python3", "python3.12"),
            folder("app"),
            Entry("app/app.py", b"print('hello')"),
        ),
    ),
    {
        **PROCESS,
        "User": "1001",
        "Entrypoint": ["python3", "/app/app.py"],
        "Cmd": ["--port", "8080"],
        "ExposedPorts": {"8080/tcp": {}},
    },
)
DOCKER_SERVER = replace(SERVER, docker=True, zipped=True)
BATCH = replace(
    DOCKER_SERVER.config(Entrypoint=None, Cmd=["sh", "/home/run.sh"], ExposedPorts=None).with_(
        Entry("home/run.sh", b"python /app/app.py\n", 0o755),
        link("usr/bin/python", "python3"),
        program("usr/bin/java"),
        program("usr/bin/zip"),
    )
)
CONDA = SERVER.with_(
    Entry("etc/os-release", b'NAME="Ubuntu"\nID=ubuntu\nVERSION_ID="22.04"\n'),
    program("opt/conda/bin/conda"),
    program("opt/conda/bin/python3.11"),
    link("opt/conda/bin/python", "python3.11"),
    Entry("opt/conda/conda-meta/conda-24.1.0-py311.json", b"{}"),
).config(Env=["PATH=/opt/conda/bin:/usr/bin:/bin"])
