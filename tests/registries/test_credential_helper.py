"""Helpers that fail: if these fail, a person is told to log in who has to do something else, or keeps a login unknowingly."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit.errors import InvalidInput, RegistryFailed
from buildkit.oci.reference import Reference
from buildkit.registries.auth import find
from buildkit.registries.client import Repository
from buildkit.registries.connection import Connection
from buildkit.registries.login import forget, store
from tests.fakes.registry import Account, Auth, Registry
from tests.registries.test_auth import encoded, home, write
from tests.registries.test_login import SECRET, given, helper, registry

__all__ = ["helper", "home", "registry"]
EXPIRED = "sso session has expired: run aws sso login"


def says(helper: Path, verb: str, words: str) -> None:
    """Has the helper exit with 1 and these words."""
    helper.with_name(f"{verb}.says").write_text(words)


def repository(registry: Registry) -> Repository:
    connection = Connection(registry.address, plain_http=lambda host: True, sleep=lambda seconds: None)
    return Repository(connection, Reference(registry.address, "models/granite"))


@pytest.fixture
def config(home: Path) -> Path:
    """A docker configuration whose helper keeps everything."""
    write(home / ".docker" / "config.json", {"credsStore": "test"})
    return home / ".docker" / "config.json"


@pytest.mark.parametrize("key", ["credsStore", "credHelpers"])
def test_what_a_helper_says_is_told_when_the_registry_refuses(
    config: Path, helper: Path, registry: Registry, key: str
) -> None:
    """'Not logged in' sends a person to 'docker login', where a session of the cloud has to be renewed."""
    write(config, {key: "test" if key == "credsStore" else {registry.address: "test"}})
    says(helper, "get", f"{EXPIRED}\nat line 7\n")
    with pytest.raises(RegistryFailed) as raised:
        repository(registry).resolve("v1")
    assert f"the credential helper docker-credential-test gave no credentials: {EXPIRED}" in str(raised.value)
    assert "line 7" not in str(raised.value)
    assert "helper" in raised.value.hint


def test_a_helper_that_has_nothing_is_not_told(config: Path, helper: Path, registry: Registry) -> None:
    """Nobody has to mend a helper that works."""
    with pytest.raises(RegistryFailed, match="not logged in") as raised:
        repository(registry).resolve("v1")
    assert "docker-credential-test" not in str(raised.value)


@pytest.mark.parametrize("mode", ["none", "token"])
def test_what_anyone_may_read_is_read_although_the_helper_fails(config: Path, helper: Path, mode: str) -> None:
    """A public base image needs no login, and a locked keychain must not stop a build on it."""
    says(helper, "get", EXPIRED)
    with Registry(auth=Auth(mode=mode, anonymous=Account())) as public:  # type: ignore[arg-type]
        assert repository(public).resolve("v1") is None


def test_a_login_elsewhere_is_found_although_the_helper_fails(config: Path, helper: Path, registry: Registry) -> None:
    """The file has a login of its own, as before the helper was named."""
    write(config, {"credsStore": "test", "auths": {registry.address: {"auth": encoded(f"me:{SECRET}")}}})
    says(helper, "get", EXPIRED)
    assert repository(registry).resolve("v1") is None


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("cannot ask https://me:s3cret-word@sso.example/login", "cannot ask https://…@sso.example/login"),
        ("refused with token=s3cret-word", "refused with token=…"),
        ("refused: 0123456789abcdef0123456789abcdef01234567", "refused: …"),
        ("\x1b[31mlocked", " [31mlocked"),
        ("locked " * 100, ("locked " * 100)[:200]),
    ],
)
def test_a_helpers_words_hold_no_secret(config: Path, helper: Path, registry: Registry, words: str, shown: str) -> None:
    """They end in the log of a pipeline."""
    says(helper, "get", words)
    with pytest.raises(RegistryFailed) as raised:
        repository(registry).resolve("v1")
    assert str(raised.value).endswith(f"gave no credentials: {shown}")


def test_a_helper_that_does_not_forget_is_told(config: Path, helper: Path) -> None:
    """Who logs out of a shared machine must know that the login is still there."""
    store("quay.io", given())
    says(helper, "erase", "not implemented")
    with pytest.raises(InvalidInput, match=r"did not forget the credentials for quay\.io: not implemented"):
        forget("quay.io")
    assert find("quay.io") is not None


def test_a_logout_tells_of_the_secret_that_it_removed_from_the_file(config: Path, helper: Path) -> None:
    """'There was no login' would be wrong, where one was kept before the helper was named."""
    write(config, {"credsStore": "test", "auths": {"quay.io": {"auth": encoded("a:b")}}})
    assert forget("quay.io") == [str(config)]
    assert forget("quay.io") == []
    assert "quay.io" not in config.read_text()
