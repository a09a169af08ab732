"""What is told of a refusal: if these fail, a person mends the wrong thing, or asks who cannot help."""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import Any

import pytest

from buildkit.errors import RegistryFailed
from buildkit.oci.manifest import Descriptor
from buildkit.oci.reference import Digest
from buildkit.registries.credentials import Credentials
from buildkit.registries.refusals import explained
from tests.fakes.faults import Cut, Status
from tests.fakes.registry import Account, Auth, Behaviour, Registry
from tests.live.certificates import write_server_files
from tests.registries.test_push import ACCOUNTS, content, image, push, repository

ME = Credentials("me", "secret-password", found="a test")
QUOTA = "this project is read only until its quota is raised"
DENIED = json.dumps({"errors": [{"code": "DENIED", "message": QUOTA}]}).encode()
NOWHERE = "127.0.0.1:1"
"""Where nobody listens."""


def told(registry: Registry, credentials: Credentials | None = None) -> str:
    """What a push ends in."""
    with pytest.raises(RegistryFailed) as raised:
        push(registry, image(1), credentials=credentials)
    assert "secret-password" not in f"{raised.value}{raised.value.hint}"
    return f"{raised.value}\n{raised.value.hint}"


@pytest.mark.parametrize("status", [401, 403])
def test_a_login_without_permission_is_not_called_a_wrong_one(status: Any) -> None:
    """Docker Hub says it with a 401 (insufficient_scope): logging in again helps nobody."""
    accounts = {"me": Account("secret-password", push="(?!)")}
    with Registry(auth=Auth(mode="token", accounts=accounts, refuse_with=status)) as registry:
        text = told(registry, ME)
        assert (
            f"logged in to {registry.address} (credentials from a test), but not allowed to use models/granite" in text
        )
        assert "does not accept" not in text


@pytest.mark.parametrize("credentials", [None, ME])
@pytest.mark.parametrize("status", [401, 403])
def test_the_registrys_own_words_are_told(status: int, credentials: Credentials | None) -> None:
    """They say what no hint of ours can know."""
    with Registry() as registry:
        challenge = {"WWW-Authenticate": 'Basic realm="a"'}
        registry.faults.add(Status(status, challenge, DENIED), method="POST", times=None)
        assert f"DENIED {QUOTA}" in told(registry, credentials)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"errors": [{"code": "A", "message": "b"}, {"code": "C"}, 1]}', "A b; C"),
        (b'{"details": "incorrect username or password"}', "incorrect username or password"),
        (b'{"error": "invalid_grant", "error_description": "it expired"}', "it expired"),
        (b"access denied by policy 7\nat line 3\n", "access denied by policy 7"),
        (b'{"message": "a\\u001b[31mb"}', "a [31mb"),
        (b"x" * 5000, "x" * 300),
        (b"<html><body>403 Forbidden</body></html>", ""),
        (b'{"errors": {"code": 1}}', ""),
        (b'{"message": 7}', ""),
        (b"[1", ""),
        (b"\x1f\x8b\x08compressed", ""),
        (b"", ""),
    ],
)
def test_words_are_found_in_what_servers_answer(body: bytes, words: str) -> None:
    """A page for a browser is no explanation, and nothing may write to the terminal but letters."""
    assert explained(body) == words


def elsewhere(**options: Any) -> Registry:
    """A registry whose tokens come from another port."""
    return Registry(auth=Auth(mode="token", accounts=ACCOUNTS, token_server="other", **options))


@pytest.mark.parametrize("status", [302, 404, 405])
def test_a_token_service_that_is_none_is_told_as_such(status: int) -> None:
    """A wrong realm in a registry's configuration is no lack of permission."""
    with elsewhere() as registry:
        registry.faults.add(Status(status, {"Location": "/login"}, DENIED), origin="token", times=None)
        text = told(registry, ME)
        assert f"the token service {registry.token_address} of {registry.address} gave no token" in text
        assert f"answered {status} (DENIED {QUOTA})" in text
        assert "not allowed" not in text


@pytest.mark.parametrize("credentials", [None, ME])
def test_what_a_token_service_says_is_told(credentials: Credentials | None) -> None:
    """An account that is suspended is told so by the token service alone."""
    with elsewhere() as registry:
        registry.faults.add(Status(403, {}, b'{"details": "account suspended"}'), origin="token", times=None)
        text = told(registry, credentials)
        assert ("not logged in to" in text) is (credentials is None)
        assert f"of {registry.address} answered 403 (account suspended)" in text


def test_a_password_that_the_token_service_refuses_is_told_with_its_name() -> None:
    """One may be logged in to the registry's other name, whose tokens come from elsewhere."""
    with elsewhere() as registry:
        text = told(registry, Credentials("me", "wrong", found="a file"))
        assert f"of {registry.address} does not accept the credentials from a file: UNAUTHORIZED" in text
        assert registry.token_address in text


@pytest.mark.parametrize("status", [429, 503])
def test_a_token_service_that_is_busy_is_named(status: int) -> None:
    """The registry itself is up, and who runs it can do nothing about it."""
    with elsewhere() as registry:
        registry.faults.add(Status(status), origin="token", times=None)
        text = told(registry, ME)
        assert text.startswith(f"the token service {registry.token_address} of {registry.address} ")
        assert f"answered {status}" in text


def test_a_token_service_that_nobody_reaches_is_named() -> None:
    """Told of the registry, which answers, it sends a person to the wrong firewall."""
    with elsewhere(realm=f"http://{NOWHERE}/token") as registry:
        text = told(registry, ME)
        assert text.startswith(f"the token service {NOWHERE} of {registry.address} cannot be reached")
        assert f"check that the token service {NOWHERE}" in text


def test_a_token_service_whose_certificate_nobody_knows_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have another authority than the registry."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    files = write_server_files(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate_file, files.key_file)
    service = Registry(tls=context).start()
    try:
        with elsewhere(realm=f"https://{service.address}/token") as registry:
            text = told(registry, ME)
            assert (
                f"the certificate of the token service {service.address} of {registry.address} is not trusted" in text
            )
    finally:
        service.stop()


@pytest.mark.parametrize("status", [403, 404, 503])
def test_a_storage_that_uploads_go_to_is_named(status: int) -> None:
    """Where a registry sends uploads elsewhere, its own log holds nothing of what failed there."""
    with Registry(behaviour=Behaviour(location="other")) as registry:
        registry.faults.add(Status(status), method="PATCH", origin="other", times=None)
        text = told(registry)
        assert f"{registry.other_address} (named by {registry.address})" in text
        assert f"answered {status}" in text
        assert "repository's name" not in text


def test_a_storage_that_nobody_reaches_is_named() -> None:
    """A firewall that lets the registry through and not its storage is the usual case."""
    with Registry(behaviour=Behaviour(location=f"http://{NOWHERE}")) as registry:
        assert told(registry).startswith(f"{NOWHERE} (named by {registry.address}) cannot be reached")


@pytest.mark.parametrize("fault", [Status(403), Cut(10)])
def test_a_storage_that_blobs_come_from_is_named(fault: Any) -> None:
    """A base image's layer comes from a storage that few know of."""
    with Registry(behaviour=Behaviour(redirect_blobs=True)) as registry:
        digest = registry.put_blob("models/granite", content(0))
        registry.faults.add(fault, origin="other", times=None)
        with pytest.raises(RegistryFailed) as raised:
            list(repository(registry).fetch(Descriptor("layer", Digest(digest), len(content(0)))))
        assert f"(named by {registry.address})" in str(raised.value)


def test_a_registry_that_asks_to_slow_down_is_not_called_broken() -> None:
    """A limit passes by itself; nobody has to check whether the registry is up."""
    words = b'{"errors": [{"code": "TOOMANYREQUESTS", "message": "You have reached your pull rate limit"}]}'
    with Registry() as registry:
        registry.faults.add(Status(429, {}, words), method="POST", times=None)
        text = told(registry)
        assert text.startswith(f"{registry.address} asks to slow down")
        assert "TOOMANYREQUESTS You have reached your pull rate limit" in text
        assert "is up" not in text
