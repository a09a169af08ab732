"""Programs that serve while tests run: started, waited for by a condition, stopped by their own process handle."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

POLL_SECONDS = 0.02
STOP_SECONDS = 20.0
TAIL_CHARACTERS = 6000


class DaemonError(Exception):
    """A daemon ended, or did not answer in time; the message closes with the end of its log."""


def tail(log: Path) -> str:
    """The end of a log, for a person to read."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    return text[-TAIL_CHARACTERS:] or "(its log is empty)"


def wait_until(ready: Callable[[], bool], seconds: float) -> bool:
    """Ask a condition again and again until it holds; False when the seconds are over first."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, then SIGKILL when it has not ended after STOP_SECONDS."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def daemon(
    command: Sequence[str],
    log: Path,
    ready: Callable[[], bool],
    *,
    environment: Mapping[str, str],
    seconds: float = 60.0,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the block ends; both its outputs go to ``log``.

    It gets a session of its own, so that an interrupt at the terminal reaches the tests first and they stop it.

    Raises:
        DaemonError: it ended, or was not ready in time; the end of its log is in the message.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, start_new_session=True
        )
    try:
        in_time = wait_until(lambda: process.poll() is not None or ready(), seconds)
        if process.poll() is not None:
            raise DaemonError(f"{command[0]} ended with {process.returncode}; {log} says:\n{tail(log)}")
        if not in_time:
            raise DaemonError(f"{command[0]} did not answer within {seconds:g} s; {log} says:\n{tail(log)}")
        yield process
    finally:
        stop(process)
