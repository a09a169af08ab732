"""Everything that a hub and its storage can do to a transfer: it ends with the right bytes, or with one clear error."""

from __future__ import annotations

import random
from dataclasses import replace
from threading import Event

import pytest

from buildkit.errors import SourceFailed
from buildkit.machine import connections
from buildkit.pin import File, proven
from buildkit.sources.addresses import Place, next_hop
from buildkit.sources.huggingface import HuggingFace
from tests.fakes.faults import (
    Action,
    AddHeader,
    Corrupt,
    Cut,
    CutHead,
    DropHeader,
    Hangup,
    Interim,
    Long,
    Redirect,
    Short,
    Stall,
    Status,
)
from tests.fakes.hub import Hub
from tests.sources.conftest import LARGE, NAME, SMALL, Model, content, failure, named

PATHS = {"config.json": SMALL, "weights/model.safetensors": LARGE}
WHERE = ["start", "second", "middle", "last"]


def place(where: str, size: int) -> int:
    return {"start": 0, "second": 1, "middle": size // 2, "last": size - 1}[where]


def ready(model: Model, path: str) -> tuple[HuggingFace, File]:
    source = model.source()
    return source, named(source.inventory(), path)


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("path", PATHS)
def test_a_cut_is_resumed_from_the_byte_where_it_happened(model: Model, path: str, where: str) -> None:
    """A reset connection must cost a moment, and neither the file nor a byte twice."""
    source, file = ready(model, path)
    at = place(where, file.size)
    model.hurt(path, Cut(at))
    assert b"".join(proven(source, file)) == PATHS[path]
    assert model.hub.faults.fired, "the cut did not happen, so this test showed nothing"
    there = ("hub", "/resolve/") if path == "config.json" else ("cdn", "")
    asked = [request for request in model.hub.requests if request.origin == there[0] and there[1] in request.path]
    ranges = [request.headers.get("range") for request in asked]
    assert ranges == [None, f"bytes={at}-" if at else None], "the transfer began again from another byte"


@pytest.mark.parametrize("header", ["Content-Type", "X-Repo-Commit", "Location"])
def test_a_cut_within_the_headers_is_a_cut(model: Model, header: str) -> None:
    """Half an address would be asked for the file, half a listing be called no hub's, and nothing be tried again."""
    model.hub.faults.add(CutHead(header, 3), origin="hub")
    source, file = ready(model, "weights/model.safetensors")
    assert content(source, file) == LARGE
    assert model.hub.faults.fired and len(model.waits) == 1


def test_what_announces_an_answer_is_not_it(model: Model) -> None:
    """A hub behind a server with early hints (103) would be said to answer 103."""
    model.hub.faults.add(Interim(103), times=None)
    source, file = ready(model, "weights/model.safetensors")
    assert content(source, file) == LARGE and model.waits == []


@pytest.mark.parametrize("path", PATHS)
def test_many_cuts_that_each_bring_something_are_survived(model: Model, path: str) -> None:
    """A bad line that gives a piece at a time must still deliver: only tries without progress are counted."""
    source, file = ready(model, path)
    model.hurt(path, Cut(file.size // 20), times=15)
    assert content(source, file) == PATHS[path]
    assert len(model.hub.faults.fired) == 15


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("action", [Cut(0), Hangup(), Short(1000, honest=False), Status(500)])
def test_a_transfer_without_progress_is_given_up(
    model: Model, path: str, action: Cut | Hangup | Short | Status
) -> None:
    """A dead hub must end the build with its reason, not hold it for ever."""
    source, file = ready(model, path)
    model.hurt(path, action, times=None)
    error = failure(lambda: content(source, file))
    assert path in str(error) and "5 tries" in str(error) and error.hint
    assert len(model.waits) >= 4 and model.waits[-4:] == sorted(model.waits[-4:]), "the waits did not grow"


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("path", PATHS)
def test_a_silent_peer_is_a_cut(model: Model, path: str, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that goes silent must be dropped and resumed, else a build hangs for a night."""
    monkeypatch.setattr(connections, "READ_SECONDS", 0.3)
    source, file = ready(model, path)
    model.hurt(path, Stall(place(where, file.size), Event()))
    assert content(source, file) == PATHS[path]
    assert model.hub.faults.fired


@pytest.mark.parametrize("by", [1, 1000, 40_000 - 1])
@pytest.mark.parametrize("path", PATHS)
def test_a_body_that_ends_early_is_resumed(model: Model, path: str, by: int) -> None:
    """A peer that closes before the promised length must not leave a short file in the image."""
    source, file = ready(model, path)
    model.hurt(path, Short(by, honest=False))
    assert content(source, file) == PATHS[path]
    assert model.hub.faults.fired


@pytest.mark.parametrize("action", [Short(7), Long(7)])
@pytest.mark.parametrize("path", PATHS)
def test_another_size_than_pinned_fails_at_once_with_both_numbers(
    model: Model, path: str, action: Short | Long
) -> None:
    """A file that was replaced must be named with both sizes, without retrying and without downloading it."""
    source, file = ready(model, path)
    told = file.size + (7 if isinstance(action, Long) else -7)
    model.hurt(path, action, times=None)
    error = failure(lambda: content(source, file))
    assert f"{told:,}" in str(error) and f"{file.size:,}" in str(error) and path in str(error)
    assert model.waits == [], "a wrong size is no passing fault, and was retried"


def test_a_wrong_size_announced_by_the_hub_is_caught_before_the_download(model: Model) -> None:
    source, file = ready(model, "weights/model.safetensors")
    error = failure(lambda: content(source, replace(file, size=file.size + 1)))
    assert f"{file.size:,}" in str(error) and f"{file.size + 1:,}" in str(error)
    assert all(request.origin == "hub" for request in model.hub.requests), "bytes of a wrong file were downloaded"


def test_another_content_announced_by_the_hub_is_caught_before_the_download(model: Model) -> None:
    source, file = ready(model, "weights/model.safetensors")
    error = failure(lambda: content(source, replace(file, sha256="0" * 64)))
    assert file.sha256 in str(error) and "0" * 64 in str(error)
    assert all(request.origin == "hub" for request in model.hub.requests), "bytes of a wrong file were downloaded"


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("path", PATHS)
def test_a_login_page_is_told_as_one(model: Model, path: str, counted: bool) -> None:
    """Behind a hotel's network one is told that the file was replaced on the hub, and takes that with ``--upgrade``."""
    source, file = ready(model, path)
    model.hurt(path, Status(200, {"Content-Type": "text/html"}, b"<!doctype html><title>Log in</title>"), times=None)
    if not counted:
        model.hurt(path, DropHeader("Content-Length"), times=None)
        model.hurt(path, AddHeader("Connection", "close"), times=None)
        model.hurt(path, Short(0, honest=False), times=None)
    error = failure(lambda: content(source, file))
    assert path in str(error) and "web page, perhaps a login page" in str(error) and "upgrade" not in error.hint


@pytest.mark.parametrize("path", PATHS)
def test_bytes_beyond_the_promised_length_never_reach_the_image(model: Model, path: str) -> None:
    source, file = ready(model, path)
    model.hurt(path, Long(100, honest=False))
    assert content(source, file) == PATHS[path]
    assert content(source, file) == PATHS[path], "the leftover bytes spoiled the next answer on the connection"


@pytest.mark.parametrize("by", [1, 500_000])
@pytest.mark.parametrize("path", PATHS)
def test_a_longer_body_without_a_length_fails(model: Model, path: str, by: int) -> None:
    """Without Content-Length only counting tells that a body is too long."""
    source, file = ready(model, path)
    model.hurt(path, Long(by, honest=False), times=None)
    model.hurt(path, DropHeader("Content-Length"), times=None)
    error = failure(lambda: content(source, file))
    assert f"{file.size:,}" in str(error) and path in str(error)


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("path", PATHS)
def test_wrong_bytes_are_named_with_both_digests(model: Model, path: str, where: str) -> None:
    """One flipped byte must stop the push and say which file it was."""
    source, file = ready(model, path)
    model.hurt(path, Corrupt(place(where, file.size)), times=None)
    error = failure(lambda: list(proven(source, file)))
    assert path in str(error) and (file.sha256 or file.git_oid) in str(error)
    assert model.hub.faults.fired


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("after", ["7", "Wed, 21 Oct 2026 07:28:07 GMT"])
@pytest.mark.parametrize("path", PATHS)
def test_retry_after_is_obeyed(model: Model, path: str, after: str, status: int) -> None:
    """A hub that asks for seven seconds must get them, or it will block us."""
    source, file = ready(model, path)
    headers = {"Retry-After": after, "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}
    model.hurt(path, Status(status, headers), times=2)
    assert content(source, file) == PATHS[path]
    assert model.waits == [7.0, 7.0]


@pytest.mark.parametrize("after", ["0", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_a_server_that_asks_for_no_wait_is_given_time_all_the_same(model: Model, after: str) -> None:
    """A hub that restarts would see all tries within a moment, and the build ends though it is back a second later."""
    source, file = ready(model, "config.json")
    model.hurt("config.json", Status(503, {"Retry-After": after}), times=3)
    assert content(source, file) == SMALL
    assert len(model.waits) == 3 and model.waits == sorted(model.waits) and model.waits[0] >= 0.25


def test_a_retry_after_of_hours_is_told_and_not_waited_for(model: Model) -> None:
    source, file = ready(model, "config.json")
    model.hurt("config.json", Status(429, {"Retry-After": "7200"}))
    assert "7,200 s" in str(failure(lambda: content(source, file)))
    assert model.waits == []


def test_the_hubs_own_rate_limit_header_is_obeyed(model: Model) -> None:
    source, file = ready(model, "config.json")
    model.hurt("config.json", Status(429, {"RateLimit": '"resolvers";r=0;t=42'}))
    assert content(source, file) == SMALL
    assert model.waits == [42.0]


@pytest.mark.parametrize("where", WHERE)
def test_an_expired_link_is_asked_for_again(model: Model, where: str) -> None:
    """A signed link runs out in the middle of a long download: the hub must be asked for a new one, from the same byte."""
    source, file = ready(model, "weights/model.safetensors")
    model.hub.faults.add(Cut(place(where, file.size)), origin="cdn")
    model.hub.links.uses = 1
    assert content(source, file) == LARGE
    resolved = [request for request in model.hub.requests if "/resolve/" in request.path]
    assert len(resolved) == 2, "the hub was not asked for a second link"
    assert model.waits[1:] == [0.0], "a new link is not worth waiting for"


def test_a_link_is_asked_for_once_as_long_as_it_works(model: Model) -> None:
    """A hub counts requests: resuming must not cost another one."""
    source, file = ready(model, "weights/model.safetensors")
    model.hub.faults.add(Cut(file.size // 3), times=2, origin="cdn")
    assert content(source, file) == LARGE
    assert len([request for request in model.hub.requests if "/resolve/" in request.path]) == 1


def test_links_that_never_work_end_with_the_storage_named(model: Model) -> None:
    source, file = ready(model, "weights/model.safetensors")
    model.hub.faults.add(Status(403), origin="cdn", times=None)
    error = failure(lambda: content(source, file))
    assert "403" in str(error) and "5 tries" in str(error)
    assert "?" not in str(error) and "Signature" not in str(error), "a signed link is a secret"


@pytest.mark.parametrize("path", PATHS)
def test_a_server_that_ignores_ranges_is_read_from_the_start(model: Model, path: str) -> None:
    """Where a server sends the whole file again, what was seen is skipped and not sent twice."""
    source, file = ready(model, path)
    model.hurt(path, Cut(file.size // 2))
    model.hurt(
        path, Status(200, {"Content-Length": str(file.size)}, PATHS[path]), when=lambda asked: "range" in asked.headers
    )
    assert content(source, file) == PATHS[path]


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Range": "bytes 0-9/40000"},
        {"Content-Range": "bytes 20001-39999/40000"},
        {"Content-Range": "nonsense"},
        {},
    ],
)
def test_a_part_that_was_not_asked_for_is_refused(model: Model, headers: dict[str, str]) -> None:
    """A proxy that answers with another part would otherwise put bytes in the wrong place."""
    source, file = ready(model, "config.json")
    model.hurt("config.json", Cut(20_000))
    model.hurt("config.json", Status(206, headers, bytes(10)), when=lambda asked: "range" in asked.headers)
    assert "another part" in str(failure(lambda: content(source, file)))


def test_a_part_of_a_file_of_another_size_is_refused(model: Model) -> None:
    source, file = ready(model, "config.json")
    model.hurt("config.json", Cut(20_000))
    part = Status(206, {"Content-Range": "bytes 20000-50000/50001"}, bytes(30_001))
    model.hurt("config.json", part, when=lambda asked: "range" in asked.headers)
    error = failure(lambda: content(source, file))
    assert "50,001" in str(error) and "40,000" in str(error)


def test_a_compressed_answer_is_refused(model: Model) -> None:
    source, file = ready(model, "config.json")
    model.hurt("config.json", AddHeader("Content-Encoding", "gzip"))
    assert "gzip" in str(failure(lambda: content(source, file)))


def test_text_that_the_hub_would_compress_comes_as_it_is(model: Model) -> None:
    model.hub.gzip_text = model.hub.resolve_cache = True
    source, file = ready(model, "config.json")
    assert b"".join(proven(source, file)) == SMALL


def test_a_renamed_repository_is_followed(model: Model) -> None:
    """A lock made before a rename must still build."""
    source, file = ready(model, "config.json")
    inventory = source.inventory()
    model.hub.rename(NAME, "org/renamed")
    assert content(model.source(pinned=inventory), file) == SMALL
    assert content(model.source(pinned=inventory), named(inventory, "weights/model.safetensors")) == LARGE


@pytest.mark.parametrize("start", [0, 1, 12_345, 39_999, 40_000])
@pytest.mark.parametrize("path", PATHS)
def test_reading_can_begin_anywhere(model: Model, path: str, start: int) -> None:
    source, file = ready(model, path)
    assert content(source, file, start) == PATHS[path][start:]


def test_an_empty_file_is_a_file(model: Model) -> None:
    model.hub.add(NAME, {"empty": b""})
    source, file = ready(model, "empty")
    assert list(proven(source, file)) == []


@pytest.mark.parametrize(
    "path", ["a b.json", "ünï/çødé.json", "100%.json", "a#b?c=d.json", "$(x) 'y'.json", "a+b&c.json"]
)
def test_names_are_quoted(model: Model, path: str) -> None:
    model.hub.add(NAME, {path: SMALL})
    source, file = ready(model, path)
    assert content(source, file) == SMALL


def test_redirects_in_circles_end(model: Model) -> None:
    source, file = ready(model, "config.json")
    model.hurt("config.json", Redirect(f"/{NAME}/resolve/{model.commit}/config.json"), times=None)
    assert "redirects" in str(failure(lambda: content(source, file)))


def test_a_redirect_to_a_private_address_is_refused(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub on the internet must not make a build machine ask its cloud's metadata service."""
    source, file = ready(model, "config.json")

    def public(place: Place, location: str, home: str) -> Place:
        return next_hop(place, location, "https://huggingface.co")

    monkeypatch.setattr("buildkit.sources.transfer.next_hop", public)
    model.hurt("config.json", Redirect("http://169.254.169.254/latest/meta-data"))
    assert "169.254.169.254" in str(failure(lambda: content(source, file)))


def test_a_stopped_hub_is_an_explained_failure(model: Model) -> None:
    with Hub() as hub:
        hub.add(NAME, {"config.json": SMALL})
        gone = Model(hub, "", model.waits)
        source, file = ready(gone, "config.json")
    error = failure(lambda: content(source, file))
    assert "cannot be connected to" in str(error) or "cut off" in str(error)


def test_a_reader_that_stops_early_closes_its_connection(model: Model) -> None:
    """An aborted upload must not leave a download running behind it."""
    model.hub.throttle(200_000)
    source, file = ready(model, "weights/model.safetensors")
    pieces = source.open(file)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    model.hub.throttle(None)
    assert content(source, file) == LARGE, "the connection that was given up came back into use"


def test_random_faults_end_in_the_file_or_in_one_error(model: Model) -> None:
    """Whatever happens on the line, nothing but the file or a SourceFailed comes out."""
    source, file = ready(model, "weights/model.safetensors")
    chance = random.Random(5)
    outcomes: set[bool | None] = set()
    for _ in range(60):
        model.hub.faults.clear()
        for _ in range(chance.randint(1, 7)):
            at = chance.randrange(file.size)
            actions: list[Action] = [Cut(at), Short(at + 1, honest=False), Status(503), Hangup()]
            action = chance.choice([*actions, Status(403), Corrupt(at), Long(at + 1)])
            model.hub.faults.add(
                action, origin=chance.choice(["cdn", "cdn", "hub"]), path="^(?!/api)", times=chance.randint(1, 6)
            )
        try:
            outcomes.add(b"".join(proven(source, file)) == LARGE)
        except SourceFailed as error:
            assert file.path in str(error) or NAME in str(error)
            outcomes.add(None)
    assert outcomes == {True, None}, "a wrong file passed, or the faults never let one through or never stopped one"
