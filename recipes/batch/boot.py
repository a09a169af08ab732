"""What makes a boot file fail on the platform although it runs at home."""

from __future__ import annotations

from pathlib import Path

from buildkit.reading.plain import Refusal, shown


def boot_problem(path: Path) -> Refusal | None:
    """What is wrong with a boot file; None where ``/bin/sh`` can run it."""
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = "is not there" if not path.exists() else f"cannot be read: {error.strerror}"
        return Refusal(f"{shown(path.name)} {reason}", "write it beside the recipe; it becomes /home/run.sh")
    if not content.strip():
        return Refusal(f"{shown(path.name)} is empty", "write what the job does")
    if b"\r\n" in content:
        return Refusal(f"{shown(path.name)} has the line ends of Windows, which a shell takes for a part of each command",
                       "save it with LF, and keep it so: '*.sh text eol=lf' in .gitattributes")  # fmt: skip
    if content.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        return Refusal(f"{shown(path.name)} begins with a byte order mark", "save it as UTF-8 without one")
    return None
