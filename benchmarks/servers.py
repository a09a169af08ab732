"""The registry and the hub that are measured against, and what they count."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from benchmarks.measure import Sample, counter_of
from benchmarks.reference import put_manifest, send
from tests.fakes.content import Synthetic
from tests.fakes.hub import Hub
from tests.live.base_images import SHELL_BASE, push_base
from tests.live.registry import READER, LiveRegistry, start_registry

Storage = Literal["disk", "memory"]
MEMORY = Path("/dev/shm")
_ACCESS = re.compile(r'^\S+ - .*? "\S+ \S+ [^"]*" \d{3} (?P<size>\d+) "[^"]*" "(?P<agent>.*)"$')


class BenchRegistry:
    """docker-registry with its file system storage, which is on the disk or on a tmpfs ("in memory").

    Its own ``inmemory`` driver copies a blob over and over while it grows and would measure just that. ``sent`` is what
    its process read from its connections (``rchar``), ``received`` the bodies it answered with, by its access log.
    """

    def __init__(self, live: LiveRegistry, folder: Path) -> None:
        self.host = live.host
        self.base = f"{live.host}/{SHELL_BASE}:latest"
        self.storage = folder / "storage"
        self._live = live
        self._process = _process_of(folder)
        self._template = folder / "template"
        self._index = push_base(live, SHELL_BASE).rpartition("@")[2]
        shutil.copytree(self.storage, self._template)

    def reset(self) -> None:
        """Forgets everything but the base image: what one contender sent must not lie in the next one's way."""
        shutil.rmtree(self.storage)
        shutil.copytree(self._template, self.storage)

    def digest(self, repository: str) -> str:
        """What the tag ``v1`` of a repository serves."""
        return self._live.manifest(repository, "v1").digest

    def move_base(self, number: int) -> None:
        """Puts another base under the same tag: the amd64 one with one more layer of 1 MiB."""
        layer = _layer(Synthetic(1 << 20, number).read(0, 1 << 20))
        index = json.loads(self._live.manifest(SHELL_BASE, self._index).content)
        chosen = next(one for one in index["manifests"] if one["platform"]["architecture"] == "amd64")
        manifest = json.loads(self._live.manifest(SHELL_BASE, chosen["digest"]).content)
        config = json.loads(self._live.blob(SHELL_BASE, manifest["config"]["digest"]))
        manifest["layers"].append(sent := send(self.host, SHELL_BASE, len(layer), [layer]))
        config["rootfs"]["diff_ids"].append(sent["digest"])
        config["history"] = [*config.get("history", []), {"created_by": f"update {number}"}]
        raw = json.dumps(config).encode()
        manifest["config"] |= {
            **send(self.host, SHELL_BASE, len(raw), [raw]),
            "mediaType": manifest["config"]["mediaType"],
        }
        put_manifest(self.host, SHELL_BASE, "latest", manifest)

    def counted(self) -> Sample:
        """What moved so far."""
        self._live.requests()  # waits until everything that was answered stands in the log
        lines = self._live.log_path.read_text("utf-8", "replace").splitlines()
        answered = [found for line in lines if (found := _ACCESS.match(line)) and found["agent"] != READER]
        sizes = sum(int(found["size"]) for found in answered)
        return Sample(sent=counter_of(self._process, "rchar"), received=sizes, requests=len(answered))


class CountingHub:
    """What the fake hub served."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def counted(self) -> Sample:
        requests = self.hub.requests
        return Sample(received=sum(one.response_bytes for one in requests), requests=len(requests))


@contextlib.contextmanager
def bench_registry(folder: Path, storage: Storage) -> Iterator[BenchRegistry]:
    """A registry with the base image in it; everything it held is gone at the end."""
    place = MEMORY / f"modelpack-bench-{folder.name}" if storage == "memory" else folder / "registry"
    try:
        with start_registry(place) as live:
            yield BenchRegistry(live, place)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _layer(content: bytes) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        member = tarfile.TarInfo("usr/share/update")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return written.getvalue()


def _process_of(folder: Path) -> int:
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and f"{folder}/config-".encode() in (entry / "cmdline").read_bytes():
                return int(entry.name)
    raise RuntimeError("the registry's process is not found")
