"""The hub's own library, held to this project's rules: timeouts, bounded retries, proxies, and where a token may go.

By default the library waits for a silent hub for ever, sleeps as long as a ``Retry-After`` says, and sends the token to
whatever host a listing's next page is on. It lets its HTTP client be replaced; requests of other users of the library in
the same process pass through unchanged but for timeouts and proxies.
"""

from __future__ import annotations

import contextvars
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx2
import huggingface_hub

from buildkit.errors import SourceFailed
from buildkit.machine.connections import CONNECT_SECONDS, READ_SECONDS, is_internal, proxy_for, trusted
from buildkit.sources.addresses import Origin, origin, shown
from buildkit.sources.answers import retry_after
from buildkit.sources.patience import LONGEST_WAIT, RETRIED, Cut, Patience, Wait
from buildkit.sources.transfer import TLS_HINT

_MOST_REQUESTS = 5_000
"""Of one listing: a thousand files come with each, so only a hub that sends us in circles needs more."""
_LARGEST_ANSWER = 64 * 1024 * 1024
_NOT_WANTED = "/api/agent-harnesses"


@dataclass
class _Asking:
    endpoint: str
    wait: Wait
    whole: bool
    requests: int = field(default=0)


_asking: contextvars.ContextVar[_Asking | None] = contextvars.ContextVar("asking", default=None)
_installed = threading.Lock()
_done: list[bool] = []


@contextmanager
def asking(endpoint: str, wait: Wait, *, whole: bool = True) -> Iterator[None]:
    """Requests that the library makes inside are for ``endpoint`` alone.

    ``whole``: answers are small, read at once and retried here; else the library itself reads and resumes them.
    """
    _install()
    token = _asking.set(_Asking(endpoint, wait, whole))
    try:
        yield
    finally:
        _asking.reset(token)


def _install() -> None:
    with _installed:
        if not _done:
            huggingface_hub.set_client_factory(_client)
            if not os.environ.get("HF_HUB_VERBOSITY"):
                # It logs every retry to stderr; here the error at the end says it once.
                huggingface_hub.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
            _done.append(True)


def _client() -> httpx2.Client:
    return httpx2.Client(transport=_Transport(), follow_redirects=True, timeout=_timeout())


def _timeout() -> httpx2.Timeout:
    return httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)


class _Transport(httpx2.BaseTransport):
    """Chooses connections by origin, and applies the rules of the :func:`asking` that the request is made in."""

    def __init__(self) -> None:
        self._routes: dict[Origin, httpx2.HTTPTransport] = {}
        self._lock = threading.Lock()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        url = str(request.url)
        rules = _asking.get()
        if rules is None:
            return self._route(url).handle_request(request)
        _check(request, url, rules)
        if not rules.whole:
            return self._resumable(request, url, rules)
        # The library asks for no timeout at all where its caller names none.
        request.extensions = {**request.extensions, "timeout": _timeout().as_dict()}
        return self._patiently(request, url, rules)

    def _patiently(self, request: httpx2.Request, url: str, rules: _Asking) -> httpx2.Response:
        patience = Patience(f"the hub {shown(rules.endpoint)}", rules.wait, _UNREACHABLE)
        while True:
            try:
                response = _read(self._route(url).handle_request(request))
            except httpx2.TransportError as error:
                if _is_distrust(error):
                    raise _distrusted(url) from None
                patience.again(Cut(_reason(error)))
                continue
            if response.status_code not in RETRIED:
                return response
            patience.again(Cut(f"it answers {response.status_code}", retry_after(response.headers)))

    def _resumable(self, request: httpx2.Request, url: str, rules: _Asking) -> httpx2.Response:
        try:
            response = self._route(url).handle_request(request)
        except httpx2.TransportError as error:
            if _is_distrust(error):
                raise _distrusted(url) from None
            raise
        asked = retry_after(response.headers) or 0.0
        if response.status_code in RETRIED and asked > LONGEST_WAIT:
            response.close()
            raise SourceFailed(
                f"the hub {shown(rules.endpoint)} asks to wait {asked:,.0f} s", hint="run this again later"
            )
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


_UNREACHABLE = "check the network, a proxy (HTTPS_PROXY), and 'hub: {endpoint: ...}' in modelpack.yaml"


def _check(request: httpx2.Request, url: str, rules: _Asking) -> None:
    home, there = origin(rules.endpoint), origin(url)
    if request.url.path == _NOT_WANTED:
        raise httpx2.ConnectError("not asked: the library works without it")
    rules.requests += 1
    if rules.whole and rules.requests > _MOST_REQUESTS:
        raise SourceFailed(f"the hub {shown(rules.endpoint)} lists files without end")
    if there == home:
        return
    if "authorization" in request.headers:
        raise SourceFailed(f"the hub {shown(rules.endpoint)} sends us to {shown(url)}, which must not get the token")
    if there[0] == "http" and home[0] == "https":
        raise SourceFailed(f"the hub {shown(rules.endpoint)} redirects to {shown(url)}, which is not encrypted")
    if is_internal(there[1]) and not is_internal(home[1]):
        raise SourceFailed(
            f"the hub {shown(rules.endpoint)} redirects to the private address {there[1]}, which is refused"
        )


def _read(response: httpx2.Response) -> httpx2.Response:
    """The response with its body read, so that a cut in it is met here."""
    length = response.headers.get("Content-Length", "0")
    try:
        if length.isdigit() and int(length) > _LARGEST_ANSWER:
            raise SourceFailed("the hub answers with more than a listing can be", hint=_UNREACHABLE)
        response.read()
    finally:
        response.close()
    return response


def _reason(error: httpx2.TransportError) -> str:
    match error:
        case httpx2.ConnectTimeout():
            return f"it did not take the connection within {CONNECT_SECONDS:.0f} s"
        case httpx2.TimeoutException():
            return f"it was silent for {READ_SECONDS:.0f} s"
        case httpx2.ProxyError():
            return "the proxy on the way to it cannot be used"
        case httpx2.ConnectError():
            return "it cannot be connected to"
    return "the connection was cut off"


def _is_distrust(error: BaseException | None) -> bool:
    """Whether a certificate was refused. The library keeps of the cause only the text that OpenSSL gave it."""
    while error is not None:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _distrusted(url: str) -> SourceFailed:
    return SourceFailed(f"the certificate of {origin(url)[1]} cannot be verified", hint=TLS_HINT)
