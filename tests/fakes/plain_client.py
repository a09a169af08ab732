"""A client with no opinions: one request, one answer, nothing followed, nothing retried."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """A response; `broken` is what ended its body early, None if it came whole."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    broken: Exception | None = None

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The first error code of a registry's answer."""
        return str(self.json["errors"][0]["code"])


def ask(
    method: str,
    url: str,
    body: bytes | Iterable[bytes] | None = None,
    headers: Mapping[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
) -> Answer:
    """Send one request on a connection of its own. A body that is not bytes goes chunked."""
    parts = urlsplit(url)
    connection = (
        HTTPSConnection(parts.netloc, context=tls, timeout=20) if tls else HTTPConnection(parts.netloc, timeout=20)
    )
    target = parts.path + ("?" + parts.query if parts.query else "")
    try:
        refusal = _send(connection, method, target, body, dict(headers or {}))
        return _read(_response(connection, refusal))
    finally:
        connection.close()


def _send(
    connection: HTTPConnection, method: str, target: str, body: bytes | Iterable[bytes] | None, headers: dict[str, str]
) -> OSError | None:
    """Send the request; what broke it off, if anything did: the server may have answered all the same."""
    try:
        connection.request(method, target, body=body, headers=headers)
    except (BrokenPipeError, ConnectionResetError) as error:
        return error
    return None


def _response(connection: HTTPConnection, refusal: OSError | None) -> HTTPResponse:
    try:
        return connection.getresponse()
    except OSError as error:
        raise refusal or error from None


def _read(response: HTTPResponse) -> Answer:
    headers = {name.lower(): value for name, value in response.getheaders()}
    received = bytearray()
    broken: Exception | None = None
    try:
        while piece := response.read1(1 << 16):
            received += piece
        if response.length:
            broken = EOFError(f"{response.length} bytes are missing")
    except (OSError, HTTPException) as error:
        broken = error
    return Answer(response.status, headers, bytes(received), broken)
