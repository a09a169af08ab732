"""One request and its answer on the wire, with whatever faults are meant for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from io import BufferedReader
from typing import Any, Protocol, TypeVar, cast

from tests.fakes.content import Bytes, Content, Part, Sink
from tests.fakes.faults import (
    AddHeader,
    CutHead,
    DropHeader,
    Faults,
    Hangup,
    Interim,
    Long,
    Redirect,
    Short,
    Side,
    Status,
)
from tests.fakes.http_body import (
    BrokenOffError,
    Outlet,
    Pace,
    RequestBody,
    SeveredError,
    Throttle,
    Waypoints,
    send_content,
)
from tests.fakes.http_log import Log
from tests.fakes.http_message import Incoming, Response
from tests.fakes.http_reset import end_politely

DRAIN_AT_MOST = 256 * 1024
"""Unread request bytes that are taken and forgotten to keep a connection open, as Go's server does."""

BODILESS = (204, 304)
Wanted = TypeVar("Wanted")


class Serving(Protocol):
    """The part of a server that an exchange needs."""

    origin: str
    log: Log
    faults: Faults
    throttle: Throttle
    stopping: threading.Event
    errors: list[BaseException]
    application: Callable[[Incoming], Response]


class Exchange:
    """Reads one request whose head was parsed by `connection`, and answers it."""

    def __init__(self, connection: BaseHTTPRequestHandler, server: Serving) -> None:
        self._connection, self._server = connection, server
        headers = _joined(connection.headers.items())
        self._entry = server.log.open(connection.command, server.origin, connection.path, headers)
        self._armed = server.faults.matching(self._entry)
        self._pace = Pace(server.throttle, server.stopping)
        reader = cast(BufferedReader, connection.rfile)
        waypoints = self._waypoints("request")
        body = RequestBody(reader, _body_length(headers), waypoints, self._entry, self._pace)
        if headers.get("expect", "").lower() == "100-continue":
            body.on_first_read = self._continue
        self._request = Incoming(connection.command, server.origin, connection.path, headers, body)

    def run(self) -> bool:
        """Serve the request; True if the connection can carry another one. Raises BrokenOffError."""
        self._request.body.start()
        if self._server.throttle.latency_seconds:
            self._server.stopping.wait(self._server.throttle.latency_seconds)
        response = self._faulty_answer() or self._answer()
        if self._claim(Hangup):
            raise SeveredError
        keep = self._settle_request()
        return self._send(response, keep)

    def _waypoints(self, side: Side) -> Waypoints:
        server = self._server
        return Waypoints(server.faults, self._armed, self._entry, side, server.stopping)

    def _claims(self, kind: type[Wanted], fits: Callable[[Wanted], bool]) -> Iterator[Wanted]:
        for armed in self._armed:
            action: Any = armed.fault.action
            if isinstance(action, kind) and fits(action) and self._server.faults.claim(armed, self._entry):
                yield action

    def _claim(self, kind: type[Wanted], fits: Callable[[Wanted], bool] = lambda _: True) -> Wanted | None:
        """The first action of this kind that is to happen to this request now."""
        return next(self._claims(kind, fits), None)

    def _continue(self) -> None:
        self._connection.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _faulty_answer(self) -> Response | None:
        body = self._request.body
        if status := self._claim(Status, lambda s: (s.after_request_bytes or 0) <= (body.length or 1 << 62)):
            body.drain(status.after_request_bytes)
            return Response(status.code, tuple(status.headers.items()), Bytes(status.body))
        if redirect := self._claim(Redirect):
            return Response(redirect.code, (("Location", redirect.to),))
        return None

    def _answer(self) -> Response:
        try:
            return self._server.application(self._request)
        except BrokenOffError:
            raise
        except Exception as error:
            self._server.errors.append(error)
            return Response(500, (), Bytes(f"the fake failed: {error!r}".encode()))

    def _settle_request(self) -> bool:
        """Take what is left of the request's body, if that is little; False if the rest stays unread."""
        body = self._request.body
        if body.unread is None or body.unread > DRAIN_AT_MOST:
            return False
        if body.unread:
            body.drain()
        return True

    def _send(self, response: Response, keep: bool) -> bool:
        promised, body, whole = self._body(response)
        keep = keep and whole and self._request.headers.get("connection", "").lower() != "close"
        if response.status not in BODILESS and response.header("Transfer-Encoding") is None:
            response = response.with_header("Content-Length", str(promised))
        if not keep:
            response = response.with_header("Connection", "close")
        response = self._with_faulty_headers(response)
        self._entry.status = response.status
        for early in self._claims(Interim, lambda _: True):
            self._connection.wfile.write(_head(Response(early.code)) * early.amount)
        if cut := self._claim(CutHead, lambda fault: response.header(fault.name) is not None):
            self._connection.wfile.write(_cut_off(_head(response), cut))
            end_politely(self._connection.connection)
            return False
        self._connection.wfile.write(_head(response))
        outlet = Outlet(self._connection.connection, self._entry, self._pace)
        send_content(body, outlet, self._waypoints("response"))
        if not keep:
            end_politely(self._connection.connection)
        return keep

    def _body(self, response: Response) -> tuple[int, Content, bool]:
        """The length to promise, what to send, and whether that leaves the connection usable."""
        body, whole = response.body, True
        promised = body.size
        if self._request.method == "HEAD" or response.status in BODILESS:
            return promised, Bytes(b""), True
        if short := self._claim(Short, lambda fault: fault.by <= promised):
            body = Part(body, 0, promised - short.by)
            promised, whole = (body.size, True) if short.honest else (promised, False)
        if long := self._claim(Long):
            body = _Padded(body, long.by)
            promised, whole = (body.size, whole) if long.honest else (promised, False)
        return promised, body, whole

    def _with_faulty_headers(self, response: Response) -> Response:
        present = response.header
        for drop in self._claims(DropHeader, lambda fault: present(fault.name) is not None):
            response = response.without_header(drop.name)
        for add in self._claims(AddHeader, lambda _: True):
            response = response.with_header(add.name, add.value)
        return response


def _joined(fields: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Header fields by lower-case name, those of one name as one list (RFC 9110 section 5.3)."""
    headers: dict[str, str] = {}
    for name, value in fields:
        known = headers.get(name.lower())
        headers[name.lower()] = value if known is None else f"{known}, {value}"
    return headers


def _body_length(headers: Mapping[str, str]) -> int | None:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return None
    return int(headers.get("content-length", "0"))


def _head(response: Response) -> bytes:
    reason = BaseHTTPRequestHandler.responses.get(response.status, ("", ""))[0]
    lines = [
        f"HTTP/1.1 {response.status} {reason}",
        *(f"{name}: {value}" for name, value in response.headers),
    ]
    return "\r\n".join([*lines, "\r\n"]).encode("latin-1")


def _cut_off(head: bytes, cut: CutHead) -> bytes:
    named = f"\r\n{cut.name.lower()}: ".encode()
    return head[: head.lower().index(named) + len(named) + cut.keep]


@dataclass(frozen=True)
class _Padded:
    """Content with zero bytes after it."""

    real: Content
    by: int

    @property
    def size(self) -> int:
        return self.real.size + self.by

    @property
    def sha256(self) -> str:
        raise NotImplementedError("padded content is only ever sent")

    def read(self, start: int, stop: int) -> bytes:
        data = self.real.read(start, min(stop, self.real.size)) if start < self.real.size else b""
        return data + bytes(stop - start - len(data))

    def send(self, sink: Sink, start: int, stop: int) -> None:
        real = self.real.size
        if start < real:
            self.real.send(sink, start, min(stop, real))
        if stop > real:
            sink.write(bytes(stop - max(start, real)))
