"""Fixtures over the real engines, registries and readers.

Where one is missing, tests that ask for it are skipped with the reason, and the run closes with one line about it;
with ``MODELPACK_REQUIRE_ENGINES=1`` (continuous integration) they fail instead.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NoReturn

import pytest

from tests.live.base_images import SHELL_BASE, BaseImageError, push_bases
from tests.live.engines import ELSEWHERE, INSTALL, EngineMissingError, start_docker
from tests.live.engines import podman_environment as start_podman
from tests.live.install import program
from tests.live.registry import LiveRegistry, start_registry
from tests.live.token_server import TokenServer, start_token_server

SECURED_USER = ("robot", "s3cret-pass")
MISSING = pytest.StashKey[dict[str, str]]()


def missing(config: pytest.Config, part: str, reason: str) -> NoReturn:
    """Skip, or fail where engines are required; the run's last lines name the part."""
    config.stash.setdefault(MISSING, {})[part] = reason.splitlines()[0]
    if os.environ.get("MODELPACK_REQUIRE_ENGINES") == "1":
        pytest.fail(f"{part} is required here and missing: {reason}", pytrace=False)
    pytest.skip(f"{part} is missing: {reason}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say in one line which engines were missing, so that a skip is not overlooked."""
    missing = config.stash.get(MISSING, {})
    if missing:
        told = "; ".join(f"{part} ({reason})" for part, reason in sorted(missing.items()))
        terminalreporter.write_line(f"live tests did not run for want of: {told}", yellow=True)


def _reader(name: str) -> Callable[[pytest.FixtureRequest], str]:
    @pytest.fixture(scope="session", name=name)
    def path(request: pytest.FixtureRequest) -> str:
        return program(name) or missing(request.config, name, f"not installed; {INSTALL}")

    return path


skopeo = _reader("skopeo")
umoci = _reader("umoci")
cosign = _reader("cosign")
chromium = _reader("chromium")
oras = _reader("oras")


@pytest.fixture(scope="session")
def registry_program(request: pytest.FixtureRequest) -> str:
    """Where docker-registry lies."""
    return program("docker-registry") or missing(request.config, "docker-registry", f"not installed; {INSTALL}")


@pytest.fixture(scope="session")
def live_registry(registry_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveRegistry]:
    """A registry over plain HTTP that lets anyone read and write."""
    with start_registry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture(scope="session")
def secured_registry(registry_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveRegistry]:
    """A registry over TLS, with a certificate of our own authority, that wants a user and a password."""
    with start_registry(tmp_path_factory.mktemp("secured-registry"), htpasswd=SECURED_USER, tls=True) as registry:
        yield registry


@pytest.fixture
def token_server(tmp_path: Path) -> Iterator[TokenServer]:
    """A token server of one test's own, whose lifetime it may turn."""
    with start_token_server(tmp_path / "tokens") as server:
        yield server


@pytest.fixture
def token_registry(registry_program: str, token_server: TokenServer, tmp_path: Path) -> Iterator[LiveRegistry]:
    """A registry that sends its clients to ``token_server``."""
    with start_registry(tmp_path / "token-registry", token=token_server) as registry:
        yield registry


@pytest.fixture(scope="session")
def shell_base(request: pytest.FixtureRequest, live_registry: LiveRegistry, skopeo: str) -> str:
    """The reference of the ubi-micro stand-in in ``live_registry``: quick to make."""
    return _bases(request.config, live_registry, (SHELL_BASE,))[SHELL_BASE]


@pytest.fixture(scope="session")
def bases(request: pytest.FixtureRequest, live_registry: LiveRegistry, skopeo: str) -> Mapping[str, str]:
    """Every stand-in base in ``live_registry``: repository -> reference with tag and digest."""
    for name in ("debootstrap", "busybox"):
        if program(name) is None:
            missing(request.config, name, f"not installed; {INSTALL}")
    if os.geteuid() != 0:
        missing(request.config, "bases", "building the Python base needs root (debootstrap)")
    return _bases(request.config, live_registry)


def _bases(config: pytest.Config, registry: LiveRegistry, names: tuple[str, ...] = ()) -> dict[str, str]:
    try:
        return push_bases(registry, names) if names else push_bases(registry)
    except BaseImageError as error:
        missing(config, "bases", str(error))


def _docker(
    request: pytest.FixtureRequest, folder: Path, *, containerd_store: bool = False
) -> Iterator[Mapping[str, str]]:
    try:
        with start_docker(folder, containerd_store=containerd_store) as engine:
            yield engine.environment
    except EngineMissingError as error:
        missing(request.config, "docker", str(error))


@pytest.fixture(scope="session")
def docker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """The variables that lead docker and buildx to a dockerd of this run's own, with the overlay2 image store."""
    yield from _docker(request, tmp_path_factory.mktemp("docker"))


@pytest.fixture(scope="session")
def docker_containerd(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, str]]:
    """As ``docker``, with the containerd image store."""
    yield from _docker(request, tmp_path_factory.mktemp("docker-containerd"), containerd_store=True)


@pytest.fixture(scope="session")
def podman(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """The variables that give podman (and buildah, skopeo) storage and settings of this run's own."""
    try:
        with start_podman(tmp_path_factory.mktemp("podman")) as environment:
            yield environment
    except EngineMissingError as error:
        missing(request.config, "podman", str(error))


@pytest.fixture
def docker_environment(docker: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """``os.environ`` leads to the run's own dockerd for one test, so that product code finds it."""
    for name, value in docker.items():
        monkeypatch.setenv(name, value)
    return docker


@pytest.fixture
def docker_containerd_environment(
    docker_containerd: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> Mapping[str, str]:
    """``os.environ`` leads to the dockerd with the containerd image store for one test."""
    for name, value in docker_containerd.items():
        monkeypatch.setenv(name, value)
    return docker_containerd


@pytest.fixture
def podman_environment(podman: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """``os.environ`` gives podman the run's own storage for one test, so that product code uses it."""
    for name in ELSEWHERE:
        monkeypatch.delenv(name, raising=False)
    for name, value in podman.items():
        monkeypatch.setenv(name, value)
    return podman
