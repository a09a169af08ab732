"""Running an engine's program: its lines are passed on as they come, and its failure is explained by them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from buildkit.errors import EngineFailed, Problem
from buildkit.events import Emit, Said

_KEPT_LINES = 40
_SHOWN_LINES = 12
_INTERRUPTED_SECONDS = 10
"""How long an engine may take to end what it runs, its containers and their secrets, when it is interrupted."""

_ENDING_SECONDS = 2
_ANSWER_SECONDS = 20
"""How long an engine may take to say which version it is."""

_NOISE = re.compile(
    r"^\s*\d+ \| |^-{4,}$|^ > |^ERROR: failed to |^[\w./-]*Containerfile:\d+$|^#\d+ (?:\[|CANCELED|DONE|CACHED)"
)
"""What BuildKit and podman say around a failure: the excerpt of the Containerfile and the command once more."""


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
            _end(process)
            raise
    if process.returncode:
        raise failed(engine, "".join(said))


def asked(command: Sequence[str]) -> tuple[int, str]:
    """What a program answers to a short question, as its code and its words; code 1 where it does not answer at all."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_ANSWER_SECONDS, check=False
        )
        return done.returncode, done.stdout if done.returncode == 0 else done.stderr or done.stdout
    return 1, f"{command[0]} does not answer within {_ANSWER_SECONDS} seconds"


def last_line(said: str) -> str:
    """The last line of a program's words, which is the one that tells why it failed."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it says nothing"


def _end(process: subprocess.Popen[str]) -> None:
    """Ends an engine and what it runs, the innermost first: podman, interrupted itself, dies and leaves its container running.

    A build whose step has ended cleans up after itself, its secrets included (measured with podman 4.3).
    """
    for descendant in reversed(_descendants(process.pid)):
        with contextlib.suppress(OSError):
            os.kill(descendant, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_ENDING_SECONDS)
        return
    for signal_number, seconds in ((signal.SIGINT, _INTERRUPTED_SECONDS), (signal.SIGTERM, _ENDING_SECONDS)):
        with contextlib.suppress(subprocess.TimeoutExpired, OSError, ValueError):
            process.send_signal(signal_number)
            process.wait(seconds)
            return
    process.kill()


def _descendants(pid: int) -> list[int]:
    """What a process started, and what that started, outermost first; nothing where there is no /proc to ask (proc(5))."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int(stat.read_text(errors="replace").rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found = children.get(pid, [])
    for child in found:
        found += children.get(child, [])
    return found


def failed(engine: str, said: str) -> EngineFailed:
    """The failure of an engine, with the last lines that it printed."""
    told = [line.rstrip() for line in said.splitlines() if line.strip()]
    lines = [line for line in told if not _NOISE.match(line)] or told
    hint = next((hint for mark, hint in _HINTS.items() if mark in said), "")
    return EngineFailed(f"{engine} failed", [Problem("", _end_of(line)) for line in lines[-_SHOWN_LINES:]], hint=hint)


def _end_of(line: str) -> str:
    """A line that fits: of one that repeats a whole command, the end, which names the failure."""
    return line if len(line) <= _LONGEST else f"… {line[-_LONGEST:]}"


_LONGEST = 300
_HINTS = {
    # Whatever is no instruction was refused before a build: what is left are the lines of a here-document.
    "nknown instruction": "podman reads here-documents from 4.8 on; use --engine buildx, or write the lines as RUN a && b",
    "cgroups in hybrid mode not supported": "this machine needs runc: set 'runtime = \"runc\"' in containers.conf",
    "error setting rlimit": 'set \'default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\' in containers.conf',
    "Cannot connect to the Docker daemon": "start docker, or set DOCKER_HOST to one that runs",
    "no space left on device": "make room on the disk that holds the engine's images",
}
