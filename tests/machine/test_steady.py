"""Sending to a peer that takes its time: if these fail, nothing large gets through a slow line, or a dead one is waited for."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from urllib3.connection import HTTPConnection

from buildkit.machine import steady
from buildkit.machine.connections import pool
from tests.live.certificates import write_server_files

AMOUNT = 1024 * 1024
STEP = 16 * 1024


class SlowPeer:
    """Takes ``STEP`` bytes at a time, with a wait between them, and answers when ``AMOUNT`` bytes of a body are there."""

    def __init__(self, wait: Callable[[], object], secure: ssl.SSLContext | None = None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, STEP)
        self._wait, self._secure = wait, secure
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        taken, _ = self._listener.accept()
        taken = self._secure.wrap_socket(taken, server_side=True) if self._secure else taken
        got = 0
        while got < AMOUNT and (data := taken.recv(STEP)):
            got += len(data)
            self._wait()
        taken.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def push(port: int, scheme: str = "http", amount: int = AMOUNT) -> bytes:
    origin = f"{scheme}://127.0.0.1:{port}"
    body = iter([bytes(amount)])
    return pool(origin).request("PATCH", origin, body=body, headers={"Content-Length": str(amount)}).data


@pytest.fixture
def small_buffers() -> Iterator[None]:
    """Little of what is sent is taken by the system on this side."""
    option = (socket.SOL_SOCKET, socket.SO_SNDBUF, STEP)
    HTTPConnection.default_socket_options.append(option)
    yield
    HTTPConnection.default_socket_options.remove(option)


@pytest.mark.usefixtures("small_buffers")
def test_a_slow_line_is_no_broken_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A piece that takes longer than the timeout was given up although it went steadily: no push over a slow line ended."""
    monkeypatch.setattr(steady, "SEND_SECONDS", 2.5)
    monkeypatch.setattr("buildkit.machine.connections.CONNECT_SECONDS", 2.5)
    idle = threading.Event()
    assert push(SlowPeer(lambda: idle.wait(0.08)).port) == b"ok"


def test_a_peer_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry that hangs would be waited for until somebody looks."""
    monkeypatch.setattr(steady, "SEND_SECONDS", 0.2)
    with pytest.raises(Exception, match="timed out"):
        push(SlowPeer(threading.Event().wait).port, amount=64 << 20)


def test_the_same_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS has a way of sending of its own."""
    certificates = write_server_files(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.certificate_file, certificates.key_file)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca_file))
    assert push(SlowPeer(lambda: None, context).port, "https") == b"ok"
