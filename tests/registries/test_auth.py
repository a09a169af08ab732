"""Credentials: if these fail, a login that docker or podman accepts is not found, or a wrong one is used."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from buildkit.errors import InvalidInput
from buildkit.registries.auth import Credentials, find


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without any login."""
    for name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    return tmp_path


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def found(host: str, repository: str = "org/app", **environment: str) -> tuple[str, str] | None:
    credentials = find(host, repository, environment)
    return (credentials.username, credentials.password) if credentials else None


def test_docker_login_suffices(home: Path) -> None:
    """What docker login wrote is enough, in today's form and in the old one with a URL."""
    write(home / ".docker" / "config.json", {"auths": {"quay.io": {"auth": encoded("me:pass:word")}}})
    assert found("quay.io") == ("me", "pass:word")
    write(home / ".docker" / "config.json", {"auths": {"https://quay.io/v2/": {"auth": encoded("me:old")}}})
    assert found("quay.io") == ("me", "old")
    assert found("ghcr.io") is None


def test_docker_hub_under_its_old_name(home: Path) -> None:
    """Docker keeps the hub's login under a URL that is no host."""
    write(home / ".docker" / "config.json", {"auths": {"https://index.docker.io/v1/": {"auth": encoded("me:hub")}}})
    assert found("docker.io") == ("me", "hub")


def test_podman_login_suffices_and_the_longest_path_wins(home: Path) -> None:
    """podman may keep a login per repository; the nearest one is meant."""
    auths = {
        "quay.io": {"auth": encoded("all:a")},
        "quay.io/org": {"auth": encoded("org:b")},
        "quay.io/org/app": {"auth": encoded("app:c")},
    }
    write(home / "run" / "containers" / "auth.json", {"auths": auths})
    runtime = str(home / "run")
    assert found("quay.io", "org/app", XDG_RUNTIME_DIR=runtime) == ("app", "c")
    assert found("quay.io", "org/application", XDG_RUNTIME_DIR=runtime) == ("org", "b")
    assert found("quay.io", "other/app", XDG_RUNTIME_DIR=runtime) == ("all", "a")


def test_what_is_named_first_wins(home: Path) -> None:
    """A file that was named on purpose goes before the one that is always there, and the environment before all."""
    write(home / ".docker" / "config.json", {"auths": {"quay.io": {"auth": encoded("docker:1")}}})
    write(home / "chosen.json", {"auths": {"quay.io": {"auth": encoded("chosen:2")}}})
    assert found("quay.io", REGISTRY_AUTH_FILE=str(home / "chosen.json")) == ("chosen", "2")
    assert found("quay.io", DOCKER_CONFIG=str(home / "nowhere")) is None
    named = {"MODELPACK_QUAY_IO_USERNAME": "env", "MODELPACK_QUAY_IO_PASSWORD": "3"}
    assert found("quay.io", REGISTRY_AUTH_FILE=str(home / "chosen.json"), **named) == ("env", "3")


@pytest.mark.skipif(os.name == "nt", reason="the helper of this test is a shell script")
def test_credential_helpers_are_asked(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cloud registries and desktop keychains hand out credentials through helpers alone."""
    helper = home / "bin" / "docker-credential-test"
    helper.parent.mkdir()
    helper.write_text(
        '#!/bin/sh\nread server\n[ "$1" = get ] && [ "$server" = quay.io ] || exit 1\necho \'{"Username": "help", "Secret": "s"}\'\n'
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{helper.parent}:{os.environ['PATH']}")
    for content in ({"credHelpers": {"quay.io": "test"}}, {"credsStore": "test"}):
        write(home / ".docker" / "config.json", content)
        assert found("quay.io") == ("help", "s")
        assert found("ghcr.io") is None


def test_an_identity_token_is_no_password(home: Path) -> None:
    """Azure's registries keep a refresh token, which is exchanged and never sent as a password."""
    write(
        home / ".docker" / "config.json",
        {"auths": {"a.azurecr.io": {"auth": encoded("00000000:"), "identitytoken": "refresh"}}},
    )
    credentials = find("a.azurecr.io", "", {})
    assert credentials is not None
    assert credentials.identity_token == "refresh"
    assert "refresh" not in repr(credentials)


@pytest.mark.parametrize(
    "content",
    [
        "not json",
        "[]",
        "[" * 100_000,
        '{"auths": {"quay.io": {"auth": "%%%"}}}',
        '{"credHelpers": {"quay.io": "../evil"}}',
    ],
    ids=range(5),
)
def test_a_damaged_file_is_named(home: Path, content: str) -> None:
    """Pushing anonymously because a login cannot be read would end in a riddle."""
    path = home / ".docker" / "config.json"
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(InvalidInput, match=r"config\.json"):
        find("quay.io", "", {})


def test_secrets_do_not_show() -> None:
    """Whatever prints a credential prints no secret."""
    credentials = Credentials("me", "s3cret", "t0ken", "somewhere")
    assert "s3cret" not in f"{credentials} {credentials!r}"
    assert "t0ken" not in f"{credentials} {credentials!r}"
