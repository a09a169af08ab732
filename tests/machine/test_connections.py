"""Connections to slow peers: if these fail, what a peer only takes slowly never arrives."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest
from urllib3.exceptions import ReadTimeoutError

from buildkit.machine import connections
from tests.fakes.faults import Stall
from tests.fakes.http_message import Incoming, Response
from tests.fakes.http_server import Server
from tests.live.certificates import write_server_files

SIZE = 32 << 20
"""Bytes: more than the kernel takes for a peer that reads none."""


@pytest.fixture(params=["http", "https"])
def server(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server on loopback that takes whatever it is sent."""
    context = None
    if request.param == "https":
        files = write_server_files(tmp_path)
        monkeypatch.setenv("SSL_CERT_FILE", str(files.ca_file))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.certificate_file, files.key_file)

    def take(request: Incoming) -> Response:
        request.body.drain()
        return Response(200)

    with Server(take, origin="slow", tls=context) as started:
        yield started


@pytest.mark.parametrize("used", [False, True])
def test_a_peer_may_take_longer_for_a_piece_than_for_a_connection(
    server: Server, used: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A registry that writes a part away before it takes more must not be taken for gone, nor a slow line for broken."""
    monkeypatch.setattr(connections, "CONNECT_SECONDS", 0.5)
    done = Event()
    server.faults.add(Stall(1, done, "request"), method="PATCH")
    server.faults.add(Stall(0, Event(), "request"), path="/never")

    def outwait() -> None:
        server.faults.wait()
        with pytest.raises(ReadTimeoutError):
            connections.pool(server.url).request("GET", f"{server.url}/never", timeout=1.5)
        done.set()

    pool = connections.pool(server.url)
    if used:
        pool.request("GET", server.url)
    Thread(target=outwait, daemon=True).start()
    sent = pool.request("PATCH", server.url, body=iter([bytes(1 << 20)] * 32), headers={"Content-Length": str(SIZE)})
    assert sent.status == 200 and done.is_set()


def test_a_line_that_is_silent_is_kept_open(server: Server) -> None:
    """Where a registry takes ten minutes to finish a layer, a router that forgot the line would swallow its answer."""
    pool = connections.pool(server.url)
    pool.request("GET", server.url)
    kept = pool.connection_from_url(server.url).pool
    assert kept is not None
    line = kept.get_nowait().sock
    assert line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    if hasattr(socket, "TCP_KEEPIDLE"):
        assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) < 240
    assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), "small requests would wait for each other"
