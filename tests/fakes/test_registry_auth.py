"""Who may do what at the fake registry, and how it says no."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import urllib.parse
from collections.abc import Iterator

import pytest

from tests.fakes.plain_client import Answer, ask
from tests.fakes.registry import OCI_MANIFEST, Account, Auth, Registry

ACCOUNTS = {
    "ann": Account("pa:ss"),
    "bob": Account("word", push="(?!)"),
    "cas": Account("word", pull="org/.*", push="org/.*"),
}


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry(auth=Auth("token", dict(ACCOUNTS))) as registry:
        registry.put_manifest("org/model", b"{}", OCI_MANIFEST, "v1")
        yield registry


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", "Accept": "*/*"}


def challenge(answer: Answer) -> dict[str, str]:
    assert answer.status == 401
    return dict(re.findall(r'(\w+)="([^"]*)"', answer.headers["www-authenticate"]))


def token_for(registry: Registry, user: str, *scopes: str, **more: str) -> str:
    query = urllib.parse.urlencode(
        [("service", "fake-registry"), *(("scope", scope) for scope in scopes), *more.items()]
    )
    headers = basic(user, ACCOUNTS[user].password) if user else {}
    return str(ask("GET", f"{registry.url}/token?{query}", headers=headers).json["token"])


def post(registry: Registry, token: str, name: str = "org/model", query: str = "") -> Answer:
    return ask("POST", f"{registry.url}/v2/{name}/blobs/uploads/{query}", headers=bearer(token))


@pytest.mark.parametrize("server", ["same", "other"])
def test_a_challenge_leads_to_a_token_that_works(registry: Registry, server: str) -> None:
    """The whole dance: 401, realm, token, again; the token server may live on another origin."""
    registry.auth.token_server = "other" if server == "other" else "same"
    url = f"{registry.url}/v2/org/model/manifests/v1"
    asked = challenge(ask("GET", url))
    assert asked["scope"] == "repository:org/model:pull"
    query = urllib.parse.urlencode({"service": asked["service"], "scope": asked["scope"]})
    answer = ask("GET", f"{asked['realm']}?{query}", headers=basic("ann", "pa:ss"))
    assert answer.json["expires_in"] == 300
    assert registry.requests[-1].origin == ("token" if server == "other" else "registry")
    assert ask("GET", url, headers=bearer(answer.json["access_token"])).status == 200
    assert [(visit.user, visit.granted) for visit in registry.token_requests] == [
        ("ann", ("repository:org/model:pull",))
    ]


def test_wrong_credentials_and_none(registry: Registry) -> None:
    """A wrong password is told by the token server; no password may still be enough to pull."""
    realm = f"{registry.url}/token?service=fake-registry&scope=repository:org/model:pull"
    assert ask("GET", realm, headers=basic("ann", "wrong")).status == 401
    url = f"{registry.url}/v2/org/model/manifests/v1"
    assert ask("GET", url, headers=bearer(token_for(registry, "", "repository:org/model:pull"))).status == 403
    registry.auth.anonymous = Account(push="(?!)")
    token = token_for(registry, "", "repository:org/model:pull,push")
    assert registry.token_requests[-1].granted == ("repository:org/model:pull",)
    assert ask("GET", url, headers=bearer(token)).status == 200
    assert post(registry, token).code == "DENIED"


@pytest.mark.parametrize(("refuse_with", "code"), [(403, "DENIED"), (401, "UNAUTHORIZED"), (404, "NAME_UNKNOWN")])
def test_a_visitor_without_permission_is_refused_in_three_ways(registry: Registry, refuse_with: int, code: str) -> None:
    """The hint to the user depends on which; no client may loop on any of them."""
    registry.auth.refuse_with = refuse_with  # type: ignore[assignment]
    refused = post(registry, token_for(registry, "bob", "repository:org/model:pull,push"))
    assert (refused.status, refused.code) == (refuse_with, code)


def test_a_token_for_something_else_asks_for_another_token(registry: Registry) -> None:
    """Push after pull with one token is the bug of a client that keeps one token for all."""
    pull_only = token_for(registry, "ann", "repository:org/model:pull")
    asked = challenge(post(registry, pull_only))
    assert (asked["error"], asked["scope"]) == ("insufficient_scope", "repository:org/model:pull,push")


def test_a_mount_needs_to_read_its_source(registry: Registry) -> None:
    """Several scopes go into one token, as several parameters or as one list."""
    digest = registry.put_blob("org/base", b"abc")
    query = f"?mount={digest}&from=org/base"
    target, source = "repository:org/model:pull,push", "repository:org/base:pull"
    asked = challenge(post(registry, token_for(registry, "ann", target), query=query))
    assert asked["scope"] == f"{target} {source}"
    for scopes in ((target, source), (f"{target} {source}",)):
        assert post(registry, token_for(registry, "ann", *scopes), query=query).status == 201


def test_tokens_run_out(registry: Registry) -> None:
    """A push outlives its token: every request may be the one that meets the end of it."""
    scope = "repository:org/model:pull,push"
    registry.auth.token_uses = 2
    token = token_for(registry, "ann", scope)
    assert [post(registry, token).status for _ in range(3)] == [202, 202, 401]
    assert challenge(post(registry, token))["error"] == "invalid_token"
    registry.auth.token_uses = None
    token = token_for(registry, "ann", scope)
    registry.expire_tokens()
    assert post(registry, token).status == 401
    registry.auth.token_seconds = -1
    assert post(registry, token_for(registry, "ann", scope)).status == 401


def test_refresh_tokens(registry: Registry) -> None:
    """Docker's identity tokens are exchanged by POST; where that is unknown the answer is 404."""
    scope = "repository:org/model:pull,push"

    def oauth2(**form: str) -> Answer:
        body = urllib.parse.urlencode({"service": "fake-registry", "client_id": "test", "scope": scope, **form})
        return ask(
            "POST", f"{registry.url}/token", body.encode(), {"Content-Type": "application/x-www-form-urlencoded"}
        )

    for refresh in (
        registry.guard.refresh_token("ann"),
        oauth2(grant_type="password", username="ann", password="pa:ss", access_type="offline").json["refresh_token"],
        ask("GET", f"{registry.url}/token?offline_token=true", headers=basic("ann", "pa:ss")).json["refresh_token"],
    ):
        answer = oauth2(grant_type="refresh_token", refresh_token=refresh)
        assert answer.json["scope"] == scope
        assert post(registry, answer.json["access_token"]).status == 202
    assert oauth2(grant_type="refresh_token", refresh_token="wrong").status == 401
    assert oauth2(grant_type="password", username="ann", password="wrong").status == 401
    registry.auth.oauth2 = False
    assert oauth2(grant_type="refresh_token", refresh_token=refresh).status == 404


def test_basic_credentials(registry: Registry) -> None:
    """htpasswd registries: every request carries the password, colons in it included."""
    registry.auth.mode = "basic"
    url = f"{registry.url}/v2/org/model/blobs/uploads/"
    assert ask("POST", url).headers["www-authenticate"].startswith("Basic")
    assert ask("POST", url, headers=basic("ann", "wrong")).status == 401
    assert ask("POST", url, headers=basic("ann", "pa:ss")).status == 202
    assert ask("POST", url, headers=basic("bob", "word")).code == "DENIED"
    assert ask("POST", url.replace("org", "else"), headers=basic("cas", "word")).status == 403
    assert ask("GET", f"{registry.url}/v2/").status == 401
    registry.auth.anonymous = Account(push="(?!)")
    manifest = f"{registry.url}/v2/org/model/manifests/v1"
    assert (ask("GET", manifest, headers={"Accept": "*/*"}).status, ask("POST", url).status) == (200, 401)


@pytest.mark.engine
@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
@pytest.mark.parametrize("mode", ["basic", "token"])
def test_skopeo_logs_in(registry: Registry, mode: str) -> None:
    """An independent client must get in with the right password, and must not with another's."""
    registry.auth.mode = "token" if mode == "token" else "basic"
    registry.auth.token_server = "other"
    config = registry.put_blob("org/model", b"{}")
    descriptor = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2}
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor, "layers": []}
    registry.put_manifest("org/model", json.dumps(document).encode(), OCI_MANIFEST, "v1")
    pair = [f"docker://{registry.address}/org/model:v1", f"docker://{registry.address}/org/copy:v1"]
    for user, password, expected in (("ann", "pa:ss", 0), ("bob", "word", 1), ("ann", "wrong", 1)):
        registry.storage.repositories.pop("org/copy", None)
        credentials = [f"--src-creds={user}:{password}", f"--dest-creds={user}:{password}"]
        options = ["--src-tls-verify=false", "--dest-tls-verify=false", *credentials]
        done = subprocess.run(["skopeo", "copy", *options, *pair], capture_output=True, text=True, check=False)
        assert done.returncode == expected, done.stderr
