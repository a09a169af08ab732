"""One GET at a time: through the redirects, with the token only where it belongs, over shared connections."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationValueError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    SSLError,
    TimeoutError,
)

from buildkit.errors import SourceFailed
from buildkit.machine import proxies
from buildkit.machine.answers import REDIRECTS, drain
from buildkit.machine.connections import CONNECT_SECONDS, READ_SECONDS, is_loopback, pool
from buildkit.machine.origins import Origin
from buildkit.sources.addresses import Place, next_hop, origin, shown
from buildkit.sources.patience import Cut
from buildkit.sources.token import Token

_MOST_REDIRECTS = 10
_PARALLEL = 64
TLS_HINT = "if a proxy or your company signs certificates itself, name its CA bundle in SSL_CERT_FILE"

Response = urllib3.BaseHTTPResponse
Check = Callable[[Mapping[str, str]], None]


@dataclass(frozen=True)
class Answer:
    """The last answer of a chain of redirects, its body unread, and where it came from."""

    response: Response
    place: Place

    def finish(self) -> None:
        """Gives the connection back where the body was read to its end, and closes it else."""
        close(self.response)


class Transport:
    """Connections to a home (a hub's endpoint, or a URL's origin) and to wherever it redirects. Safe for threads."""

    def __init__(self, home: str, token: Callable[[], Token | None] = lambda: None) -> None:
        self.home = home
        self._token = token
        self._pools: dict[Origin, urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def get(self, place: Place, headers: Mapping[str, str], check: Check, method: str = "GET") -> Answer:
        """Asks, and follows redirects hop by hop; ``check`` sees each redirect's headers and may raise.

        Raises Cut where it may be tried again, SourceFailed where not.
        """
        for _ in range(_MOST_REDIRECTS + 1):
            response = self._ask(place, headers, method)
            location = response.headers.get("Location")
            if response.status not in REDIRECTS or not location:
                return Answer(response, place)
            drain(response)
            check(response.headers)
            place = next_hop(place, location, self.home)
        raise SourceFailed(f"{shown(place.url)} redirects in circles, or more than {_MOST_REDIRECTS} times")

    def token(self) -> Token | None:
        """The token, unless the home would be told it in the clear."""
        scheme, host, _ = origin(self.home)
        return self._token() if scheme == "https" or is_loopback(host) else None

    def _ask(self, place: Place, headers: Mapping[str, str], method: str) -> Response:
        sent = {"Accept-Encoding": "identity", **headers}
        token = self.token() if place.trusted else None
        if token:
            sent["Authorization"] = f"Bearer {token.reveal()}"
        try:
            response = self._pool(place.url).request(
                method, place.url, headers=sent, preload_content=False, redirect=False, retries=False
            )
        except LocationValueError:
            raise SourceFailed(f"{shown(place.url)} is not a URL that can be asked") from None
        except (HTTPError, OSError) as error:
            raise explained(error, place.url) from None
        if response.status == proxies.LOGIN:
            response.close()
            raise _stopped_by_proxy(origin(place.url)[1], response.status)
        return response

    def _pool(self, url: str) -> urllib3.PoolManager:
        where = origin(url)
        with self._lock:
            if where not in self._pools:
                scheme, host, port = where
                name = f"[{host}]" if ":" in host else host
                self._pools[where] = pool(f"{scheme}://{name}:{port}", _PARALLEL)
            return self._pools[where]


def explained(error: Exception, url: str) -> Cut | SourceFailed:
    """What an error of the HTTP library means: a Cut, or for a certificate that nobody should trust a SourceFailed.

    The library's own text is not repeated: it may hold a signed URL.
    """
    where = origin(url)[1]
    match error:
        case SSLError() if _distrusted(error):
            return SourceFailed(f"the certificate of {where} cannot be verified", hint=TLS_HINT)
        case ProxyError():
            return _proxy_failed(error, where)
        case NameResolutionError():
            return Cut(f"the name {where} cannot be resolved")
        case NewConnectionError():
            return Cut(f"{where} cannot be connected to")
        case ConnectTimeoutError():
            return Cut(f"{where} did not take the connection within {CONNECT_SECONDS:.0f} s")
        case TimeoutError():
            return Cut(f"{where} was silent for {READ_SECONDS:.0f} s")
    return Cut(f"the connection to {where} was cut off")


def _proxy_failed(error: ProxyError, where: str) -> Cut | SourceFailed:
    if status := proxies.refusal(error):
        return _stopped_by_proxy(where, status)
    answered = proxies.answered(error)
    return Cut(f"the proxy on the way to {where} cannot be used{f' ({answered})' if answered else ''}")


def _stopped_by_proxy(where: str, status: int) -> SourceFailed:
    what, hint = proxies.stopped(where, status)
    return SourceFailed(what, hint=hint)


def close(response: Response) -> None:
    """Gives the connection back where the body was read to its end, and closes it else."""
    # urllib3 has already released what was read to the end; closing what was not makes a new connection of the old one.
    response.close()
    response.release_conn()


def _distrusted(error: BaseException) -> bool:
    causes: list[BaseException | None] = [error, *(arg for arg in error.args if isinstance(arg, BaseException))]
    causes += [cause.__cause__ or cause.__context__ for cause in list(causes) if cause]
    return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes)
