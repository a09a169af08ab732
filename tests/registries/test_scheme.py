"""TLS on this machine: if these fail, a local registry with a certificate cannot be used, or a password goes in clear text."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildkit.errors import RegistryFailed
from buildkit.oci.reference import Reference
from buildkit.registries.client import Repository
from buildkit.registries.connection import Connection
from buildkit.registries.credentials import Credentials
from tests.fakes.registry import Account, Auth, Registry
from tests.live.certificates import ServerFiles, write_server_files
from tests.registries.test_push import image, push


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> ServerFiles:
    """A certificate for 127.0.0.1 with its authority."""
    return write_server_files(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def registry(files: ServerFiles, tmp_path: Path) -> Iterator[Registry]:
    """A registry on loopback that speaks TLS and wants a password."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate_file, files.key_file)
    started = Registry(tls=context, auth=Auth(mode="basic", accounts={"me": Account("s3cret")})).start()
    yield started
    started.stop()


def repository(registry: Registry, credentials: Credentials | None) -> Repository:
    connection = Connection(
        registry.address,
        plain_http=lambda host: True,
        credentials=lambda: credentials,
        sleep=lambda seconds: None,
    )
    return Repository(connection, Reference(registry.address, "models/granite"))


def test_a_loopback_registry_with_tls_is_spoken_to_with_tls(
    registry: Registry, files: ServerFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docker and podman take such a registry, so that a person expects it to work here."""
    monkeypatch.setenv("SSL_CERT_FILE", str(files.ca_file))
    store = repository(registry, Credentials("me", "s3cret"))
    assert store.resolve("v1") is None
    assert store.connection.origin == f"https://{registry.address}"


def test_a_certificate_that_nobody_vouches_for_is_refused_and_gets_no_password(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Falling back to clear text, or to no verification, would hand the password to whoever listens there."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with pytest.raises(RegistryFailed, match="is not trusted"):
        repository(registry, Credentials("me", "s3cret")).resolve("v1")
    assert not registry.requests


def test_a_plain_registry_stays_plain() -> None:
    """An answer that says 400 must not make a plain registry unreachable."""
    with Registry() as plain:
        push(plain, image(1))
        assert plain.tags["models/granite"]
