"""The fleets that tests of status and rebuild begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.ground import Fleet, Grown, grown, secured


@pytest.fixture(scope="session")
def once_built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Grown, dict[str, str]]]:
    """Ten images that were built once for all tests, as they were then."""
    folder = tmp_path_factory.mktemp("built")
    place, home = folder / "a fleet", folder / "home"
    place.mkdir()
    with pytest.MonkeyPatch.context() as environment:
        # Fixtures of the session are made before each test gets a home of its own.
        environment.setenv("HOME", str(home))
        environment.setenv("MODELPACK_CACHE_DIR", str(home / "cache"))
        environment.delenv("DOCKER_CONFIG", raising=False)
        for fleet, variables in secured(10, place):
            with environment.context() as logged_in:
                _log_in(variables, logged_in)
                fleet.build_all()
            yield grown(fleet, home / "cache"), variables


@pytest.fixture
def built(
    once_built: tuple[Grown, dict[str, str]], private_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Fleet:
    """Ten images that are up to date."""
    state, variables = once_built
    _log_in(variables, monkeypatch)
    return state.restored(tmp_path / "a fleet", private_home / "cache")


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    """Ten recipes, none of them built yet."""
    place = tmp_path / "a fleet"
    place.mkdir()
    for fleet, variables in secured(10, place):
        _log_in(variables, monkeypatch)
        yield fleet


def _log_in(variables: dict[str, str], environment: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)
