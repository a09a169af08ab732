"""The least that a one-pass uploader must do, to be measured against: tar header, content, sha256, one PATCH a layer.

It knows no login, no retry, no base and no lock. ``python -m benchmarks.reference SOURCE HOST REPOSITORY [--jobs N]
[--one-layer]``; SOURCE is a folder, or URLs with commas between them, each of which is read over one connection.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import tarfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

BLOCK = 1 << 20
LARGE = 64 << 20
OCI = "application/vnd.oci.image."
Piece = bytes | memoryview


def blocks(source: Path | str) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(BLOCK))
    with open(source, "rb", buffering=0) if isinstance(source, Path) else urlopen(source) as file:
        while count := file.readinto(buffer):
            yield buffer[:count]


def tar(files: Iterable[tuple[str, Path | str, int]]) -> Iterator[Piece]:
    for name, source, size in files:
        member = tarfile.TarInfo(f"models/{name}")
        member.size, member.mode, member.uid = size, 0o444, 1001
        head = member.tobuf(tarfile.GNU_FORMAT)
        if size < 64 * 1024:
            yield b"".join((head, *map(bytes, blocks(source)), bytes(-size % 512)))
        else:
            yield head
            yield from blocks(source)
            yield bytes(-size % 512)
    yield bytes(1024)


def send(host: str, repository: str, size: int, pieces: Iterable[Piece]) -> dict[str, object]:
    """POST, one PATCH that is hashed on the way, PUT; returns the descriptor."""
    registry, hashed = HTTPConnection(host, blocksize=BLOCK), hashlib.sha256()
    registry.request("POST", f"/v2/{repository}/blobs/uploads/", headers={"Content-Length": "0"})
    registry.putrequest("PATCH", location(registry.getresponse()))
    registry.putheader("Content-Type", "application/octet-stream")
    registry.putheader("Content-Length", str(size))
    registry.endheaders()
    for piece in pieces:
        hashed.update(piece)
        registry.send(piece)
    digest = f"sha256:{hashed.hexdigest()}"
    registry.request("PUT", f"{location(registry.getresponse())}&digest={digest}", headers={"Content-Length": "0"})
    location(registry.getresponse())
    return {"mediaType": f"{OCI}layer.v1.tar", "digest": digest, "size": size}


def location(answer: HTTPResponse) -> str:
    answer.read()
    assert answer.status in (201, 202), answer.status
    where = urlsplit(answer.headers["Location"])
    return f"{where.path}?{where.query}"


def put_manifest(host: str, repository: str, tag: str, manifest: dict[str, object]) -> None:
    registry, kind = HTTPConnection(host), {"Content-Type": str(manifest["mediaType"])}
    registry.request("PUT", f"/v2/{repository}/manifests/{tag}", json.dumps(manifest), kind)
    location(registry.getresponse())


def size_of(url: str) -> int:
    with urlopen(Request(url, method="HEAD")) as answer:
        return int(answer.headers["Content-Length"])


def push(source: str, host: str, repository: str, jobs: int, one_layer: bool) -> None:
    if source.startswith("http"):
        urls: list[tuple[str, Path | str, int]] = [
            (url.rpartition("/")[2], url, size_of(url)) for url in source.split(",")
        ]
        layers = [urls] if one_layer else [[url] for url in urls]
    else:
        paths = sorted(Path(folder, name) for folder, _, names in os.walk(source) for name in names)
        files: list[tuple[str, Path | str, int]] = [
            (str(path.relative_to(source)), path, path.stat().st_size) for path in paths
        ]
        small = [file for file in files if one_layer or file[2] < LARGE]
        layers = ([small] if small else []) + [[file] for file in files if file not in small]
    sizes = [sum(512 + size + -size % 512 for _, _, size in layer) + 1024 for layer in layers]
    with ThreadPoolExecutor(jobs) as pool:
        sent = list(pool.map(lambda layer, size: send(host, repository, size, tar(layer)), layers, sizes))
    diff_ids = [layer["digest"] for layer in sent]
    config = json.dumps(
        {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    ).encode()
    described = {**send(host, repository, len(config), [config]), "mediaType": f"{OCI}config.v1+json"}
    manifest = {"schemaVersion": 2, "mediaType": f"{OCI}manifest.v1+json", "config": described, "layers": sent}
    put_manifest(host, repository, "v1", manifest)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reference", description=__doc__)
    parser.add_argument("source")
    parser.add_argument("host")
    parser.add_argument("repository")
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--one-layer", action="store_true")
    options = parser.parse_args()
    push(options.source, options.host, options.repository, options.jobs, options.one_layer)
