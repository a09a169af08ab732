"""Certificates and proxies, the same for listings, downloads, the hub library's own downloads and URLs."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub
import pytest

from buildkit.errors import InvalidInput, SourceFailed
from buildkit.inputs import Download, HuggingFaceRef
from buildkit.machine.connections import pool, proxy_for
from buildkit.pin import File, Inventory
from buildkit.sources.cached import CachedHuggingFace
from buildkit.sources.http import Http
from buildkit.sources.huggingface import HuggingFace
from tests.fakes.content import Bytes
from tests.fakes.http_message import Incoming, Response, ranged_response
from tests.fakes.http_server import Server
from tests.live.certificates import ServerFiles, write_server_files
from tests.sources.conftest import NAME, failure

BODY = b"weights"
FILE = File("model.onnx", len(BODY), git_oid="0" * 40)
PINNED = Inventory("huggingface", NAME, (FILE,), "main", "c" * 40)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "SSL_CERT_FILE",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "SSL_CERT_DIR",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
    ):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    # The library's client lives as long as the process, with the certificates and proxies of its first use.
    huggingface_hub.close_session()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> ServerFiles:
    return write_server_files(tmp_path_factory.mktemp("tls"))


def answer(request: Incoming) -> Response:
    return ranged_response(request, Bytes(BODY), (("X-Repo-Commit", "c" * 40), ("ETag", f'"{FILE.git_oid}"')))


@pytest.fixture
def secure(certificates: ServerFiles) -> Iterator[Server]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.certificate_file, certificates.key_file)
    with Server(answer, origin="secure", tls=context) as running:
        yield running


def hub(endpoint: str) -> HuggingFace:
    return HuggingFace(HuggingFaceRef(hf=NAME), endpoint, lambda: None, pinned=PINNED, wait=lambda seconds: None)


def ways(base: str) -> dict[str, Callable[[], object]]:
    """Every way in which something is asked of a server."""
    urls = [Download(url=f"{base}/model.onnx")]
    known = [Download(url=f"{base}/model.onnx", sha256="0" * 64)]
    return {
        "listing": hub(base).inventory,
        "stream": lambda: b"".join(hub(base).open(FILE)),
        "cache": lambda: b"".join(CachedHuggingFace(hub(base)).open(FILE)),
        "url": Http(urls, wait=lambda seconds: None).inventory,
        "size": Http(known, wait=lambda seconds: None).inventory,
    }


WAYS = ["listing", "stream", "cache", "url", "size"]


@pytest.mark.parametrize("way", WAYS)
def test_a_certificate_that_nobody_signed_is_refused_with_the_way_out(secure: Server, way: str) -> None:
    """Somebody in between must not be able to hand us a model, and behind a company's proxy the hint saves the day."""
    error = failure(ways(secure.url)[way])
    assert "certificate of 127.0.0.1 cannot be verified" in str(error) and "SSL_CERT_FILE" in error.hint
    assert secure.log.requests == ()


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
@pytest.mark.parametrize("way", WAYS)
def test_a_bundle_that_the_environment_names_is_trusted(
    secure: Server, way: str, variable: str, certificates: ServerFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(certificates.ca_file))
    try:
        ways(secure.url)[way]()
    except SourceFailed as error:
        assert "does not answer like" in str(error), "the server is no hub, but nothing else may be wrong"
    assert secure.log.requests, "the server was never reached"


@pytest.mark.parametrize("way", WAYS)
def test_a_proxy_that_the_environment_names_is_used(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In many companies the proxy is the only way out."""
    with Server(lambda request: Response(403), origin="proxy") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        error = failure(ways("https://hub.example")[way])
    assert {(request.method, request.path) for request in proxy.log.requests} == {("CONNECT", "hub.example:443")}
    assert error.hint


@pytest.mark.parametrize("status", [403, 407])
@pytest.mark.parametrize("way", ["listing", "stream", "url", "size"])
def test_a_proxy_that_refuses_us_is_told_at_once_with_its_status(
    way: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login of a proxy is wrong however often it is tried, and some proxies lock it after a few times."""
    with Server(lambda request: Response(status), origin="proxy") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        error = failure(ways("https://hub.example")[way])
    assert f"proxy on the way to hub.example does not let us through: it answers {status}" in str(error)
    assert "HTTPS_PROXY" in error.hint and len(proxy.log.requests) == 1


def test_a_proxy_that_asks_for_a_login_in_clear_text_is_told_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub is said to answer 407, which nobody who looks after it can explain."""
    with Server(lambda request: Response(407), origin="proxy") as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        error = failure(hub("http://hub.example").inventory)
    assert "proxy on the way to hub.example" in str(error) and "407" in str(error) and len(proxy.log.requests) == 1


def test_a_proxy_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that restarts must not end a night's builds."""
    with Server(lambda request: Response(503), origin="proxy") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        error = failure(ways("https://hub.example")["listing"])
    assert "(503)" in str(error) and len(proxy.log.requests) == 5


def test_loopback_is_never_asked_for_through_a_proxy(
    secure: Server, certificates: ServerFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server(lambda request: Response(403), origin="proxy") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca_file))
        for way in ("stream", "cache", "url"):
            ways(secure.url)[way]()
        assert proxy.log.requests == ()


def test_a_proxy_without_a_scheme_is_one_as_for_curl(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the world's profiles write it so."""
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example:3128")
    assert proxy_for("https://hub.example") == "http://proxy.example:3128"


@pytest.mark.parametrize(
    "proxy",
    [
        "socks5://proxy.example:1080",
        "socks5h://proxy.example",
        "http://user:se#SECRET@proxy.example",
        "proxy.example:SECRET",
        "http://",
        "http://[proxy",
    ],
)
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "ALL_PROXY"])
def test_a_proxy_that_cannot_be_used_is_told_by_its_variable(
    name: str, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not by its value, which may hold a password."""
    monkeypatch.setenv(name, proxy)
    with pytest.raises(InvalidInput) as raised:
        pool("https://hub.example")
    assert name in str(raised.value) and "SECRET" not in str(raised.value) and "se#" not in str(raised.value)


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_a_bundle_that_is_none_is_named(
    name: str, content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a slip in a path looks like a network that is down."""
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_bytes(content)
    monkeypatch.setenv(name, str(bundle))
    with pytest.raises(InvalidInput) as raised:
        pool("https://hub.example")
    assert name in str(raised.value) and str(bundle) in str(raised.value) and raised.value.hint
