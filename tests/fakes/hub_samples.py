"""A repository's worth of files for the hub's tests."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.fakes.content import Content
from tests.fakes.hub import Synthetic

BIG = Synthetic(24_000_003, seed=3)
CONFIG = b'{"a": 1}'
README = b"# hello\n"
FILES: dict[str, bytes | Path | Content] = {
    "README.md": README,
    "config.json": CONFIG,
    "sub/dir/vocab.txt": b"a\nb\n",
    "model.safetensors": BIG,
}


def sha256(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
