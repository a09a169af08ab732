"""What a 401 offers: if these fail, a registry that takes this login is told not to, or the login is sent in a worse way."""

from __future__ import annotations

from typing import Any

import pytest

from buildkit.errors import RegistryFailed
from buildkit.oci.reference import Reference
from buildkit.registries.challenge import Challenge, challenges
from buildkit.registries.client import Repository
from buildkit.registries.connection import Connection
from buildkit.registries.credentials import Credentials
from tests.fakes.faults import DropHeader, Status
from tests.fakes.registry import Auth, Registry
from tests.registries.test_push import ACCOUNTS, image, push, repository

ME = Credentials("me", "secret-password", found="a test")
BEARER = Challenge("bearer", {"realm": "https://a.example/token", "service": "a", "scope": "repository:a:pull,push"})
WRITTEN = 'Bearer realm="https://a.example/token",service="a",scope="repository:a:pull,push"'


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (WRITTEN, [BEARER]),
        (f"NTLM, {WRITTEN}", [Challenge("ntlm"), BEARER]),
        (f'{WRITTEN}, Basic realm="a, \\"b\\""', [BEARER, Challenge("basic", {"realm": 'a, "b"'})]),
        (f'BASIC realm="a" , {WRITTEN}', [Challenge("basic", {"realm": "a"}), BEARER]),
        (f"Negotiate YIIabc/d+e==,{WRITTEN}", [Challenge("negotiate"), BEARER]),
        ("Negotiate, Basic", [Challenge("negotiate"), Challenge("basic")]),
        ("Bearer realm=https://a.example/token, service = a", [Challenge("bearer", {"realm": "https://a.example/token", "service": "a"})]),
        ('realm="nobody\'s"', []),
        ("", []),
    ],
)  # fmt: skip
def test_challenges_are_told_apart(header: str, expected: list[Challenge]) -> None:
    """A parameter that is read into the challenge beside it sends the login to nowhere."""
    assert challenges(header) == expected


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize(
    ("mode", "beside"),
    [
        ("basic", ("Negotiate",)),
        ("basic", ("Negotiate YIIabc==", 'Digest realm="a", nonce="b"')),
        ("basic", ('Bearer realm="http://elsewhere.example/token"',)),
        ("token", ("NTLM",)),
        ("token", ('Basic realm="a"',)),
    ],
)
def test_what_is_offered_beside_does_not_hide_the_way_in(mode: Any, beside: tuple[str, ...], joined: bool) -> None:
    """Registries behind a company's login offer Kerberos as well, and many both a token and the password."""
    with Registry(auth=Auth(mode=mode, accounts=ACCOUNTS, beside=beside, joined=joined)) as registry:
        connection = Connection(registry.address, plain_http=registry.address.__eq__, credentials=lambda: ME)
        assert Repository(connection, Reference(registry.address, "models/granite")).resolve("v1") is None


def test_a_token_is_preferred_to_the_password() -> None:
    """A password that need not be sent with every request should not be."""
    with Registry(auth=Auth(mode="token", accounts=ACCOUNTS, beside=('Basic realm="a"',))) as registry:
        push(registry, image(1), credentials=ME)
        asked = [one.headers.get("authorization", "") for one in registry.requests if one.path.startswith("/v2/")]
        assert not [one for one in asked if one.startswith("Basic")]


@pytest.mark.parametrize("seconds", [10**400, 1e308, -1, True], ids=range(4))
def test_a_token_may_be_said_to_live_for_any_time(seconds: float) -> None:
    """One odd number of a token service ends every command at its registry as a fault of ours."""
    with Registry(auth=Auth(mode="token", accounts=ACCOUNTS, reported_seconds=seconds)) as registry:
        connection = Connection(registry.address, plain_http=registry.address.__eq__, credentials=lambda: ME)
        assert Repository(connection, Reference(registry.address, "models/granite")).resolve("v1") is None


def test_a_401_that_names_no_way_in_means_the_one_that_is_known() -> None:
    """A token that expires behind a proxy that drops headers must not end a push of an hour."""
    with Registry(auth=Auth(mode="token", accounts=ACCOUNTS)) as registry:
        registry.faults.add(DropHeader("WWW-Authenticate"), skip=1, times=None)
        store = repository(registry, credentials=ME)
        assert store.resolve("v1") is None
        registry.expire_tokens()
        assert store.resolve("v1") is None
        assert registry.faults.fired, "no 401 came without the header, so that this proves nothing"


@pytest.mark.parametrize("headers", [{}, {"WWW-Authenticate": "Negotiate, NTLM"}])
def test_a_401_without_any_way_in_that_is_known_is_told(headers: dict[str, str]) -> None:
    """Asking for ever, or for a password that nobody wants, helps nobody."""
    with Registry() as registry:
        registry.faults.add(Status(401, headers), times=None)
        with pytest.raises(RegistryFailed, match="no authentication that is known"):
            repository(registry, credentials=ME).resolve("v1")
        assert len(registry.requests) == 1
