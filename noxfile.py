"""What can be done with the project: ``nox`` alone runs the tests, engines included where they can be installed."""

from __future__ import annotations

import os
import sys

import nox

nox.options.sessions = ["tests"]
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = False

PROJECT = nox.project.load_toml("pyproject.toml")


@nox.session
def tests(session: nox.Session) -> None:
    """All tests. Real engines are installed first where this machine lets us; ``nox -- -k NAME`` runs some."""
    session.install("-e", ".", *nox.project.dependency_groups(PROJECT, "test"))
    session.run(
        "python",
        "tests/live/install.py",
        success_codes=[0] if os.environ.get("MODELPACK_REQUIRE_ENGINES") == "1" else [0, 1],
    )
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def fast(session: nox.Session) -> None:
    """The tests that need no engine: a minute."""
    session.install("-e", ".", *nox.project.dependency_groups(PROJECT, "test"))
    session.run("python", "-m", "pytest", "-m", "not engine and not live", *session.posargs)


@nox.session(venv_backend="uv|virtualenv")
def platforms(session: nox.Session) -> None:
    """What modelpack deploy writes, loaded by the platforms' own libraries: 700 MB of them, with uv in half a minute."""
    session.install("-e", ".", *nox.project.dependency_groups(PROJECT, "test", "platforms"))
    session.run("python", "-m", "pytest", "tests/targets/test_platforms.py", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """ruff and mypy --strict."""
    session.install("-e", ".", *nox.project.dependency_groups(PROJECT, "lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """The site, with warnings as errors, into build/site; its reference must be what the code says."""
    session.install("-e", ".", *nox.project.dependency_groups(PROJECT, "docs"))
    session.run("python", "-m", "docs.generate", "--check")
    session.run("mkdocs", "build", "--strict", "--quiet")


@nox.session
def build(session: nox.Session) -> None:
    """The wheel and the source distribution, installed once into a fresh environment."""
    session.install("build")
    folder = session.create_tmp()
    session.run("python", "-m", "build", "--outdir", folder)
    wheels = sorted(name for name in os.listdir(folder) if name.endswith(".whl"))
    session.install(os.path.join(folder, wheels[-1]))
    session.run("modelpack", "--version")
    if sys.platform != "win32":
        session.run("modelpack", "schema", silent=True)


@nox.session
def bench(session: nox.Session) -> None:
    """Against a one-pass uploader, podman and docker, on Linux; ``nox -s bench -- --help``. An hour, 30 GB of disk."""
    session.install("-e", ".", *nox.project.dependency_groups(PROJECT, "test"))
    session.run("python", "-m", "benchmarks", *session.posargs)
