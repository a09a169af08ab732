"""The one folder outside the project that is ever written to."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from buildkit.errors import InvalidInput


def cache_folder() -> Path:
    """``MODELPACK_CACHE_DIR``, else ``modelpack`` in the user's cache folder as the platform has it. Not created here.

    A user without a home, as containers have them, gets a folder beside the temporary ones. Raises InvalidInput where that
    is another user's, or the variable names the home of a user who has none.
    """
    chosen = os.environ.get("MODELPACK_CACHE_DIR")
    try:
        return Path(chosen).expanduser().absolute() if chosen else _users_folder()
    except RuntimeError:
        if chosen:
            raise InvalidInput(f"MODELPACK_CACHE_DIR names {chosen}, and that user has no home") from None
        return _of_the_homeless()


def _of_the_homeless() -> Path:
    """A folder beside the temporary ones; one that another user made there first is not believed."""
    owner = os.getuid() if os.name == "posix" else 0
    folder = Path(tempfile.gettempdir()) / f"modelpack-{owner}"
    if folder.exists() and folder.stat().st_uid != owner:
        raise InvalidInput(f"{folder} belongs to another user", hint="set MODELPACK_CACHE_DIR to a folder of your own")
    return folder


def _users_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "modelpack" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "modelpack"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "modelpack"
