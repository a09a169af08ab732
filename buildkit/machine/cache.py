"""The one folder outside the project that is ever written to."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """``MODELPACK_CACHE_DIR``, else ``modelpack`` in the user's cache folder as the platform has it. Not created here."""
    chosen = os.environ.get("MODELPACK_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "modelpack" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "modelpack"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "modelpack"
