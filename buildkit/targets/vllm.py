"""What vLLM needs of a deployment."""

from __future__ import annotations

import re
from collections.abc import Iterator

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
    predictor = subject.deployment.at("spec.predictor")
    model = predictor["model"]
    found = _PARALLEL.search(" ".join(argument.text() for argument in model["args"]))
    in_memory = {one["name"].text() for one in predictor["volumes"] if one.at("emptyDir.medium").text() == "Memory"}
    mounted = {one["name"].text() for one in model["volumeMounts"] if one["mountPath"].text() == "/dev/shm"}  # noqa: S108 - of a pod
    if found and int(found[1]) > 1 and not in_memory & mounted:
        yield Found("spec.predictor.model.args", f"ask for {found[1]} GPUs, and nothing is mounted at /dev/shm here")
