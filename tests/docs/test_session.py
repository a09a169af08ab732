"""The picture of a session: if these fail, the first thing that anybody sees of modelpack is not what it does."""

from __future__ import annotations

import html
import re
import sys
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("there are no pseudo terminals", allow_module_level=True)

from docs.record import SESSION, picture


def shown(picture: str) -> str:
    """What stands in a picture, without digests: they also cover what no picture shows, such as the tool's version."""
    lines: dict[str, str] = {}
    for height, text in re.findall(r'<text [^>]*\by="([\d.]+)"[^>]*>([^<]*)</text>', picture):
        lines[height] = lines.get(height, "") + html.unescape(text).replace("\xa0", " ")
    return re.sub(r"[0-9a-f]{20,}", "…", "\n".join(line.rstrip() for line in lines.values()))


def test_the_recorded_session_is_what_modelpack_does() -> None:
    """The picture must show the words of this version, and be what its script makes of a real run."""
    recorded = shown(SESSION.read_text(encoding="utf-8"))
    assert "$ modelpack build recipe.yaml --push --registry quay.io/you\n" in recorded
    assert shown(picture()) == recorded, "run 'python -m docs.record', look at it, and commit it"


def test_the_picture_is_small_and_asks_nobody() -> None:
    """It is loaded by whoever opens the README: no fonts of others, no scripts, and nothing of the machine that made it."""
    recorded = SESSION.read_text(encoding="utf-8")
    assert len(recorded.encode()) < 100_000
    assert not re.findall(r"(?:href|src)=|url\(['\"]?(?!#)|@import|@font-face|<script", recorded)
    assert set(re.findall(r"https?://[\w.-]+", recorded)) <= {"http://www.w3.org", "https://www.textualize.io"}
    for word in ("127.0.0.1", "/tmp", "/root", "/home", str(Path.home())):
        assert word not in recorded
    for word in ("modelpack&#160;build", "sha256:", "rules&#160;held"):
        assert word in recorded
