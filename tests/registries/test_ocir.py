"""Oracle's registry: if these fail, a push goes to another host than one logged in to, or as another user."""

from __future__ import annotations

import base64
import json
import os
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from buildkit import flow
from buildkit.errors import InvalidInput, RegistryFailed
from buildkit.oci.reference import Reference
from buildkit.oracle_regions import REGIONS
from buildkit.registries import auth
from buildkit.registries.credentials import Credentials
from buildkit.registries.identity import credentials_of
from buildkit.registries.ocir import full_user, key_of
from buildkit.registries.ocir_token import bearer
from buildkit.registries.profiles import BY_NAME
from buildkit.registry_hosts import ocir_names, ocir_region, oracle_region
from buildkit.settings import Settings, find
from tests.fakes.registry import Account
from tests.place import Place
from tests.registries import write_oracle_regions
from tests.registries.test_auth import encoded, home, write

__all__ = ["home"]


def test_the_table_is_the_packages_own() -> None:
    """A region that Oracle opened meanwhile, or a key that was mistyped, would send images to a host that is not there."""
    assert write_oracle_regions.table() == REGIONS, "run: python -m tests.registries.write_oracle_regions"


def test_every_region_is_known_to_the_rules_too() -> None:
    """A push to hsg.ocir.io for ap-batam-1 was called a push into another region than the deployment's."""
    for region, key in REGIONS.items():
        hosts = {f"{key}.ocir.io", f"{region}.ocir.io", f"ocir.{region}.oci.oraclecloud.com"}
        assert {ocir_region(host) for host in hosts} == {region} == {oracle_region(key), oracle_region(region)}
        assert all(set(ocir_names(host)) == hosts for host in hosts)


@pytest.mark.parametrize("text", ["ap-osaka-1", "kix", "KIX", " ap-osaka-1 "])
def test_a_region_is_its_name_or_its_key(text: str) -> None:
    """People know one or the other."""
    assert key_of(text) == "kix"


def test_a_region_that_is_none_is_told_with_the_one_that_was_meant() -> None:
    """A slip in a region is a host that cannot be resolved."""
    with pytest.raises(InvalidInput) as raised:
        key_of("ap-osaka-11")
    assert "ap-osaka-1" in raised.value.hint


def registry(folder: Path, text: str, **environment: str) -> tuple[str, str]:
    (folder / "modelpack.yaml").write_text(text)
    found = find(folder, environment).registry("ocir")
    return found.host, found.prefix


@pytest.mark.parametrize(
    ("text", "environment", "expected"),
    [
        ("region: kix, namespace: axabc", {}, ("kix.ocir.io", "axabc")),
        ("region: ap-osaka-1, namespace: axabc, prefix: models", {}, ("kix.ocir.io", "axabc/models")),
        ("namespace: axabc", {"OCIR_REGION": "ap-osaka-1"}, ("kix.ocir.io", "axabc")),
        ("region: fra", {"OCIR_REGION": "kix", "OCIR_NAMESPACE": "ns"}, ("fra.ocir.io", "ns")),
        ("host: ap-osaka-1.ocir.io, prefix: axabc/models", {"OCIR_NAMESPACE": "ns"}, ("ap-osaka-1.ocir.io", "axabc/models")),
        ("host: 'localhost:5000', namespace: axabc, prefix: m", {}, ("localhost:5000", "axabc/m")),
    ],
)  # fmt: skip
def test_a_region_and_a_namespace_suffice(
    tmp_path: Path, text: str, environment: dict[str, str], expected: tuple[str, str]
) -> None:
    """Nobody should have to know how a region's host and a tenancy's path are put together."""
    assert registry(tmp_path, f"registries: {{ocir: {{type: ocir, {text}}}}}", **environment) == expected


def test_the_environment_alone_suffices(tmp_path: Path) -> None:
    """A pipeline has variables and no file; what is missing of them is named."""
    settings = find(tmp_path, {"OCIR_REGION": "ap-osaka-1", "OCIR_NAMESPACE": "axabc"})
    assert settings.registry("ocir").repository("granite") == Reference("kix.ocir.io", "axabc/granite")
    for environment, missing in (({}, 2), ({"OCIR_REGION": "kix"}, 1), ({"OCIR_NAMESPACE": "n"}, 1)):
        with pytest.raises(InvalidInput, match="not complete") as raised:
            find(tmp_path, environment).registry("ocir")
        assert len(raised.value.problems) == missing
    with pytest.raises(InvalidInput, match="no region"):
        find(tmp_path, {"OCIR_REGION": "mars", "OCIR_NAMESPACE": "n"}).registry("ocir")


@pytest.mark.parametrize(
    ("text", "words"),
    [("type: ocir, region: mars-1, namespace: a", "no region of OCI"), ("type: ocir, namespace: 'A B'", "namespace"), ("type: quay", "is missing")],
)  # fmt: skip
def test_a_slip_in_the_file_is_told_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    """A wrong key must be found where it was written."""
    with pytest.raises(InvalidInput) as raised:
        registry(tmp_path, f"registries:\n  ocir: {{{text}}}")
    assert f"{words}" in str(raised.value)
    assert "modelpack.yaml:2" in str(raised.value)


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("jane@example.com", "axabc/jane@example.com"),
        ("axabc/jane@example.com", "axabc/jane@example.com"),
        ("oracleidentitycloudservice/jane", "axabc/oracleidentitycloudservice/jane"),
        ("axabc/oracleidentitycloudservice/jane", "axabc/oracleidentitycloudservice/jane"),
        ("BEARER_TOKEN", "BEARER_TOKEN"),
    ],
)
def test_both_forms_of_a_user(home: Path, user: str, expected: str) -> None:
    """The namespace is forgotten by everybody once, and the registry only says 401."""
    assert full_user(Credentials(user, "p"), "axabc").username == expected
    environment = {"MODELPACK_OCIR_USERNAME": user, "MODELPACK_OCIR_PASSWORD": "p"}
    reference = Reference("kix.ocir.io", "axabc/granite")
    found = credentials_of(reference, BY_NAME["ocir"], "https://kix.ocir.io", ("ocir",), environment)
    assert found is not None
    assert found.username == expected


def test_the_names_of_a_region() -> None:
    """All hosts of a region are one registry."""
    expected = ("kix.ocir.io", "ap-osaka-1.ocir.io", "ocir.ap-osaka-1.oci.oraclecloud.com")
    assert all(ocir_names(host) == expected for host in expected)
    assert ocir_names("quay.io") == ()


@pytest.mark.parametrize("host", ["ocir.ap-osaka-1.oci.example.com", "kix.ocir.io.example.com"])
def test_a_host_that_only_looks_like_oracles_gets_no_login_of_its(home: Path, host: str) -> None:
    """The variables of 'ocir' have no host in them: a base in a foreign recipe would decide who is told the password."""
    assert ocir_names(host) == ()
    names = Settings().names_of(Reference(host, "axabc/granite"))
    environment = {"MODELPACK_OCIR_USERNAME": "axabc/jane", "MODELPACK_OCIR_PASSWORD": "s3cret"}
    assert auth.find(host, "axabc/granite", environment, names) is None


@pytest.mark.parametrize(
    ("logged_in", "pushed"),
    [("kix.ocir.io", "ap-osaka-1.ocir.io"), ("ap-osaka-1.ocir.io", "kix.ocir.io"), ("ocir.ap-osaka-1.oci.oraclecloud.com", "kix.ocir.io")],
)  # fmt: skip
def test_a_login_to_the_regions_other_host_is_an_error_that_says_what_to_do(
    place: Place, private_home: Path, monkeypatch: pytest.MonkeyPatch, logged_in: str, pushed: str
) -> None:
    """Oracle's own tutorial logs in to kix.ocir.io and pushes to ap-osaka-1.ocir.io: that is a push by nobody."""
    write(private_home / "docker" / "config.json", {"auths": {logged_in: {"auth": encoded("axabc/jane:s3cret")}}})
    monkeypatch.setenv("DOCKER_CONFIG", str(private_home / "docker"))
    with pytest.raises(InvalidInput) as raised:
        flow.build(place.recipe(), place.world(), flow.Wanted("embedded", registry=f"{pushed}/axabc/models"))
    assert f"logged in to {logged_in}" in str(raised.value)
    assert f"modelpack login {pushed}" in raised.value.hint
    assert "s3cret" not in f"{raised.value}{raised.value.hint}"


class _Oracle(BaseHTTPRequestHandler):
    """Answers a signed request for a token, as OCIR does, and refuses one that is not signed with the key it knows."""

    public: Any
    seen: list[str]
    says = b""
    """What is answered instead, with the same status."""

    def do_GET(self) -> None:
        self.seen.append(self.path)
        fields = dict(re.findall(r'(\w+)="([^"]*)"', self.headers.get("Authorization", "")))
        names = fields.get("headers", "").split()
        lines = [
            f"(request-target): get {self.path}" if n == "(request-target)" else f"{n}: {self.headers[n]}"
            for n in names
        ]
        try:
            self.public.verify(
                base64.b64decode(fields["signature"]), "\n".join(lines).encode(), padding.PKCS1v15(), hashes.SHA256()
            )
            status, body = 200, {"token": "jwt-of-the-registry", "expires_in": 3600}
        except Exception:
            status, body = 401, {"code": "NotAuthenticated"}
        raw = self.says or json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def oracle(home: Path) -> Iterator[tuple[str, type[_Oracle]]]:
    """A server that knows the API key which the home's ``~/.oci/config`` names."""
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (home / ".oci").mkdir()
    (home / ".oci" / "key.pem").write_bytes(pem)
    (home / ".oci" / "key.pem").chmod(0o600)
    (home / ".oci" / "config").write_text(
        "[DEFAULT]\nuser=ocid1.user.oc1..aaaa\nfingerprint=11:22:33:44:55:66:77:88:99:00:aa:bb:cc:dd:ee:ff\n"
        f"tenancy=ocid1.tenancy.oc1..bbbb\nregion=ap-osaka-1\nkey_file={home / '.oci' / 'key.pem'}\n"
    )
    (home / ".oci" / "config").chmod(0o600)
    handler = type("Oracle", (_Oracle,), {"public": key.public_key(), "seen": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", handler
        server.shutdown()


def test_an_api_key_signs_for_a_token(oracle: tuple[str, type[_Oracle]]) -> None:
    """Who has OCI's own configuration needs no auth token; the token is a password and shows nowhere."""
    origin, handler = oracle
    found = bearer(origin, {})
    assert found is not None
    assert (found.username, found.password) == ("BEARER_TOKEN", "jwt-of-the-registry")
    assert handler.seen == ["/20180419/docker/token"]
    assert "jwt" not in f"{found} {found.found}"
    reference = Reference("kix.ocir.io", "axabc/granite")
    assert credentials_of(reference, BY_NAME["ocir"], origin, (), {}) == found
    assert credentials_of(reference, BY_NAME["quay"], origin, (), {}) is None, "no other registry gets it"


def test_a_key_that_is_not_known_there_is_told(oracle: tuple[str, type[_Oracle]]) -> None:
    """A key that was rotated must not end in 'not logged in'."""
    origin, handler = oracle
    handler.public = rsa.generate_private_key(65537, 2048).public_key()
    with pytest.raises(RegistryFailed, match="answered 401"):
        bearer(origin, {})


def test_an_answer_that_is_no_token_is_the_registrys(oracle: tuple[str, type[_Oracle]]) -> None:
    """A proxy's page in the token's place, told as a file of the user's, would be looked for in the wrong place."""
    origin, handler = oracle
    handler.says = b"<html>"
    with pytest.raises(RegistryFailed, match="gave no token: its answer is not JSON"):
        bearer(origin, {})


def test_an_identity_that_cannot_sign_is_told_without_its_secrets(home: Path) -> None:
    """A damaged configuration is named, and nothing of a key is repeated."""
    (home / ".oci").mkdir()
    (home / ".oci" / "config").write_text("[DEFAULT]\nuser=x\nkey_content=PRIVATE-s3cret\n")
    with pytest.raises(InvalidInput) as raised:
        bearer("http://127.0.0.1:9", {})
    assert "api_key" in str(raised.value)
    assert "s3cret" not in f"{raised.value}{raised.value.hint}"
    with pytest.raises(InvalidInput, match="resource_principal"):
        bearer("http://127.0.0.1:9", {"OCI_RESOURCE_PRINCIPAL_VERSION": "2.2"})
    with pytest.raises(InvalidInput, match="no identity"):
        bearer("http://127.0.0.1:9", {"OCI_CLI_AUTH": "magic"})


def test_without_an_identity_there_is_no_token_and_no_error(home: Path) -> None:
    """A machine that never heard of OCI must be told to log in, and not of a package that is missing."""
    assert bearer("http://127.0.0.1:9", {}) is None


def test_a_push_by_the_name_ocir(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way: a region's registry (here on loopback), the user without its namespace, the tenancy's path."""
    place.registry.auth.mode = "token"
    place.registry.auth.accounts = {"axabc/jane": Account("s3cret")}
    content = {
        "hub": {"endpoint": place.hub.endpoint},
        "registries": {
            "ocir": {"type": "ocir", "host": place.registry.address, "namespace": "axabc", "prefix": "models"}
        },
    }
    (place.folder / "modelpack.yaml").write_text(json.dumps(content))
    monkeypatch.setenv("MODELPACK_OCIR_USERNAME", "jane")
    monkeypatch.setenv("MODELPACK_OCIR_PASSWORD", "s3cret")
    delivered = flow.build(place.recipe(), place.world(), flow.Wanted("embedded", registry="ocir"))
    assert place.registry.tags["axabc/models/granite"] == {"v1": delivered.sealing.digest}
    assert os.environ["MODELPACK_OCIR_PASSWORD"] not in place.lock.read_text()


def test_a_resource_principal_signs_for_a_token(
    oracle: tuple[str, type[_Oracle]], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job inside OCI has an identity of its own and no file at all."""
    origin, handler = oracle
    claims = {"exp": int(time.time()) + 3600, "res_tenant": "ocid1.tenancy.oc1..b", "res_compartment": "c", "sub": "s"}
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    header = base64.urlsafe_b64encode(b'{"alg":"RS256"}').decode().rstrip("=")
    pem = (home / ".oci" / "key.pem").read_text()
    environment = {
        "OCI_RESOURCE_PRINCIPAL_VERSION": "2.2",
        "OCI_RESOURCE_PRINCIPAL_RPST": f"{header}.{part}.c2lnbmF0dXJl",
        "OCI_RESOURCE_PRINCIPAL_PRIVATE_PEM": pem,
        "OCI_RESOURCE_PRINCIPAL_REGION": "ap-osaka-1",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = bearer(origin, os.environ)
    assert found is not None
    assert found.password == "jwt-of-the-registry"
    assert "resource_principal" in found.found
    assert handler.seen == ["/20180419/docker/token"]
