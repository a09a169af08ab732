"""The hub's own library, held to this project's rules: timeouts, bounded waits, proxies, and where a token may go.

By default the library waits for a silent hub for ever, and sleeps as long as a ``Retry-After`` says. It lets its HTTP client
be replaced; requests of other users of the library in the same process pass through unchanged but for timeouts and proxies.
"""

from __future__ import annotations

import contextvars
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import huggingface_hub

from buildkit.errors import SourceFailed
from buildkit.machine.answers import retry_after
from buildkit.machine.connections import CONNECT_SECONDS, READ_SECONDS, is_internal, proxy_for, trusted
from buildkit.sources.addresses import Origin, origin, shown
from buildkit.sources.patience import LONGEST_WAIT, RETRIED
from buildkit.sources.transfer import TLS_HINT

_NOT_WANTED = "/api/agent-harnesses"

_endpoint: contextvars.ContextVar[str | None] = contextvars.ContextVar("endpoint", default=None)
_installed = threading.Lock()
_done: list[bool] = []


@contextmanager
def asking(endpoint: str) -> Iterator[None]:
    """Requests that the library makes inside are for the hub at ``endpoint`` alone; it repeats and resumes them itself."""
    _install()
    token = _endpoint.set(endpoint)
    try:
        yield
    finally:
        _endpoint.reset(token)


def _install() -> None:
    with _installed:
        if not _done:
            huggingface_hub.set_client_factory(_client)
            if not os.environ.get("HF_HUB_VERBOSITY"):
                # It logs every retry to stderr; here the error at the end says it once.
                huggingface_hub.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
            _done.append(True)


def _client() -> httpx2.Client:
    timeout = httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
    return httpx2.Client(transport=_Transport(), follow_redirects=True, timeout=timeout)


class _Transport(httpx2.BaseTransport):
    """Chooses connections by origin, and applies the rules of the :func:`asking` that the request is made in."""

    def __init__(self) -> None:
        self._routes: dict[Origin, httpx2.HTTPTransport] = {}
        self._lock = threading.Lock()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        url = str(request.url)
        endpoint = _endpoint.get()
        if endpoint is None:
            return self._route(url).handle_request(request)
        _check(request, url, endpoint)
        try:
            response = self._route(url).handle_request(request)
        except httpx2.TransportError as error:
            if _is_distrust(error):
                raise _distrusted(url) from None
            raise
        asked = retry_after(response.headers) or 0.0
        if response.status_code in RETRIED and asked > LONGEST_WAIT:
            response.close()
            raise SourceFailed(f"the hub {shown(endpoint)} asks to wait {asked:,.0f} s", hint="run this again later")
        response.stream = _Resumable(response.stream)
        return response

    def _route(self, url: str) -> httpx2.HTTPTransport:
        where = origin(url)
        with self._lock:
            if where not in self._routes:
                # Reading the certificates takes longer than all else here, and plain HTTP has no use for them.
                verify = trusted() if where[0] == "https" else False
                self._routes[where] = httpx2.HTTPTransport(verify=verify, proxy=proxy_for(url))
            return self._routes[where]

    def close(self) -> None:
        for route in self._routes.values():
            route.close()


class _Resumable(httpx2.SyncByteStream):
    """A body whose connection was reset, told as the kind of failure after which the library resumes a download."""

    def __init__(self, stream: object) -> None:
        assert isinstance(stream, httpx2.SyncByteStream)
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except httpx2.NetworkError as error:
            raise httpx2.RemoteProtocolError(str(error)) from None

    def close(self) -> None:
        self._stream.close()


def _check(request: httpx2.Request, url: str, endpoint: str) -> None:
    home, there = origin(endpoint), origin(url)
    if request.url.path == _NOT_WANTED:
        raise httpx2.ConnectError("not asked: the library works without it")
    if there == home:
        return
    if "authorization" in request.headers:
        raise SourceFailed(f"the hub {shown(endpoint)} sends us to {shown(url)}, which must not get the token")
    if there[0] == "http" and home[0] == "https":
        raise SourceFailed(f"the hub {shown(endpoint)} redirects to {shown(url)}, which is not encrypted")
    if is_internal(there[1]) and not is_internal(home[1]):
        raise SourceFailed(f"the hub {shown(endpoint)} redirects to the private address {there[1]}, which is refused")


def _is_distrust(error: BaseException | None) -> bool:
    """Whether a certificate was refused. The library keeps of the cause only the text that OpenSSL gave it."""
    while error is not None:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _distrusted(url: str) -> SourceFailed:
    return SourceFailed(f"the certificate of {origin(url)[1]} cannot be verified", hint=TLS_HINT)
