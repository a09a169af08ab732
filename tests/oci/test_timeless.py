"""An engine's layer without its clock: if these fail, the same files are another layer at every build."""

from __future__ import annotations

import io
import os
import py_compile
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from buildkit.oci.timeless import Timeless

LONG = "opt/" + "long/" * 60 + "name"
KINDS = {
    "opt": tarfile.DIRTYPE,
    "opt/file": tarfile.REGTYPE,
    LONG: tarfile.REGTYPE,
    "opt/link": tarfile.SYMTYPE,
    "opt/same": tarfile.LNKTYPE,
    "opt/.wh.gone": tarfile.REGTYPE,
}


def packed(path: Path, mtime: int, form: int) -> Path:
    """A layer with every sort of entry, as tar files of this form have them."""
    with tarfile.open(path, "w", format=form) as tar:
        for name, kind in KINDS.items():
            info = tarfile.TarInfo(name)
            info.type, info.mtime = kind, mtime
            info.linkname = "opt/file" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            info.pax_headers = {"SCHILY.xattr.user.note": "kept"} if name == "opt/file" else {}
            content = name.encode() * 50 if kind == tarfile.REGTYPE else b""
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_all_that_is_left_of_a_layer_is_what_is_in_it(tmp_path: Path, form: int) -> None:
    """A layer that was damaged on the way is not unpacked, and one that keeps a time is pushed again after every build."""
    path, none = packed(tmp_path / "clock", 1795332651, form), packed(tmp_path / "none", 0, form)
    assert Timeless().forget_times(path)
    assert path.read_bytes() == none.read_bytes()
    assert not Timeless().forget_times(path)


@pytest.mark.parametrize("layers", [["site"], ["site/kept.py", "site"], ["site/kept.py", "site/__pycache__"]])
def test_a_compiled_module_stays_valid_where_it_was(tmp_path: Path, layers: list[str]) -> None:
    """A container that compiles every package anew at each start comes up a minute later, and its platform gives it up."""
    site = tmp_path / "site"
    site.mkdir()
    for name in ("kept", "changed"):
        (site / f"{name}.py").write_text("ANSWER = 42\n")
        os.utime(site / f"{name}.py", (1_795_332_651, 1_795_332_651))
        py_compile.compile(str(site / f"{name}.py"), invalidation_mode=py_compile.PycInvalidationMode.TIMESTAMP)
    os.utime(site / "changed.py", (1_795_332_652, 1_795_332_652))
    clock = Timeless()
    for number, content in enumerate(layers):
        layer = tmp_path / f"layer {number}"
        with tarfile.open(layer, "w", format=tarfile.GNU_FORMAT) as tar:
            tar.add(tmp_path / content, content)
        assert clock.forget_times(layer)
        with tarfile.open(layer) as tar:
            tar.extractall(tmp_path / "container", filter="data")
    command = [sys.executable, "-v", "-B", "-c", "import kept"]
    ran = subprocess.run(command, cwd=tmp_path / "container" / "site", capture_output=True, text=True, check=True)
    assert re.search(r"# .*/kept\.cpython-\d+\.pyc matches .*/kept\.py", ran.stderr)
    compiled = next((tmp_path / "container" / "site" / "__pycache__").glob("changed.*")).read_bytes()
    assert compiled[8:12] != bytes(4), "what was compiled of another source is valid now"
