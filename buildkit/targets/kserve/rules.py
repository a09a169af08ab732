"""KServe's rules: what its init check, its sidecar and its runtimes need of an image."""

from __future__ import annotations

from buildkit.check import WARNING, probed
from buildkit.targets.sources import KSERVE, KSERVE_DOCS

UID = probed(
    "KS-11",
    WARNING,
    "a runtime with the sidecar's user reads the model through /proc/PID/root",
    source=f"{KSERVE_DOCS}; kserve issue 4995",
    do="use oci+native:// on Kubernetes 1.33 and later, or set uidModelcar",
    kinds="P,D",
    modes=("modelcar",),
)
SMALL = probed(
    "KS-18",
    WARNING,
    "the sidecar's command fits into 15 MiB of memory",
    source=KSERVE,
    do="use a small base with a small shell: ubi-micro, busybox",
    kinds="I,F,P",
    modes=("modelcar",),
)
