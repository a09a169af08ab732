"""The proxy cuts at its byte on both sides, and is otherwise not there."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.fakes.content import Synthetic
from tests.fakes.plain_client import ask
from tests.fakes.proxy import FaultProxy
from tests.fakes.registry import Registry

DATA = Synthetic(3_000_001, seed=5).read(0, 3_000_001)


class Peer:
    """A TCP server that counts what each connection brought and how it ended, and sends DATA when asked to."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        self.ended: list[tuple[int, str]] = []
        self.changed = threading.Condition()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        try:
            while True:
                threading.Thread(target=self._serve, args=(self.listener.accept()[0],), daemon=True).start()
        except OSError:
            return

    def _serve(self, connection: socket.socket) -> None:
        received, how = 0, "end"
        try:
            while data := connection.recv(65536):
                received += len(data)
                if data == b"send":
                    connection.sendall(DATA)
                    connection.shutdown(socket.SHUT_WR)
        except OSError:
            how = "reset"
        connection.close()
        with self.changed:
            self.ended.append((received, how))
            self.changed.notify_all()

    def wait(self, count: int) -> list[tuple[int, str]]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.ended) >= count, 10), "a connection did not end"
            return list(self.ended)


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.listener.shutdown(socket.SHUT_RDWR)
    peer.listener.close()


@pytest.fixture
def proxy(peer: Peer) -> Iterator[FaultProxy]:
    with FaultProxy("127.0.0.1", peer.port) as proxy:
        yield proxy


def connect(proxy: FaultProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(proxy.address.partition(":")[2])), timeout=20)


def send(proxy: FaultProxy, data: bytes = DATA) -> bool:
    """True if all of it could be sent and the connection ended in peace."""
    with connect(proxy) as client:
        try:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            return client.recv(1) == b""
        except OSError:
            return False


def receive(proxy: FaultProxy) -> tuple[bytes, bool]:
    """What came, and whether it ended in peace."""
    received = bytearray()
    with connect(proxy) as client:
        try:
            client.sendall(b"send")
            while data := client.recv(65536):
                received += data
            return bytes(received), True
        except OSError:
            return bytes(received), False


def test_nothing_changes_without_a_fault(proxy: FaultProxy, peer: Peer) -> None:
    """A failure behind the proxy must be the fault's doing and not the proxy's."""
    assert send(proxy)
    assert receive(proxy) == (DATA, True)
    assert sorted(peer.wait(2)) == [(4, "end"), (len(DATA), "end")]
    assert [(c.up, c.down, c.cut) for c in proxy.connections] == [(len(DATA), 0, False), (4, len(DATA), False)]


@pytest.mark.parametrize("after", [1, 65_536, 1_000_001, len(DATA) - 1])
def test_uploads_are_cut_at_the_byte(proxy: FaultProxy, peer: Peer, after: int) -> None:
    """The real registry must have had exactly this much when the push broke."""
    proxy.cut(after)
    assert not send(proxy)
    assert peer.wait(1) == [(after, "reset")]
    assert proxy.cuts == 1
    assert send(proxy), "one cut was asked for"


@pytest.mark.parametrize("after", [1, 65_536, 1_000_001, len(DATA) - 1])
def test_downloads_are_cut_at_the_byte(proxy: FaultProxy, after: int) -> None:
    """The tool must have had exactly this much when the pull broke."""
    proxy.cut(after, "down", skip=1, times=2)
    outcomes = [receive(proxy) for _ in range(4)]
    assert outcomes == [(DATA, True), (DATA[:after], False), (DATA[:after], False), (DATA, True)]
    assert proxy.cuts == 2


def test_a_cut_can_count_over_all_connections(proxy: FaultProxy, peer: Peer) -> None:
    """A network that fails after so much traffic, whoever's it was."""
    proxy.cut(2 * len(DATA) + 10, of="life")
    assert [send(proxy) for _ in range(4)] == [True, True, False, True]
    assert sorted(peer.wait(4)) == [(10, "reset"), *[(len(DATA), "end")] * 3]


def test_a_shared_count_is_exact_for_connections_side_by_side(proxy: FaultProxy, peer: Peer) -> None:
    """Layers go up in parallel: the sum over them must be hit at its byte too."""
    proxy.cut(3 * len(DATA) + 7, of="life")
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(lambda _: send(proxy), range(4)))
    assert sorted(outcomes) == [False, True, True, True]
    lost = [received for received, how in peer.wait(4) if how == "reset"]
    assert len(lost) == 1
    assert proxy.cuts == 1


def test_connections_can_be_refused_and_taken_again(proxy: FaultProxy) -> None:
    """A registry that restarts refuses for a while, on the same port."""
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    proxy.accept()
    assert receive(proxy) == (DATA, True)


def test_open_connections_can_be_severed(proxy: FaultProxy, peer: Peer) -> None:
    """A load balancer that goes away takes every connection with it."""
    with connect(proxy) as client:
        client.sendall(b"0123456789")
        until = time.monotonic() + 10
        while sum(connection.up for connection in proxy.connections) < 10:
            assert time.monotonic() < until, "the bytes did not pass"
        proxy.sever()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert peer.wait(1) == [(10, "reset")]


def test_slow_connections_lose_nothing(proxy: FaultProxy, peer: Peer) -> None:
    """Throttled and delayed bytes arrive whole and in order."""
    proxy.throttle(20_000_000, latency_seconds=0.005)
    assert receive(proxy) == (DATA, True)
    assert send(proxy, DATA[:500_000])
    assert (500_000, "end") in peer.wait(2)


def test_a_dead_target_looks_dead(peer: Peer) -> None:
    """A proxy that takes connections for a server that is gone must not leave its client waiting."""
    free = socket.create_server(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()
    with FaultProxy("127.0.0.1", port) as proxy, pytest.raises(ConnectionResetError):
        with connect(proxy) as client:
            client.recv(1)


def test_requests_pass_between_a_client_and_a_registry() -> None:
    """It is made to stand before a registry: keep-alive, uploads and early answers go through."""
    with Registry() as registry, FaultProxy("127.0.0.1", int(registry.address.partition(":")[2])) as proxy:
        registry.behaviour.location = "relative"
        location = ask("POST", f"{proxy.url}/v2/a/b/blobs/uploads/").headers["location"]
        patched = ask("PATCH", proxy.url + location, DATA)
        assert (patched.status, patched.headers["range"]) == (202, f"0-{len(DATA) - 1}")
        registry.behaviour.max_layer_bytes = 10
        location = ask("POST", f"{proxy.url}/v2/a/b/blobs/uploads/").headers["location"]
        with connect(proxy) as client:
            client.sendall(f"PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n\r\n".encode())
            assert client.recv(65536).startswith(b"HTTP/1.1 413")
