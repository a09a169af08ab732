"""Files from URLs: read once to be pinned, never with a token, and through whatever a server does."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildkit.errors import InvalidInput
from buildkit.events import Began, Ended, Event, Moved
from buildkit.inputs import Download, UrlsRef
from buildkit.pin import proven
from buildkit.settings import Settings
from buildkit.sources import open_source
from buildkit.sources.http import Http
from tests.fakes.content import Bytes
from tests.fakes.faults import AddHeader, Cut, CutHead, DropHeader, Hangup, Long, Redirect, Short, Status
from tests.fakes.http_message import Incoming, Response, ranged_response
from tests.fakes.http_server import Server
from tests.sources.conftest import LARGE, SMALL, content, failure

FILES = {"/models/mobilenet.onnx": LARGE, "/labels.txt": SMALL, "/a%20b.txt": b"spaced", "/empty": b""}
SHA256 = {path: hashlib.sha256(data).hexdigest() for path, data in FILES.items()}


def serve(request: Incoming) -> Response:
    if request.path not in FILES:
        return Response(404)
    data = FILES[request.path]
    return ranged_response(request, Bytes(data), (("ETag", f'"{hashlib.sha256(data).hexdigest()[:8]}"'),))


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(serve, origin="files") as running:
        yield running
    assert running.errors == []


def source(
    server: Server, *named: dict[str, str], waits: list[float] | None = None, emit: list[Event] | None = None
) -> Http:
    urls = [Download.model_validate({**one, "url": server.url + one["url"]}) for one in named]
    slept: list[float] = [] if waits is None else waits
    told: list[Event] = [] if emit is None else emit
    return Http(urls, wait=slept.append, emit=told.append)


def test_a_file_is_pinned_by_reading_it_once(server: Server) -> None:
    inventory = source(
        server, {"url": "/models/mobilenet.onnx"}, {"url": "/a%20b.txt", "path": "1/labels.txt"}
    ).inventory()
    assert [(file.path, file.size, file.sha256) for file in inventory.files] == [
        ("1/labels.txt", 6, SHA256["/a%20b.txt"]),
        ("mobilenet.onnx", len(LARGE), SHA256["/models/mobilenet.onnx"]),
    ]
    assert (inventory.type, inventory.name) == ("http", "127.0.0.1")
    assert [request.method for request in server.log.requests] == ["GET", "GET"]


def test_a_known_sha256_saves_the_download(server: Server) -> None:
    """A rebuild asks for the size alone; the bytes are proven when they are packed."""
    named = {"url": "/models/mobilenet.onnx", "sha256": SHA256["/models/mobilenet.onnx"]}
    assert source(server, named).inventory().files[0].size == len(LARGE)
    assert [request.method for request in server.log.requests] == ["HEAD"]


@pytest.mark.parametrize(
    "action", [Status(405), Status(403), Status(404), Status(501), Status(503), DropHeader("Content-Length")]
)
def test_a_server_that_does_not_tell_the_size_is_read(server: Server, action: Status | DropHeader) -> None:
    server.faults.add(action, method="HEAD", times=None)
    named = {"url": "/labels.txt", "sha256": SHA256["/labels.txt"]}
    assert source(server, named).inventory().files[0].size == len(SMALL)


def test_a_head_that_tells_nothing_by_a_length_of_zero_is_not_believed(server: Server) -> None:
    """A server that answers HEAD without counting puts an empty file into the image, under a full one's sha256."""
    server.faults.add(AddHeader("Content-Length", "0"), method="HEAD", times=None)
    http = source(server, {"url": "/labels.txt", "sha256": SHA256["/labels.txt"]})
    assert http.inventory().files[0].size == len(SMALL)
    assert server.faults.fired


def test_another_sha256_than_the_recipes_names_the_url_and_both(server: Server) -> None:
    server.faults.add(Status(405), method="HEAD", times=None)
    error = failure(source(server, {"url": "/labels.txt", "sha256": "0" * 64}).inventory)
    assert f"{server.url}/labels.txt" in str(error) and "0" * 64 in str(error) and SHA256["/labels.txt"] in str(error)


def test_a_wrong_sha256_that_was_believed_is_found_when_the_file_is_packed(server: Server) -> None:
    http = source(server, {"url": "/labels.txt", "sha256": "0" * 64})
    error = failure(lambda: list(proven(http, http.inventory().files[0])))
    assert "0" * 64 in str(error) and SHA256["/labels.txt"] in str(error)


@pytest.mark.parametrize("path", FILES)
def test_what_is_read_is_what_was_pinned(server: Server, path: str) -> None:
    http = source(server, {"url": path})
    assert b"".join(proven(http, http.inventory().files[0])) == FILES[path]


@pytest.mark.parametrize("at", [0, 1, 1_500_000, 2_999_999])
def test_a_cut_is_resumed_while_pinning_and_while_reading(server: Server, at: int) -> None:
    http = source(server, {"url": "/models/mobilenet.onnx"})
    server.faults.add(Cut(at), method="GET")
    file = http.inventory().files[0]
    assert file.sha256 == SHA256["/models/mobilenet.onnx"]
    server.faults.add(Cut(at), method="GET")
    assert content(http, file) == LARGE
    assert len(server.faults.fired) == 2


def test_a_file_that_changes_between_two_connections_is_not_put_together_from_both(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sha256 would be pinned as if such a file had ever been there."""
    other = bytes(len(LARGE))
    server.faults.add(Cut(1_000_000), method="GET")
    changed = Status(200, {"ETag": '"other"', "Content-Length": str(len(other))}, other)
    server.faults.add(
        changed,
        method="GET",
        when=lambda asked: asked.headers.get("if-range") == f'"{SHA256["/models/mobilenet.onnx"][:8]}"',
    )
    assert "changed on the server" in str(failure(source(server, {"url": "/models/mobilenet.onnx"}).inventory))


OTHER = bytes(len(LARGE))
REST = f"bytes 1000000-{len(LARGE) - 1}/{len(LARGE)}"
OLD = {"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT", "Date": "Wed, 21 Oct 2015 09:00:00 GMT"}
YOUNG = {"Last-Modified": "Wed, 21 Oct 2015 08:59:30 GMT", "Date": "Wed, 21 Oct 2015 09:00:00 GMT"}


def test_a_part_of_another_version_is_not_put_to_the_one_before(server: Server) -> None:
    """A server that ignores If-Range: its parts of two versions would be pinned as one file."""
    server.faults.add(Cut(1_000_000), method="GET")
    part = Status(206, {"ETag": '"other"', "Content-Range": REST}, OTHER[1_000_000:])
    server.faults.add(part, method="GET", when=lambda asked: "if-range" in asked.headers)
    assert "changed on the server" in str(failure(source(server, {"url": "/models/mobilenet.onnx"}).inventory))


@pytest.mark.parametrize("validator", [{}, {"ETag": 'W/"weak"'}, {"ETag": 'W/"weak"', **OLD}, YOUNG])
def test_a_file_whose_versions_look_the_same_is_begun_again(server: Server, validator: dict[str, str]) -> None:
    """It was replaced while it was read: half of each version would be pinned as one file."""
    server.faults.add(DropHeader("ETag"), times=None)
    for name, value in validator.items():
        server.faults.add(AddHeader(name, value), times=None)
    server.faults.add(Cut(1_000_000), method="GET")
    http = source(server, {"url": "/models/mobilenet.onnx"})
    assert http.inventory().files[0].sha256 == SHA256["/models/mobilenet.onnx"]
    assert not any("range" in request.headers for request in server.log.requests)
    server.faults.add(Cut(2_000_000), method="GET", times=None)
    assert "5 tries" in str(failure(http.inventory)), "a line that always breaks at one place is tried for ever"


def test_a_part_that_does_not_tell_its_version_is_not_believed(server: Server) -> None:
    """It may be of another version than what came before."""
    server.faults.add(Cut(1_000_000), method="GET")
    part = Status(206, {"Content-Range": REST}, OTHER[1_000_000:])
    server.faults.add(part, method="GET", when=lambda asked: "if-range" in asked.headers)
    assert (
        source(server, {"url": "/models/mobilenet.onnx"}).inventory().files[0].sha256
        == SHA256["/models/mobilenet.onnx"]
    )


def test_an_old_date_is_as_good_as_an_etag(server: Server) -> None:
    """A large file on a plain server would be begun again whenever the line breaks."""
    server.faults.add(DropHeader("ETag"), times=None)
    for name, value in OLD.items():
        server.faults.add(AddHeader(name, value), times=None)
    server.faults.add(Cut(1_000_000), method="GET")
    part = Status(206, {"Content-Range": REST}, LARGE[1_000_000:])
    server.faults.add(part, when=lambda asked: asked.headers.get("if-range") == OLD["Last-Modified"])
    assert (
        source(server, {"url": "/models/mobilenet.onnx"}).inventory().files[0].sha256
        == SHA256["/models/mobilenet.onnx"]
    )
    assert [request.headers.get("range") for request in server.log.requests] == [None, "bytes=1000000-"]


PAGE = Status(200, {"Content-Type": "text/html; charset=utf-8"}, b"<!doctype html><title>Log in</title>")


@pytest.mark.parametrize("known", [{}, {"sha256": SHA256["/labels.txt"]}])
def test_a_login_page_is_not_taken_for_the_file(server: Server, known: dict[str, str]) -> None:
    """A network's login page is locked as the model, or the file is said to have been replaced."""
    server.faults.add(PAGE, times=None)
    error = failure(source(server, {"url": "/labels.txt", **known}).inventory)
    assert "web page, perhaps a login page" in str(error) and "browser" in error.hint


def test_a_file_that_its_server_calls_a_page_is_one_by_its_sha256(server: Server) -> None:
    """Some servers call everything a page: there would be no way to take a file from one."""
    server.faults.add(AddHeader("Content-Type", "text/html"), times=None)
    http = source(server, {"url": "/labels.txt", "sha256": SHA256["/labels.txt"]})
    assert content(http, http.inventory().files[0]) == SMALL


def test_a_page_that_was_asked_for_is_a_file(server: Server) -> None:
    """A model may well come with its documentation."""
    server.faults.add(PAGE)
    assert source(server, {"url": "/guide/index.HTML"}).inventory().files[0].size == len(PAGE.body)


@pytest.mark.parametrize("action", [Short(7), Long(7)])
def test_another_size_than_pinned_is_told_with_both(server: Server, action: Short | Long) -> None:
    http = source(server, {"url": "/labels.txt"})
    file = http.inventory().files[0]
    server.faults.add(action, method="GET", times=None)
    error = failure(lambda: content(http, file))
    assert "40,000" in str(error) and f"{40_000 + (7 if isinstance(action, Long) else -7):,}" in str(error)


def test_an_unknown_length_is_read_to_its_end(server: Server) -> None:
    server.faults.add(DropHeader("Content-Length"), method="GET")
    server.faults.add(AddHeader("Connection", "close"), method="GET")
    server.faults.add(Short(0, honest=False), method="GET")
    assert source(server, {"url": "/empty"}).inventory().files[0].size == 0


@pytest.mark.parametrize("header", ["Accept-Ranges", "ETag", "Content-Length"])
def test_an_answer_that_breaks_off_in_its_headers_is_no_empty_file(server: Server, header: str) -> None:
    """A file of which nobody wrote down the sha256 would be locked, pushed and tagged without a byte."""
    server.faults.add(CutHead(header, 1), method="GET")
    (file,) = source(server, {"url": "/labels.txt"}).inventory().files
    assert (file.size, file.sha256) == (len(SMALL), SHA256["/labels.txt"])
    assert server.faults.fired


@pytest.mark.parametrize(
    ("status", "words"),
    [(404, "is not there"), (410, "is not there"), (401, "by everybody"), (403, "by everybody"), (418, "answers 418")],
)
def test_refusals_are_told_apart(server: Server, status: int, words: str) -> None:
    server.faults.add(Status(status), times=None)
    error = failure(source(server, {"url": "/labels.txt"}).inventory)
    assert words in str(error) and f"{server.url}/labels.txt" in str(error) and error.hint


@pytest.mark.parametrize("action", [Hangup(), Status(503)])
def test_a_server_that_is_down_is_given_up(server: Server, action: Hangup | Status) -> None:
    waits: list[float] = []
    server.faults.add(action, times=None)
    for named in ({"url": "/labels.txt"}, {"url": "/labels.txt", "sha256": SHA256["/labels.txt"]}):
        assert "5 tries" in str(failure(source(server, named, waits=waits).inventory))
    assert len(waits) == 8


def test_redirects_are_followed(server: Server) -> None:
    server.faults.add(Redirect("/models/mobilenet.onnx", 302), path="labels")
    assert source(server, {"url": "/labels.txt"}).inventory().files[0].size == len(LARGE)


def test_no_credentials_are_ever_sent(server: Server, monkeypatch: pytest.MonkeyPatch, private_home: Path) -> None:
    """A URL of a recipe is anybody's server."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    (private_home / ".netrc").write_text("machine 127.0.0.1 login me password hf_secret")
    http = source(server, {"url": "/labels.txt"}, {"url": "/empty", "sha256": SHA256["/empty"]})
    for file in http.inventory().files:
        list(proven(http, file))
    assert server.log.requests
    assert not any(
        "hf_secret" in str(request.headers) or "authorization" in request.headers for request in server.log.requests
    )


def test_a_secret_in_a_query_is_not_shown(server: Server) -> None:
    server.faults.add(Status(403), times=None)
    assert "sig" not in str(failure(source(server, {"url": "/labels.txt?sig=secret"}).inventory))


def test_progress_is_told(server: Server) -> None:
    events: list[Event] = []
    source(server, {"url": "/labels.txt"}, emit=events).inventory()
    assert events[0] == Began("download labels.txt", "labels.txt", None)
    assert events[-1] == Ended("download labels.txt", "read")
    assert sum(event.amount for event in events if isinstance(event, Moved)) == len(SMALL)


def test_nothing_is_written_to_disk(server: Server, private_home: Path, tmp_path: Path) -> None:
    http = source(server, {"url": "/labels.txt"})
    content(http, http.inventory().files[0])
    assert list(private_home.rglob("*")) == list(tmp_path.rglob("*")) == []


def test_a_page_of_the_settings_hub_is_refused(tmp_path: Path) -> None:
    """Whoever has a hub of their own copies the address of its page, whose HTML becomes the model."""
    for hub in ("https://hub.example.org", "https://example.org/hub"):
        ref = UrlsRef(urls=(Download(url=f"{hub}/org/mini/tree/v1"),))
        with pytest.raises(InvalidInput, match="is a page of the hub") as raised:
            open_source(ref, tmp_path, Settings(endpoint=hub), lambda event: None)
        assert raised.value.hint == "write hf://org/mini@v1"


def test_open_source_takes_urls(server: Server, tmp_path: Path) -> None:
    ref = UrlsRef(urls=(Download(url=f"{server.url}/empty"),))
    assert open_source(ref, tmp_path, Settings(), lambda event: None).inventory().files[0].size == 0
