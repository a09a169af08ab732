"""Small wheels under the names that a lock gives: an agent is built without a package index, from all that its lock names."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from pathlib import Path

INDEX = "files.pythonhosted.org"
_WHEEL = re.compile(
    rf'(?P<url>url = "https://{re.escape(INDEX)}/(?P<path>[^"]+\.whl)"), hash = "sha256:[0-9a-f]{{64}}"(?:, size = \d+)?'
)


def shrink(lock: Path) -> dict[str, bytes]:
    """Puts a small wheel's hash in the place of each wheel's in a lock; gives the wheels by their path at the index."""
    wheels: dict[str, bytes] = {}

    def small(found: re.Match[str]) -> str:
        raw = wheels.setdefault(found["path"], _wheel(found["path"].rpartition("/")[2]))
        return f'{found["url"]}, hash = "sha256:{hashlib.sha256(raw).hexdigest()}"'

    lock.write_text(_WHEEL.sub(small, lock.read_text(encoding="utf-8")), encoding="utf-8")
    return wheels


def _wheel(name: str) -> bytes:
    """A wheel of that file name with one module (packaging.python.org, "Binary distribution format")."""
    project, version, *tags = name.removesuffix(".whl").split("-")
    info = f"{project}-{version}.dist-info"
    contents = {
        f"{project.lower()}/__init__.py": f'"""Stands for {project}."""\n',
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\nTag: {'-'.join(tags[-3:])}\n",
    }
    record = "".join(f"{path},,\n" for path in (*contents, f"{info}/RECORD"))
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for path, content in {**contents, f"{info}/RECORD": record}.items():
            archive.writestr(zipfile.ZipInfo(path), content)
    return written.getvalue()
