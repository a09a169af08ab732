"""The registry and the hub that are measured against, and what they count."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from benchmarks.measure import Sample, counter_of
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
        push_base(live, SHELL_BASE)
        shutil.copytree(self.storage, self._template)

    def reset(self) -> None:
        """Forgets everything but the base image: what one contender sent must not lie in the next one's way."""
        shutil.rmtree(self.storage)
        shutil.copytree(self._template, self.storage)

    def digest(self, repository: str) -> str:
        """What the tag ``v1`` of a repository serves."""
        return self._live.manifest(repository, "v1").digest

    def blobs_sent(self) -> int:
        """Uploads of blobs that were finished so far."""
        return sum(one.method == "PUT" and "/blobs/uploads/" in one.path for one in self._live.requests())

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


def _process_of(folder: Path) -> int:
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and f"{folder}/config-".encode() in (entry / "cmdline").read_bytes():
                return int(entry.name)
    raise RuntimeError("the registry's process is not found")
