"""One HTTP request as a platform sends it: no redirect followed, no retry, a limit on time and on what is read."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from buildkit.machine.heads import WholeResponse

_MOST_BYTES = 1024 * 1024
"""Bytes that are read of an answer: an endless stream of events must end, too."""

JSON = "application/json"
EVENTS = "text/event-stream"


@dataclass(frozen=True)
class Ask:
    """A request. ``within`` is the platform's own limit, in seconds."""

    method: str
    path: str
    within: float
    body: bytes = b""
    content_type: str = ""
    accept: str = ""

    def __str__(self) -> str:
        accepting = f" (Accept: {self.accept})" if self.accept else ""
        return f"{self.method} {self.path}{accepting}"

    def accepting(self, media_type: str) -> Ask:
        """The same request for another form of answer."""
        return replace(self, accept=media_type)


@dataclass(frozen=True)
class Answer:
    """What came back. ``status`` 0: no answer at all, and ``failure`` says why."""

    status: int
    content_type: str = ""
    location: str = ""
    body: bytes = field(default=b"", repr=False)
    seconds: float = 0.0
    failure: str = ""

    def __str__(self) -> str:
        if not self.status:
            return self.failure
        told = [str(self.status), self.content_type or "without a content type"]
        if self.location:
            told.append(f"to {self.location}")
        return f"{' '.join(told)} in {self.seconds * 1000:.0f} ms"

    @property
    def good(self) -> bool:
        """2xx."""
        return 200 <= self.status < 300

    @property
    def redirects(self) -> bool:
        """3xx: platforms do not follow."""
        return 300 <= self.status < 400

    @property
    def media_type(self) -> str:
        """The content type without its parameters."""
        return self.content_type.partition(";")[0].strip().lower()


def ask(port: int, question: Ask, sent: Callable[[], None] = lambda: None) -> Answer:
    """Asks this machine's ``port``; ``sent`` is called when the request is out and the answer is awaited."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=question.within)
    connection.response_class = WholeResponse
    began = time.monotonic()
    try:
        connection.request(question.method, question.path, body=question.body or None, headers=_headers(question))
        sent()
        response = connection.getresponse()
        body = _read(response, began + question.within)
        return Answer(
            response.status,
            response.getheader("Content-Type", ""),
            response.getheader("Location", ""),
            body,
            time.monotonic() - began,
        )
    except TimeoutError:
        return Answer(0, seconds=time.monotonic() - began, failure=f"no answer within {question.within:g} s")
    except (OSError, http.client.HTTPException) as error:
        return Answer(0, seconds=time.monotonic() - began, failure=_said(error))
    finally:
        sent()
        connection.close()


def _headers(question: Ask) -> dict[str, str]:
    headers = {"Accept": question.accept or "*/*", "User-Agent": "modelpack-verify", "Connection": "close"}
    if question.content_type:
        headers["Content-Type"] = question.content_type
    return headers


def _read(response: http.client.HTTPResponse, until: float) -> bytes:
    """The body; of a stream of events the first one, for it may never end."""
    streams = response.getheader("Content-Type", "").lower().startswith(EVENTS)
    body = bytearray()
    while len(body) < _MOST_BYTES:
        piece = response.read1(65536)
        if not piece:
            break
        body += piece
        if streams and (b"\n\n" in body or b"\r\n\r\n" in body or b"\r\r" in body):
            break
        if time.monotonic() > until:
            raise TimeoutError
    return bytes(body)


def _said(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, ConnectionResetError | http.client.RemoteDisconnected | BrokenPipeError):
        return "connection closed without an answer"
    return str(error) or type(error).__name__
