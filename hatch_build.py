"""Compiles ``buildkit/oci/_sha256.c`` into the wheel, where this machine can; where not, the wheel is pure Python and slower."""

from __future__ import annotations

import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = "buildkit/oci/_sha256.c"
MADE = "buildkit/oci/_sha256.abi3.so"
OPTIONS = ("-O2", "-shared", "-fPIC")


class Sha256(BuildHookInterface[Any]):
    """The accelerator of ``buildkit.oci.hashing``: needs a C compiler, Python's headers, and a processor of the x86-64 kind."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Adds what was compiled to a wheel; an editable installation has it beside its source."""
        self._folder = tempfile.mkdtemp(prefix="modelpack-build-")
        place = Path(self.root, MADE) if version == "editable" else Path(self._folder, "made.so")
        problem = _compiled(Path(self.root, SOURCE), place)
        if problem:
            self.app.display_warning(f"hashing will take twice as long: {problem}")
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"cp311-abi3-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
        if version != "editable":
            build_data["force_include"][str(place)] = MADE

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Removes what was compiled for the wheel."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _compiled(source: Path, place: Path) -> str:
    """Compiles; returns why that could not be done, "" where it could."""
    if sys.platform not in ("linux", "darwin") or platform.machine() != "x86_64" or sys.maxsize < 2**32:
        return f"there is no accelerator for {sys.platform} on {platform.machine()}"
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "this Python does not load extensions of the stable ABI"
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")
    found = next((one for one in (compiler, ["cc"], ["gcc"], ["clang"]) if shutil.which(one[0])), None)
    if found is None:
        return "there is no C compiler"
    includes = [f"-I{sysconfig.get_path(name)}" for name in ("include", "platinclude")]
    undefined = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
    command = [*found, *OPTIONS, *undefined, *includes, str(source), "-o", str(place)]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        return f"{found[0]} cannot be started: {error.strerror}"
    return "" if ran.returncode == 0 else f"{found[0]} says {(ran.stderr.strip().splitlines() or ['nothing'])[0]}"
