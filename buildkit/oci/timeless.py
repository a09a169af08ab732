"""A layer that another program packed, without the clock in it: else the same files are another layer at every build."""

from __future__ import annotations

import tarfile
from pathlib import Path

from buildkit.oci.tar import BLOCK, of_no_time


def forget_times(path: Path) -> bool:
    """Gives every entry of a tar file the time 0, in its place; whether there was another. Raises ``tarfile.TarError``.

    Only the headers are written: a layer of a hundred gigabytes costs no copy. They hold every time that engines write, who
    cut it to whole seconds (moby, pkg/archive, FileInfoHeader; containerd, pkg/archive, ChangeWriter.HandleChange).
    """
    with tarfile.open(path, "r:") as tar:
        headers = [info.offset_data - BLOCK for info in tar if info.mtime]
    with path.open("r+b") as file:
        for start in headers:
            file.seek(start)
            block = file.read(BLOCK)
            file.seek(start)
            file.write(of_no_time(block))
    return bool(headers)
