"""The installer, and what is said where an engine is missing."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live import install

ROOT = Path(__file__).resolve().parents[2]
NO_PART = install.Part(("modelpack-no-such-program", "--version"), "no-such-package")


@pytest.fixture
def one_part_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine where python is there, one part is missing, and installing is not ours to do."""
    monkeypatch.delenv("MODELPACK_REQUIRE_ENGINES", raising=False)
    monkeypatch.setattr(install, "PARTS", (install.Part((sys.executable, "--version"), "python3"), NO_PART))
    monkeypatch.setattr(install, "can_install", lambda: False)


@pytest.mark.usefixtures("one_part_missing")
def test_missing_part_is_named_and_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    """A developer without root could not run the tests at all, or would not learn what is missing."""
    assert install.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "MISSING" in line] == [
        "modelpack-no-such-program: MISSING (Debian package no-such-package)"
    ]


@pytest.mark.usefixtures("one_part_missing")
def test_missing_part_is_a_failure_where_engines_are_required(monkeypatch: pytest.MonkeyPatch) -> None:
    """Continuous integration would be green with tests that never ran."""
    monkeypatch.setenv("MODELPACK_REQUIRE_ENGINES", "1")
    assert install.main() == 1


@pytest.mark.usefixtures("one_part_missing")
def test_apt_failure_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An apt that failed would hide behind tests that are skipped."""

    def refuse(*arguments: str) -> str:
        raise install.AptError(f"`{' '.join(arguments)}` ended with 100:\nE: no such thing")

    monkeypatch.setattr(install, "can_install", lambda: True)
    monkeypatch.setattr(install, "services_left_alone", contextlib.nullcontext)
    monkeypatch.setattr(install, "apt", refuse)
    assert install.main() == 1
    said = capsys.readouterr().err
    assert "apt-get update` ended with 100" in said
    assert "apt-get install" in said, "a failed update must not keep the installation from being tried, or told"


@pytest.mark.usefixtures("one_part_missing")
def test_nothing_is_installed_when_all_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run of the tests would go to the archive."""

    def refuse(*arguments: str) -> str:
        raise AssertionError(f"apt was called: {arguments}")

    monkeypatch.setattr(install, "PARTS", install.PARTS[:1])
    monkeypatch.setattr(install, "can_install", lambda: True)
    monkeypatch.setattr(install, "apt", refuse)
    assert install.main() == 0


def test_script_needs_nothing_but_the_standard_library() -> None:
    """It could not run before the project's dependencies are there."""
    script = ROOT / "tests" / "live" / "install.py"
    probe = f"import runpy; runpy.run_path({str(script)!r}, run_name='imported')"
    subprocess.run([sys.executable, "-I", "-S", "-c", probe], check=True, cwd="/")


def pytest_without_engines(required: bool) -> subprocess.CompletedProcess[str]:
    """Run one test that needs podman, on a PATH where it is not."""
    environment = {**os.environ, "PATH": str(Path(sys.executable).parent)}
    environment["MODELPACK_REQUIRE_ENGINES"] = "1" if required else "0"
    test = "tests/live/test_live_world.py::test_podman_storage_is_its_own_and_removed"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", test]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_missing_engine_skips_with_one_clear_line() -> None:
    """A run that tried nothing would look like one that passed."""
    done = pytest_without_engines(required=False)
    assert done.returncode == 0, done.stdout
    assert "1 skipped" in done.stdout
    assert "live tests did not run for want of: podman (podman is not installed" in done.stdout


def test_missing_engine_fails_where_engines_are_required() -> None:
    """A green run of continuous integration would not mean that every engine has built."""
    done = pytest_without_engines(required=True)
    assert done.returncode == 1, done.stdout
    assert "podman is required here and missing" in done.stdout
