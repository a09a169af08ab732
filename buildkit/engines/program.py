"""Running an engine's program: its lines are passed on as they come, and its failure is explained by them."""

from __future__ import annotations

import contextlib
import subprocess
from collections import deque

from buildkit.errors import EngineFailed, Problem
from buildkit.events import Emit, Said

_KEPT_LINES = 40
_SHOWN_LINES = 12
_ENDING_SECONDS = 5


def run(engine: str, command: list[str], emit: Emit) -> None:
    """Runs a command; raises EngineFailed with its last lines. Interrupted, it ends the program before it goes on."""
    said: deque[str] = deque(maxlen=_KEPT_LINES)
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout
        try:
            for line in process.stdout:
                said.append(line)
                emit(Said(f"{engine}: {line.rstrip()}"))
        except BaseException:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_ENDING_SECONDS)
            process.kill()
            raise
    if process.returncode:
        raise failed(engine, "".join(said))


def failed(engine: str, said: str) -> EngineFailed:
    """The failure of an engine, with the last lines that it printed."""
    lines = [line.rstrip() for line in said.splitlines() if line.strip()]
    hint = next((hint for mark, hint in _HINTS.items() if mark in said), "")
    return EngineFailed(f"{engine} failed", [Problem("", line[:400]) for line in lines[-_SHOWN_LINES:]], hint=hint)


_HINTS = {
    "cgroups in hybrid mode not supported": "this machine needs runc: set 'runtime = \"runc\"' in containers.conf",
    "error setting rlimit": 'set \'default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\' in containers.conf',
    "Cannot connect to the Docker daemon": "start docker, or use --engine embedded, which needs no daemon",
    "no space left on device": "make room on the disk that holds the engine's images, or use --engine embedded, which needs none",
}
