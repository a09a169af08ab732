"""An engine as it is on a machine that has built nothing yet."""

from __future__ import annotations

import subprocess

_COMMANDS = {
    "buildx": (["docker", "buildx", "prune", "--all", "--force"],),
    "podman": (["podman", "rmi", "--all", "--force"], ["podman", "builder", "prune", "--all", "--force"]),
}


def prune(engine: str) -> None:
    """Empties the engine's cache of steps, and podman's store, which is its cache too."""
    for command in _COMMANDS[engine]:
        subprocess.run(command, capture_output=True, check=False)
