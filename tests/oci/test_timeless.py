"""An engine's layer without its clock: if these fail, the same files are another layer at every build."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from buildkit.oci.timeless import forget_times

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
    assert forget_times(path)
    assert path.read_bytes() == none.read_bytes()
    assert not forget_times(path)
