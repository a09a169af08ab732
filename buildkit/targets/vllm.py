"""What vLLM needs of a deployment."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from buildkit.checks.rule import NOTE, Found, rule
from buildkit.checks.subject import Subject
from buildkit.targets.sources import KSERVE_RUNTIMES

_PARALLEL = re.compile(r"(?:^|\s)(?:--tensor-parallel-size|-tp)(?:=|\s+)(\d+)")


@rule(
    "VL-04",
    "D",
    NOTE,
    "vLLM on several GPUs has /dev/shm in memory: its processes speak through it",
    source=KSERVE_RUNTIMES,
    do="see that the ServingRuntime mounts an emptyDir with medium: Memory at /dev/shm, as Open Data Hub's does, or add one",
)
def shared_memory(subject: Subject) -> Iterator[Found]:
    """The runtime of the cluster may mount it: nobody can tell here, so that it is a note."""
    predictor: dict[str, Any] = (subject.deployment.get("spec") or {}).get("predictor") or {}
    model: dict[str, Any] = predictor.get("model") or {}
    found = _PARALLEL.search(" ".join(map(str, model.get("args") or ())))
    in_memory = {
        volume.get("name")
        for volume in predictor.get("volumes") or ()
        if (volume.get("emptyDir") or {}).get("medium") == "Memory"
    }
    mounted = {mount.get("name") for mount in model.get("volumeMounts") or () if mount.get("mountPath") == "/dev/shm"}  # noqa: S108 - of a pod
    if found and int(found[1]) > 1 and not in_memory & mounted:
        yield Found("spec.predictor.model.args", f"ask for {found[1]} GPUs, and nothing is mounted at /dev/shm here")
