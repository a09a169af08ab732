"""Each fault happens exactly at its byte, once, to the request it is meant for, and is on record."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.content import Bytes, Content, File, Synthetic
from tests.fakes.faults import AddHeader, Corrupt, Cut, DropHeader, Hangup, Long, Redirect, Short, Stall, Status
from tests.fakes.http_message import Incoming, Response
from tests.fakes.http_server import Server
from tests.fakes.plain_client import Answer, ask
from tests.live.certificates import write_server_files

SIZE = 3_000_017
DATA = Synthetic(SIZE, seed=1)


class Echo:
    """Serves `content` and takes uploads; remembers what it was asked for and what arrived."""

    def __init__(self, content: Content) -> None:
        self.content = content
        self.acted: list[str] = []
        self.received = b""

    def __call__(self, request: Incoming) -> Response:
        if request.method in ("PUT", "PATCH"):
            self.received = request.body.read(10 * SIZE)
        self.acted.append(request.method)
        return Response(200, (("X-Kind", "echo"),), self.content if request.method == "GET" else Bytes(b"done"))


@pytest.fixture(params=["bytes", "file", "synthetic"])
def echo(request: pytest.FixtureRequest, tmp_path: Path) -> Echo:
    whole = DATA.read(0, SIZE)
    (tmp_path / "file").write_bytes(whole)
    kinds: dict[str, Content] = {"bytes": Bytes(whole), "file": File(tmp_path / "file"), "synthetic": DATA}
    return Echo(kinds[request.param])


@pytest.fixture
def server(echo: Echo) -> Iterator[Server]:
    with Server(echo, origin="echo") as server:
        yield server
    assert not server.errors, "the fake crashed: what a test blames on the network is a defect of the fake"


def whole() -> bytes:
    return DATA.read(0, SIZE)


@pytest.mark.parametrize("at_byte", [0, 1, 65536, 1_048_577, SIZE - 1, SIZE])
def test_a_cut_download_delivers_every_byte_up_to_the_cut_and_none_after(server: Server, at_byte: int) -> None:
    """A resuming client that counts on the wrong number of bytes would write a corrupt layer."""
    server.faults.add(Cut(at_byte), method="GET")
    answer = ask("GET", server.url + "/x")
    assert answer.body == whole()[:at_byte]
    assert isinstance(answer.broken, ConnectionResetError) or at_byte == SIZE
    assert [fired.at_byte for fired in server.faults.wait()] == [at_byte]
    assert server.log.requests[0].response_bytes == at_byte
    assert ask("GET", server.url + "/x").body == whole(), "a fault for one request hit another"


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("at_byte", [1, 65536, 1_048_577, SIZE - 1])
def test_a_cut_upload_is_taken_up_to_the_cut(server: Server, echo: Echo, at_byte: int, chunked: bool) -> None:
    """A pusher that takes a broken upload for a finished one would tag an image that cannot be pulled."""
    server.faults.add(Cut(at_byte, "request"), method="PUT")
    body = iter([whole()[:10], whole()[10:]]) if chunked else whole()
    with pytest.raises(OSError, match=r"reset|Broken pipe"):
        ask("PUT", server.url + "/x", body)
    server.faults.wait()
    assert server.log.requests[0].request_bytes == at_byte
    assert server.log.requests[0].status == 0
    assert echo.acted == []


def test_a_request_can_be_cut_before_and_after_the_server_acts(server: Server, echo: Echo) -> None:
    """Only the second leaves something behind at the server; a client cannot tell and has to cope with both."""
    server.faults.add(Cut(0, "request"), method="PUT")
    with pytest.raises(OSError, match=r"reset|Broken pipe"):
        ask("PUT", server.url + "/x", b"abc")
    assert echo.acted == []
    server.faults.add(Hangup(), method="PUT")
    with pytest.raises(ConnectionResetError):
        ask("PUT", server.url + "/x", b"abc")
    assert echo.acted == ["PUT"]
    assert len(server.faults.fired) == 2


def test_a_stall_sends_exactly_its_bytes_and_goes_on_when_told(server: Server) -> None:
    """A client's read timeout can be tested only if silence really is silence."""
    go = threading.Event()
    server.faults.add(Stall(100_000, go), method="GET")
    with socket.create_connection(tuple(server.address.split(":"))) as client:  # type: ignore[arg-type]
        client.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
        stream = client.makefile("rb")
        while stream.readline() != b"\r\n":
            pass
        assert stream.read(100_000) == whole()[:100_000]
        server.faults.wait()
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(1)
        client.setblocking(True)
        go.set()
        assert stream.read(SIZE - 100_000) == whole()[100_000:]


def test_stopping_the_server_ends_a_stall(echo: Echo) -> None:
    """A test that fails during a stall must not hang the whole run."""
    with Server(echo, origin="echo") as server:
        server.faults.add(Stall(10, threading.Event(), "request"), method="PUT")
        outcome: list[BaseException] = []
        client = threading.Thread(target=_ask_and_keep_error, args=(server.url + "/x", outcome))
        client.start()
        server.faults.wait()
        assert server.log.requests[0].request_bytes == 10
    client.join(10)
    assert not client.is_alive()
    assert isinstance(outcome[0], OSError)


def _ask_and_keep_error(url: str, outcome: list[BaseException]) -> None:
    try:
        ask("PUT", url, whole())
    except OSError as error:
        outcome.append(error)


@pytest.mark.parametrize("at_byte", [0, 1_048_576, SIZE - 1])
def test_one_byte_is_flipped_on_its_way_out_or_in(server: Server, echo: Echo, at_byte: int) -> None:
    """A digest check that never meets a wrong byte proves nothing."""
    damaged = bytearray(whole())
    damaged[at_byte] ^= 0xFF
    server.faults.add(Corrupt(at_byte), method="GET")
    server.faults.add(Corrupt(at_byte, "request"), method="PUT")
    assert ask("GET", server.url + "/x").body == damaged
    ask("PUT", server.url + "/x", whole())
    assert echo.received == damaged


def test_bodies_can_be_shorter_and_longer_than_promised(server: Server) -> None:
    """A client that trusts Content-Length alone, or the end of the stream alone, keeps the wrong bytes."""

    def got(fault: Short | Long) -> tuple[int, int, bool]:
        server.faults.add(fault, method="GET")
        answer = ask("GET", server.url + "/x")
        return int(answer.headers["content-length"]), len(answer.body), answer.broken is None

    assert got(Short(5)) == (SIZE - 5, SIZE - 5, True)
    assert got(Short(5, honest=False)) == (SIZE, SIZE - 5, False)
    assert got(Long(5)) == (SIZE + 5, SIZE + 5, True)
    assert got(Long(5, honest=False)) == (SIZE, SIZE, True)
    server.faults.add(Long(5, honest=False), method="GET")
    with socket.create_connection(tuple(server.address.split(":"))) as client:  # type: ignore[arg-type]
        client.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
        everything = client.makefile("rb").read()
    assert everything.endswith(whole() + bytes(5)), "the extra bytes were never sent"


def test_answers_and_headers_can_be_replaced(server: Server, echo: Echo) -> None:
    """Rate limits, redirects and forgotten headers are met in the field; each must be met here too."""
    server.faults.add(Status(429, {"Retry-After": "1"}, b"slow down"), path=r"^/busy")
    server.faults.add(Redirect("/there", 308), path=r"^/moved")
    server.faults.add(DropHeader("x-kind"), path=r"^/bare")
    server.faults.add(AddHeader("X-Kind", "other"), path=r"^/odd")
    busy, moved = ask("PUT", server.url + "/busy", whole()), ask("GET", server.url + "/moved")
    assert (busy.status, busy.headers["retry-after"], busy.body) == (429, "1", b"slow down")
    assert (moved.status, moved.headers["location"]) == (308, "/there")
    assert echo.acted == [], "a replaced answer must leave the server untouched"
    assert server.log.requests[0].request_bytes == SIZE, "the body was to be read before the answer"
    assert "x-kind" not in ask("HEAD", server.url + "/bare").headers
    assert ask("HEAD", server.url + "/odd").headers["x-kind"] == "other"


def test_an_error_in_the_middle_of_an_upload_can_still_be_read(server: Server) -> None:
    """A registry that says 413 early says why; a client that only sees a broken pipe cannot tell its user."""
    server.faults.add(Status(413, body=b"too large", after_request_bytes=100_000), method="PUT")
    with socket.create_connection(tuple(server.address.split(":"))) as client:  # type: ignore[arg-type]
        client.sendall(b"PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n" + bytes(100_000))
        received = b""
        while piece := client.recv(65536):
            received += piece
    assert received.startswith(b"HTTP/1.1 413") and received.endswith(b"too large")
    assert server.log.requests[0].request_bytes == 100_000


def test_faults_count_only_the_occasions_on_which_they_could_happen(server: Server) -> None:
    """`times=1` that is used up by a HEAD or an error page leaves the download it was meant for unharmed."""
    server.faults.add(Cut(10), path="x", origin="echo", skip=1, times=1)
    server.faults.add(Cut(10), path="x", origin="elsewhere", times=None)
    assert ask("HEAD", server.url + "/x").status == 200
    outcomes = [ask("GET", server.url + "/x").broken is None for _ in range(3)]
    assert outcomes == [True, False, True]
    server.faults.add(Cut(10), when=lambda asked: asked.headers.get("range") == "bytes=5-", times=None)
    assert ask("GET", server.url + "/x", headers={"Range": "bytes=5-"}).broken is not None
    server.faults.clear()
    assert ask("GET", server.url + "/x", headers={"Range": "bytes=5-"}).broken is None


def test_a_wait_for_a_fault_that_does_not_come_ends(server: Server) -> None:
    """A test whose fault never fires must say so instead of passing."""
    with pytest.raises(TimeoutError, match="0 of 1"):
        server.faults.wait(deadline=0.01)


def test_a_large_body_that_nobody_reads_does_not_disturb_the_next_request(server: Server) -> None:
    """A client that was refused early must get a clean connection, not the rest of its own upload as an answer."""
    answer: Answer = ask("POST", server.url + "/x", bytes(100_000))
    assert (answer.status, answer.headers.get("connection")) == (200, None)
    assert server.log.requests[0].request_bytes == 100_000


def test_faults_keep_their_byte_over_tls(tmp_path: Path) -> None:
    """Registries are reached over TLS: the same byte must be hit there."""
    files = write_server_files(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate_file, files.key_file)
    trust = ssl.create_default_context(cafile=str(files.ca_file))
    with Server(Echo(DATA), origin="echo", tls=context) as server:
        assert ask("GET", server.url + "/x", tls=trust).body == whole()
        server.faults.add(Cut(1_000_001), method="GET")
        answer = ask("GET", server.url + "/x", tls=trust)
    assert len(answer.body) == 1_000_001
    assert answer.broken is not None


def test_no_thread_outlives_its_server(echo: Echo) -> None:
    """Fixtures that leave threads behind make later failures impossible to place."""
    before = set(threading.enumerate())
    with Server(echo, origin="echo") as server:
        ask("GET", server.url + "/x")
        with socket.create_connection(tuple(server.address.split(":"))):  # type: ignore[arg-type]
            pass
    assert set(threading.enumerate()) <= before
