"""The fake hub's second origin: large files behind signed links that stop working."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.fakes.content import Bytes, Content
from tests.fakes.http_message import Headers, Incoming, Response, ranged_response


@dataclass
class _Grant:
    content: Content
    until: float
    uses: int | None


class Links:
    """Signs links to content and honours them until they expire.

    `seconds` and `uses` (GETs; None: any number) bound the links signed from then on. A request that carries
    an Authorization header beside the signature is answered 400, as an S3 storage does.
    """

    def __init__(self, url: Callable[[], str]) -> None:
        self.seconds = 3600.0
        self.uses: int | None = None
        self.refuse_authorization = True
        self._url = url
        self._grants: dict[str, _Grant] = {}
        self._lock = threading.Lock()

    def sign(self, content: Content) -> str:
        """A new link to the content."""
        with self._lock:
            number = len(self._grants)
            signature = hashlib.sha256(f"{content.sha256} {number}".encode()).hexdigest()[:40]
            self._grants[signature] = _Grant(content, time.monotonic() + self.seconds, self.uses)
        expires = int(time.time() + self.seconds)
        return f"{self._url()}/repos/{content.sha256}?Expires={expires}&Signature={signature}&Key-Pair-Id=FAKE"

    def expire(self) -> None:
        """Let every link signed so far expire now."""
        with self._lock:
            self._grants.clear()

    def answer(self, request: Incoming) -> Response:
        """Serve a link."""
        if self.refuse_authorization and "authorization" in request.headers:
            return _xml(400, "InvalidArgument", "Only one auth mechanism allowed")
        if request.method not in ("GET", "HEAD"):
            return _xml(405, "MethodNotAllowed", "The specified method is not allowed")
        content = self._redeem(request)
        if content is None:
            return _xml(403, "AccessDenied", "Access denied")
        # Deliberately not the sha256: a storage's ETag is that of its own multi-part upload.
        etag = f'"{hashlib.md5(content.sha256.encode()).hexdigest()}-{1 + content.size // (8 << 20)}"'
        headers: Headers = (("Content-Type", "application/octet-stream"), ("ETag", etag))
        return ranged_response(request, content, headers)

    def _redeem(self, request: Incoming) -> Content | None:
        with self._lock:
            grant = self._grants.get(request.first("Signature") or "")
            if grant is None or time.monotonic() > grant.until or grant.uses == 0:
                return None
            if grant.content.sha256 != request.path.removeprefix("/repos/"):
                return None
            if grant.uses is not None and request.method == "GET":
                grant.uses -= 1
            return grant.content


def _xml(status: int, code: str, message: str) -> Response:
    error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    body = '<?xml version="1.0" encoding="UTF-8"?>' + error
    return Response(status, (("Content-Type", "application/xml"),), Bytes(body.encode()))
