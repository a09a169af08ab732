"""The fleets that tests of status and rebuild begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.ground import Fleet, secured


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    """Ten recipes, none of them built yet."""
    yield from _logged_in(10, tmp_path, monkeypatch)


@pytest.fixture
def built(fleet: Fleet) -> Fleet:
    """Ten images that are up to date."""
    fleet.build_all()
    fleet.clear()
    return fleet


@pytest.fixture
def fifty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    """Fifty recipes, none of them built yet."""
    yield from _logged_in(50, tmp_path, monkeypatch)


def _logged_in(size: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    place = folder / "a fleet"
    place.mkdir()
    for fleet, variables in secured(size, place):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        yield fleet
