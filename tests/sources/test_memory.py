"""Memory does not grow with the model: neither on one connection nor with parts read ahead."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.hub import Hub, Synthetic
from tests.sources.conftest import NAME

SIZE = 300_000_000
GROWTH = 60_000_000

READER = """
import resource, sys
from buildkit.inputs import HuggingFaceRef
from buildkit.pin import proven
from buildkit.sources import ahead
from buildkit.sources.huggingface import HuggingFace
if sys.argv[2] == "ahead":
    ahead.SLOW, ahead.DISTANT = float("inf"), 0.0
else:
    ahead.SLOW = 0.0
source = HuggingFace(HuggingFaceRef(hf="org/model"), sys.argv[1], lambda: None, window=32 << 20)
files = source.inventory().files
for piece in source.open(files[0]):
    pass
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for piece in proven(source, files[1]):
    pass
unit = 1 if sys.platform == "darwin" else 1024
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit)
"""


@pytest.mark.skipif(os.name != "posix", reason="this platform does not tell a process's largest memory")
@pytest.mark.parametrize("way", ["plain", "ahead"])
def test_a_large_file_passes_through_little_memory(way: str, tmp_path: Path) -> None:
    """A 100 GB model must be built on a small machine."""
    with Hub() as hub:
        hub.add(NAME, {"a": Synthetic(2_000_000), "b": Synthetic(SIZE)})
        command = [sys.executable, "-c", READER, hub.endpoint, way]
        environment = {**os.environ, "HF_HOME": str(tmp_path)}
        done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=120)
        parts = len([request for request in hub.requests if request.origin == "cdn"])
    assert done.returncode == 0, done.stderr.decode()
    assert int(done.stdout) < GROWTH, f"memory grew by {int(done.stdout):,} bytes for a file of {SIZE:,}"
    assert (parts > 20) == (way == "ahead"), "the file came another way than this test is about"
