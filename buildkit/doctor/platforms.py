"""The targets: what can be done for each with what this machine has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from buildkit.doctor.finding import Finding
from buildkit.targets import TARGETS


def platforms(engines: Sequence[Finding]) -> Iterator[Finding]:
    """Every target: checking and deploying need nothing, running an image as the platform does needs an engine."""
    running = [one.name.replace("buildx", "docker") for one in engines if one.state == "ok" and one.name != "embedded"]
    for name in TARGETS:
        if running:
            yield Finding("target", name, "ok", f"check and deploy; verify and run with {' or '.join(running)}")
        else:
            yield Finding(
                "target", name, "missing", "check and deploy; no engine to verify with", "install podman or docker"
            )
