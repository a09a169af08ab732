"""The end of an upload, which is the registry's work: if these fail, a layer of many GB is sent again for nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from threading import Event, Thread
from typing import Literal

import pytest
from urllib3.exceptions import ReadTimeoutError

from buildkit.errors import RegistryFailed
from buildkit.events import silent
from buildkit.machine import connections
from buildkit.machine.parallel import Stop
from buildkit.oci.copy import place
from buildkit.oci.image import Image
from buildkit.oci.reference import Reference
from buildkit.registries import upload
from buildkit.registries.client import Repository
from buildkit.registries.connection import Connection
from buildkit.registries.profile import Profile
from tests.fakes.faults import Action, Cut, Stall, Status
from tests.fakes.registry import Registry
from tests.registries.test_push import SIZE, check_no_open_session, content, image
from tests.waiting import wait_until

Way = Literal["patch", "put"]


def placed(
    registry: Registry, way: Way = "patch", sleep: Callable[[float], None] = lambda seconds: None
) -> list[Image]:
    """One layer, brought to a registry in one of the two ways."""
    connection = Connection(
        registry.address, plain_http=lambda host: True, sleep=sleep, profile=Profile("a registry", upload=way)
    )
    store = Repository(connection, Reference(registry.address, "models/granite"))
    return place([image(1, known=way == "put")], store, silent, Stop())


def check_sent_once(registry: Registry) -> None:
    """The layer is there, and its bytes went over the line one time."""
    assert [registry.blob(digest) for digest in registry.blobs] == [content(0)]
    assert sum(request.request_bytes for request in registry.requests) < 2 * SIZE, "the layer was sent again"


def outwait(registry: Registry, done: Event) -> None:
    """Sets ``done`` when a question that was asked after the fault, and is never answered, has been given up."""
    registry.faults.add(Stall(0, Event(), "request"), path="/never")
    registry.faults.wait()
    with pytest.raises(ReadTimeoutError):
        connections.pool(registry.url).request("GET", f"{registry.url}/never")
    done.set()


@pytest.mark.parametrize(("way", "method", "at"), [("patch", "PUT", 0), ("patch", "PATCH", SIZE), ("put", "PUT", SIZE)])
def test_a_registry_may_take_longer_for_a_layer_than_for_an_answer(
    way: Way, method: str, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A registry that hashes and copies a layer of 40 GB before it answers must not be taken for gone."""
    monkeypatch.setattr(connections, "READ_SECONDS", 0.5)
    with Registry() as registry:
        done = Event()
        registry.faults.add(Stall(at, done, "request"), method=method, path="uploads")
        Thread(target=outwait, args=(registry, done), daemon=True).start()
        placed(registry, way)
        assert done.is_set(), "the registry was slow to no one"
        check_sent_once(registry)


@pytest.mark.parametrize(("way", "at"), [("patch", 0), ("put", SIZE)])
def test_an_upload_that_is_being_finished_is_not_deleted(way: Way, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where our patience ended, or a proxy's did, a moment too soon, the registry's work must not be thrown away."""
    monkeypatch.setattr(upload, "CLOSING_SECONDS", 0.5)
    with Registry() as registry:
        done = Event()
        registry.faults.add(Stall(at, done, "request"), method="PUT", path="uploads")

        def sleep(seconds: float) -> None:
            done.set()
            wait_until(lambda: bool(registry.blobs), "the registry's end of the upload")

        placed(registry, way, sleep)
        assert "DELETE" not in [request.method for request in registry.requests]
        check_sent_once(registry)
        check_no_open_session(registry)


@pytest.mark.parametrize("fault", [Status(429, {"Retry-After": "7"}), Status(500), Status(504), Cut(0, "request")])
def test_a_busy_registry_is_asked_again_to_finish_what_it_has(fault: Action) -> None:
    """The registry has every byte already: that it is busy for a moment must not cost another hour."""
    with Registry() as registry:
        registry.faults.add(fault, method="PUT", path="uploads", times=3)
        waits: list[float] = []
        placed(registry, sleep=waits.append)
        check_sent_once(registry)
        assert len(registry.sessions) == 1
        assert waits == [7.0] * 3 if isinstance(fault, Status) and fault.headers else len(waits) == 3


def test_a_registry_that_stays_busy_ends_the_push() -> None:
    """A registry that cannot finish a layer must not be sent it for ever, and no session may be left behind."""
    with Registry() as registry:
        registry.faults.add(Status(503), method="PUT", path="uploads", times=None)
        with pytest.raises(RegistryFailed, match="answered 503"):
            placed(registry)
        assert sum(request.request_bytes for request in registry.requests) < 2 * SIZE
        check_no_open_session(registry)


def refusal(code: str, message: str = "") -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()


@pytest.mark.parametrize("way", ["patch", "put"])
def test_a_refused_layer_is_told_in_the_registrys_words_and_sent_once(way: Way) -> None:
    """A quota that is used up does not grow while a layer is sent five times."""
    with Registry() as registry:
        said = refusal("UNSUPPORTED", "quota of the project is used up")
        registry.faults.add(Status(400, {}, said), method="PUT", path="uploads", times=None)
        with pytest.raises(RegistryFailed, match="quota of the project is used up"):
            placed(registry, way)
        assert sum(request.request_bytes for request in registry.requests) < 2 * SIZE
        check_no_open_session(registry)


@pytest.mark.parametrize(
    "fault",
    [
        Status(404, {}, refusal("BLOB_UPLOAD_UNKNOWN")),
        Status(404),
        *(Status(400, {}, refusal(code)) for code in ("BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID", "DIGEST_INVALID")),
    ],
)
def test_a_session_that_is_lost_is_begun_again(fault: Action) -> None:
    """What a registry has no more, or has with other bytes, must be sent again before it can be finished."""
    with Registry() as registry:
        registry.faults.add(fault, method="PUT", path="uploads", times=2)
        placed(registry)
        assert [registry.blob(digest) for digest in registry.blobs] == [content(0)]
        assert len(registry.sessions) == 3
        check_no_open_session(registry)


@pytest.mark.parametrize("code", [400, 404, 416])
def test_a_session_that_is_lost_before_its_bytes_come_is_begun_again(code: int) -> None:
    """A registry that was started anew, or its second replica, knows nothing of a session that was opened a moment ago."""
    with Registry() as registry:
        fault = Status(code, {}, refusal("BLOB_UPLOAD_INVALID"))
        registry.faults.add(fault, method="PATCH", path="uploads", times=2)
        placed(registry)
        assert [registry.blob(digest) for digest in registry.blobs] == [content(0)]
        check_no_open_session(registry)


def test_a_registry_that_asks_for_no_wait_is_given_time() -> None:
    """Asked five times in a tenth of a second it cannot recover between, and a layer goes again each time."""
    waits: list[float] = []
    with Registry() as registry:
        registry.faults.add(Status(429, {"Retry-After": "0"}), method="POST", times=3)
        placed(registry, sleep=waits.append)
    assert len(waits) == 3 and all(wait > 0.2 * 2**attempt for attempt, wait in enumerate(waits)), waits
