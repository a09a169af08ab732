"""The rules of a container that runs Triton."""

from __future__ import annotations

from collections.abc import Iterator

from buildkit.checks.rule import ERROR, WARNING, Found, probed, rule
from buildkit.checks.subject import Subject
from buildkit.targets.layouts import triton_configs, triton_repository
from buildkit.targets.sources import KSERVE_RUNTIMES, OCI_SAMPLES, TRITON

REPOSITORY, CONFIGS = triton_repository, triton_configs
"""Judged where the image carries a repository of its own; the artefact is mounted else."""

SERVES = probed(
    "TR-03",
    ERROR,
    "GET /v2/health/live and /v2/health/ready answer 200 on port 8000, and every model is ready",
    source=f"{TRITON}; {OCI_SAMPLES}",
    do="read the server's log: a model that does not load keeps it unready",
    modes=("triton",),
)


@rule(
    "TR-04",
    "I,F",
    WARNING,
    "/opt/tritonserver/bin/tritonserver is there, and starts through /opt/nvidia/nvidia_entrypoint.sh",
    source=f"{OCI_SAMPLES}; {KSERVE_RUNTIMES}",
    do="stand on nvcr.io/nvidia/tritonserver",
    modes=("triton",),
)
def there(subject: Subject) -> Iterator[Found]:
    """What the deployment's command starts."""
    for path in ("opt/tritonserver/bin/tritonserver", "opt/nvidia/nvidia_entrypoint.sh"):
        if subject.known_files.find(path) is None:
            _ = subject.all_files
            yield Found(f"/{path}", "is not in the image")
