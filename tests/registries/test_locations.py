"""Where a registry sends us: if these fail, its own name is not known again, or a login goes where it should not."""

from __future__ import annotations

import pytest

from buildkit.errors import RegistryFailed
from buildkit.oci.reference import Reference
from buildkit.registries.client import Repository
from buildkit.registries.connection import Connection
from buildkit.registries.credentials import Credentials
from tests.fakes.registry import Account, Auth, Registry
from tests.registries.test_push import layer


def connection(host: str = "reg.example.com") -> Connection:
    return Connection(host, plain_http=lambda asked: asked.startswith("localhost"))


@pytest.mark.parametrize(
    "written", ["https://reg.example.com:443/v2/a?b=c", "HTTPS://Reg.Example.COM/v2/a?b=c", "/v2/a?b=c"]
)
def test_a_registry_is_itself_however_it_writes_its_name(written: str) -> None:
    """A proxy that adds the default port would cost the login, and the push end in 'not logged in'."""
    assert connection().absolute(written) == "https://reg.example.com/v2/a?b=c"


@pytest.mark.parametrize(
    "written",
    ["https://reg.example.com:8443/a", "https://reg.example.com:0/a", "https://reg.example.com.evil.example/a"],
)
def test_another_port_or_host_is_another_server(written: str) -> None:
    """Whoever listens there must not get the login."""
    assert connection().absolute(written) == written


def test_the_default_port_of_https_is_not_that_of_http() -> None:
    """Port 80 without TLS is not the registry that one logged in to."""
    with pytest.raises(RegistryFailed, match="not https"):
        connection().absolute("http://reg.example.com:443/v2/a")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("c-1?_state=x", "https://reg.example.com/v2/a/blobs/uploads/c-1?_state=x"),
        ("../c", "https://reg.example.com/v2/a/blobs/c"),
        ("?_state=x", "https://reg.example.com/v2/a/blobs/uploads/?_state=x"),
        ("/c", "https://reg.example.com/c"),
    ],
)
def test_a_relative_location_counts_from_what_was_asked(written: str, meant: str) -> None:
    """Counted from the root (RFC 3986, 5.2 says otherwise), an upload would go on where there is none."""
    assert connection().absolute(written, "https://reg.example.com/v2/a/blobs/uploads/") == meant


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST"])
def test_an_upload_keeps_its_login_where_the_registry_writes_its_name_otherwise(name: str) -> None:
    """The session of a registry behind a proxy is named as the proxy writes it; without the login the PATCH is refused."""
    with Registry(auth=Auth(mode="basic", accounts={"me": Account("s3cret")})) as registry:
        port = registry.address.rpartition(":")[2]
        registry.behaviour.location = f"http://{name}:{port}"
        host = f"localhost:{port}"
        settled = Connection(
            host,
            plain_http=lambda asked: asked == host,
            credentials=lambda: Credentials("me", "s3cret"),
            sleep=lambda seconds: None,
        )
        blob = layer(0).blob
        placed = Repository(settled, Reference(host, "models/granite")).put(blob, lambda amount: None)
        assert placed.digest in registry.blobs
