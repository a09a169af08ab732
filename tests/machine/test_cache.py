"""The cache's folder: if these fail, a container without a home cannot build."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit.errors import InvalidInput
from buildkit.machine.cache import cache_folder


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user as Kubernetes runs them: no variable and no entry in the user database tells a home."""

    def expanded(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("MODELPACK_CACHE_DIR", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "expanduser", expanded)
    monkeypatch.setattr(Path, "home", lambda: expanded(Path("~")))


@pytest.mark.usefixtures("homeless")
def test_a_user_without_a_home_has_a_cache() -> None:
    """And one of their own: another user's would be refused or, worse, believed."""
    folder = cache_folder()
    assert folder.is_absolute() and folder.name.startswith("modelpack-")


@pytest.mark.usefixtures("homeless")
def test_a_home_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slip in a variable is not a fault of ours."""
    monkeypatch.setenv("MODELPACK_CACHE_DIR", "~nobody-at-all/cache")
    with pytest.raises(InvalidInput, match="MODELPACK_CACHE_DIR names ~nobody-at-all/cache"):
        cache_folder()
