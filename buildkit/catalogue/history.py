"""The digests that an image had, as the git log of its lock tells them."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from buildkit.catalogue.entry import Past
from buildkit.errors import ModelpackError
from buildkit.lockfile import lock as locks
from buildkit.lockfile.served import served_digest

MOST = 20
"""Commits of a lock that are looked at, the newest first."""

_SECONDS = 30
_SEPARATOR = "\x1f"


def history(lock: Path) -> tuple[Past, ...]:
    """What the lock said at each commit that changed the image, the newest first; nothing where there is no git."""
    found: list[Past] = []
    for line in _git(lock, "log", f"--max-count={MOST}", f"--format=%H{_SEPARATOR}%cs{_SEPARATOR}%s", "--", lock.name):
        commit, date, subject = [*line.split(_SEPARATOR, 2), "", ""][:3]
        digest = _digest(lock, commit)
        if digest:
            found.append(Past(date, commit[:12], digest, subject))
    return tuple(_changes(found))


def _changes(found: Sequence[Past]) -> Iterator[Past]:
    """Of neighbours with the same digest the oldest, which brought it."""
    for number, one in enumerate(found, 1):
        if number == len(found) or found[number].digest != one.digest:
            yield one


def _digest(lock: Path, commit: str) -> str:
    with contextlib.suppress(ModelpackError):
        read = locks.parse("\n".join(_git(lock, "show", f"{commit}:./{lock.name}")))
        return served_digest(read)
    return ""


def _git(lock: Path, *arguments: str) -> list[str]:
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            ["git", "-C", str(lock.resolve().parent), *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
        return done.stdout.splitlines() if done.returncode == 0 else []
    return []
