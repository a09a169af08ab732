"""Requests and responses as a fake server's own code sees them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from urllib.parse import parse_qs, urlsplit

from tests.fakes.content import Bytes, Content, Part
from tests.fakes.http_body import RequestBody

Headers = tuple[tuple[str, str], ...]
NO_BODY = Bytes(b"")


@dataclass(frozen=True)
class Incoming:
    """A request being served. `headers` have names in lower case; `path` is the raw path without the
    query."""

    method: str
    origin: str
    target: str
    headers: Mapping[str, str]
    body: RequestBody

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @cached_property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query, keep_blank_values=True)

    def first(self, name: str) -> str | None:
        """The first value of a query parameter."""
        return self.query.get(name, [None])[0]


@dataclass(frozen=True)
class Response:
    """An answer. Content-Length is added by the server, from the body."""

    status: int
    headers: Headers = ()
    body: Content = NO_BODY

    def header(self, name: str) -> str | None:
        """The value of a header, by its name in any case."""
        return next((value for known, value in self.headers if known.lower() == name.lower()), None)

    def with_header(self, name: str, value: str) -> Response:
        """The same answer with this header in place of any of that name."""
        return replace(self, headers=(*self.without_header(name).headers, (name, value)))

    def without_header(self, name: str) -> Response:
        """The same answer without any header of that name."""
        kept = tuple(pair for pair in self.headers if pair[0].lower() != name.lower())
        return replace(self, headers=kept)


class RefusedError(Exception):
    """Raised where a request turns out to get this answer and no more."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


def json_response(status: int, document: object, headers: Headers = ()) -> Response:
    """An answer whose body is a JSON document."""
    body = Bytes(json.dumps(document).encode())
    kind = () if any(name.lower() == "content-type" for name, _ in headers) else JSON_TYPE
    return Response(status, kind + headers, body)


JSON_TYPE: Headers = (("Content-Type", "application/json; charset=utf-8"),)


def ranged_response(request: Incoming, content: Content, headers: Headers) -> Response:
    """The content, or the one range of it that a GET asks for (RFC 9110 section 14).

    Several ranges in one request, another unit than bytes, or an If-Range that is not the ETag get
    everything.
    """
    headers = (("Accept-Ranges", "bytes"), *headers)
    whole = Response(200, headers, content)
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
    if asked is None or request.method != "GET" or asked.group() == "bytes=-":
        return whole
    if request.headers.get("if-range", etag := whole.header("ETag")) != etag:
        return whole
    start, stop = _bounds(asked[1], asked[2], content.size)
    if start >= stop:
        return Response(416, (("Content-Range", f"bytes */{content.size}"),))
    where = (("Content-Range", f"bytes {start}-{stop - 1}/{content.size}"),)
    return Response(206, headers + where, Part(content, start, stop))


def _bounds(first: str, last: str, size: int) -> tuple[int, int]:
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1) if last else size
