"""Heads of answers: if these fail, half an answer is taken for a whole one, or one for what only announces it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError, ProtocolError

from buildkit.machine.connections import pool
from buildkit.probe.asking import Ask, ask

HEAD = b'HTTP/1.1 200 OK\r\nETag: "a"\r\nContent-Length: 2\r\n\r\n'
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Peer:
    """Says the same to whoever asks, and closes the connection."""

    def __init__(self) -> None:
        self.says = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                with self._listener.accept()[0] as taken:
                    taken.recv(65536)
                    taken.sendall(self.says)

    def asked(self, says: bytes) -> BaseHTTPResponse:
        """What becomes of something that the peer says, the body read."""
        self.says = says
        return pool(f"http://127.0.0.1:{self.port}").request("GET", f"http://127.0.0.1:{self.port}/")

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def peer() -> Iterator[Peer]:
    one = Peer()
    yield one
    one.close()


def test_a_head_that_ends_anywhere_is_a_broken_connection(peer: Peer) -> None:
    """A missing length is an empty file, a missing digest an unknown tag, and half an address another server."""
    for end in range(len(HEAD)):
        with pytest.raises(ProtocolError):
            peer.asked(HEAD[:end])
    assert peer.asked(HEAD + b"ok").data == b"ok"


def test_half_a_piece_s_length_is_no_other_length(peer: Peer) -> None:
    """Of ``0a`` the first digit alone says that the body has come to its end."""
    with pytest.raises(HTTPError):
        peer.asked(CHUNKED + b"2\r\nok\r\n0")
    assert peer.asked(CHUNKED + b"2\r\nok\r\n0\r\n").data == b"ok", (
        "only the empty line after the last piece is missing"
    )


@pytest.mark.parametrize("status", [100, 102, 103, 199])
def test_what_announces_an_answer_is_skipped(peer: Peer, status: int) -> None:
    """It would be taken for the answer, and the answer for that to the next question."""
    early = f"HTTP/1.1 {status} Early\r\nLink: </a>; rel=preload\r\nContent-Length: 7\r\n\r\n".encode()
    answer = peer.asked(early * 3 + HEAD + b"ok")
    assert (answer.status, answer.headers.getlist("Link"), answer.data) == (200, [], b"ok")
    with pytest.raises(ProtocolError, match="no answer"):
        peer.asked(early * 100 + HEAD + b"ok")
    with pytest.raises(ProtocolError):
        peer.asked(early + HEAD[:-5])


def test_a_server_that_is_verified_has_not_answered_with_half_a_head(peer: Peer) -> None:
    """A server that dies while it answers would pass as healthy."""
    peer.says = HEAD[:20]
    assert ask(peer.port, Ask("GET", "/", 5)).failure == "connection closed without an answer"
