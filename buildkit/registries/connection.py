"""Requests to one registry: authorised, repeated where that is safe, and explained where they fail."""

from __future__ import annotations

import contextlib
import random
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import cast
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError, NewConnectionError, ProxyError, SSLError

from buildkit.errors import ModelpackError, RegistryFailed
from buildkit.machine import connections
from buildkit.machine.answers import REDIRECTS, drain, retry_after
from buildkit.registries import refusals
from buildkit.registries.auth import find
from buildkit.registries.credentials import Credentials
from buildkit.registries.locations import Home
from buildkit.registries.pace import Pace
from buildkit.registries.profile import Profile
from buildkit.registries.profiles import profile_of
from buildkit.registries.refusals import error_body, reason
from buildkit.registries.tokens import Authority, Refused, Scope

TRIES = 5
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_LONGEST_WAIT = 60.0
_REDIRECTS = 5
_AUTHORISATIONS = 3
"""Times that one request is sent with another token: the first has none, and a token may expire on its way."""

Headers = Mapping[str, str] | None
Body = bytes | Iterable[bytes | memoryview] | None
Wait = float | None
"""How many seconds an answer may take, where that is more than usual."""
Answer = urllib3.BaseHTTPResponse


class Lost(Exception):
    """A request that may be made again: the connection broke, or the registry is busy. ``wait`` in seconds, if it said.

    ``absent``: nobody listened at all.
    """

    def __init__(self, what: str, wait: float | None = None, *, absent: bool = False) -> None:
        super().__init__(what)
        self.wait = wait
        self.absent = absent


class Connection:
    """A registry's HTTP API, for all threads.

    ``sleep`` takes seconds and can be replaced where tests must not wait. ``profile`` is what is known of the registry,
    by default what its host tells; ``pace`` is shared by all connections to one host.
    """

    def __init__(
        self,
        host: str,
        *,
        plain_http: Callable[[str], bool],
        credentials: Callable[[], Credentials | None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
        profile: Profile | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.host = host
        self.profile = profile or profile_of(host)
        self._pace = pace or Pace(self.profile.per_second, sleep)
        api = "registry-1.docker.io" if host == "docker.io" else host
        self.origin = f"{'http' if plain_http(host) else 'https'}://{api}"
        self.sleep = sleep
        self._plain_http = plain_http
        self._answered = False
        self._scheme_settled = self.origin.startswith("https:")
        self._scheme_lock = threading.Lock()
        self._sessions: dict[str, Scope] = {}
        self._pools: dict[str, urllib3.PoolManager] = {}
        self.authority = Authority(self.origin, credentials or (lambda: find(host)), self._pool, plain_http)

    def request(
        self, method: str, where: str, scope: Scope, *, headers: Headers = None, body: bytes | None = None
    ) -> Answer:
        """A request that may be repeated, its answer unread; ``where`` is a path of the API or a URL it gave.

        Transient failures are retried with growing pauses; raises RegistryFailed when that does not help, or for 401 and 403.
        """
        for attempt in range(TRIES):
            try:
                return self.once(method, where, scope, headers=headers, body=body)
            except Lost as lost:
                if attempt == TRIES - 1 or (lost.absent and not self._answered and attempt):
                    raise self.unreachable(lost) from None
                self.pause(attempt, lost)
        raise AssertionError("unreachable")

    def once(
        self, method: str, where: str, scope: Scope, *, headers: Headers = None, body: Body = None, within: Wait = None
    ) -> Answer:
        """One request, repeated only where the registry asks for (new) authorisation before it read a body.

        Raises Lost where it may be made again, RegistryFailed where it may not.
        """
        url = self.absolute(where)
        for _ in range(_AUTHORISATIONS):
            try:
                answer, used = self._send(method, url, scope, headers or {}, body, within)
            except Lost:
                if self._is_tls_after_all(url):
                    return self.once(method, where, scope, headers=headers, body=body, within=within)
                raise
            if answer.status == 400 and self._is_tls_after_all(url):
                drain(answer)
                return self.once(method, where, scope, headers=headers, body=body, within=within)
            self._scheme_settled = True
            if answer.status != 401 or not self._ours(url):
                break
            drain(answer)
            if not self.authority.challenged(answer.headers.get("WWW-Authenticate", ""), scope, used):
                raise self.refused(401, scope, b"")
            if not (body is None or isinstance(body, bytes)):
                raise Lost("the registry wants a new token", wait=0.0)
        if answer.status in TRANSIENT:
            raise Lost(f"{self.host} answered {answer.status}", self._wait_asked(answer))
        if answer.status in (401, 403) and self._ours(url):
            raise self.refused(answer.status, scope, error_body(answer))
        return answer

    def follow(self, where: str, scope: Scope, headers: Headers = None, method: str = "GET") -> Answer:
        """A GET or HEAD whose redirects are followed, the authorisation staying behind where another origin is named."""
        answer = self.request(method, where, scope, headers=headers)
        for _ in range(_REDIRECTS):
            if answer.status not in REDIRECTS:
                return answer
            where = self.absolute(answer.headers.get("Location", ""), self.absolute(where))
            drain(answer)
            answer = self.request(method, where, scope, headers=headers)
        raise RegistryFailed(f"{self.host} redirects without end")

    def absolute(self, where: str, base: str = "") -> str:
        """A path or ``Location`` as a URL, refused where it leads from a registry to somewhere it should not know.

        ``base`` is the URL that a relative one counts from, by default the registry.
        """
        return Home(self.host, self.origin, self._plain_http).located(where, base)

    def opened(self, location: str, scope: Scope) -> None:
        """Notes an upload session, for :meth:`abandon`."""
        self._sessions[location] = scope

    def ended(self, location: str) -> None:
        """Notes that an upload session is over."""
        self._sessions.pop(location, None)

    def abandon(self, seconds: float) -> None:
        """Deletes the upload sessions that are still open: for an interruption, when their threads wait for a slow peer.

        Gives up after ``seconds``; registries collect what is left by themselves, later.
        """
        done = threading.Semaphore(0)

        def delete(location: str, scope: Scope) -> None:
            with contextlib.suppress(Lost, ModelpackError):
                drain(self.once("DELETE", location, scope))
            done.release()

        sessions = list(self._sessions.items())
        for session in sessions:
            threading.Thread(target=delete, args=session, daemon=True).start()
        deadline = time.monotonic() + seconds
        for _ in sessions:
            done.acquire(timeout=max(0.0, deadline - time.monotonic()))

    def pause(self, attempt: int, lost: Lost) -> None:
        """Waits before another try: what the registry asked for, else twice as long each time, with jitter."""
        self.sleep(
            min(lost.wait if lost.wait is not None else 0.5 * 2**attempt * random.uniform(0.5, 1.5), _LONGEST_WAIT)
        )

    def unreachable(self, lost: Lost) -> RegistryFailed:
        """The failure after the last try."""
        problem = "cannot be reached" if lost.absent else "does not answer as it should"
        return RegistryFailed(
            f"{self.host} {problem}: {lost}",
            hint="check that the registry is up and that this machine reaches it, then run the same command again",
        )

    def expect(self, answer: Answer, statuses: tuple[int, ...], doing: str) -> None:
        """Raises what an answer means whose status is none of these; ``doing`` says what was tried."""
        if answer.status not in statuses:
            raise self.refusal(answer, doing)

    def refusal(self, answer: Answer, doing: str) -> RegistryFailed:
        """The failure for an answer that was not expected, with the registry's own words and what to do."""
        return refusals.unexpected(self.host, self.profile, answer.status, error_body(answer), doing)

    def refused(self, status: int, scope: Scope, body: bytes) -> RegistryFailed:
        """Tells apart: nobody is logged in, the login is wrong, or it is right and not enough."""
        credentials = self.authority.credentials
        what = " and ".join(one.split(":", 2)[1] for one in scope) or self.host
        return refusals.not_allowed(self.host, self.profile, credentials, status, what, body)

    def _send(
        self, method: str, url: str, scope: Scope, headers: Mapping[str, str], body: Body, within: Wait
    ) -> tuple[Answer, str]:
        pool = self._pool(url)
        if self._ours(url):
            self._pace.wait()
        try:
            authorised = self.authority.header(scope) if self._ours(url) else {}
            answer = pool.request(
                method,
                url,
                headers={**pool.headers, **headers, **authorised},
                body=cast("bytes | Iterable[bytes] | None", body),
                timeout=connections.timeout(within),
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            self._answered = True
            # urllib3 knows the path alone, where no proxy is on the way.
            answer.url = url
            return answer, authorised.get("Authorization", "")
        except Refused as refused:
            raise self.refused(refused.status if refused.status in (401, 403) else 403, scope, b"") from None
        except SSLError as error:
            raise RegistryFailed(
                f"the certificate of {urlsplit(url).netloc} is not trusted: {reason(error)}",
                hint="name the certificate authority's file in SSL_CERT_FILE",
            ) from None
        except ProxyError as error:
            raise self._stopped_by_proxy(reason(error), urlsplit(url).netloc) from None
        except (HTTPError, OSError) as error:
            absent = isinstance(error, NewConnectionError)
            raise Lost(reason(error), absent=absent) from None

    def _stopped_by_proxy(self, told: str, netloc: str) -> Exception:
        """Its refusal (RFC 9110, 9.3.6: another answer to CONNECT than 2xx) stays one; what else it lacks may pass."""
        what = f"the proxy on the way to {netloc} does not let us through: {told}"
        if re.search(r"\b(403|407)\b", told):
            hint = f"check the address and the login in HTTPS_PROXY; or let {netloc} be reached without it: NO_PROXY"
            return RegistryFailed(what, hint=hint)
        return Lost(what)

    def _is_tls_after_all(self, url: str) -> bool:
        """Whether a registry that may be spoken to in clear text does not listen to it: then TLS is spoken from now on.

        Asked only before the registry has answered anything: nothing but a path has been sent in clear text until then.
        """
        with self._scheme_lock:
            if not self._scheme_settled:
                self._scheme_settled = True
                parts = urlsplit(self.origin)
                if connections.speaks_tls(parts.netloc):
                    self.origin = self.authority.origin = f"https://{parts.netloc}"
            return url.startswith("http:") and self.origin.startswith("https:") and self._same_host(url)

    def _same_host(self, url: str) -> bool:
        return urlsplit(url).netloc == urlsplit(self.origin).netloc

    def _pool(self, url: str) -> urllib3.PoolManager:
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        if origin not in self._pools:
            self._pools[origin] = connections.pool(origin)
        return self._pools[origin]

    def _ours(self, url: str) -> bool:
        return url.startswith(self.origin + "/")

    def _wait_asked(self, answer: Answer) -> float | None:
        drain(answer)
        return retry_after(answer.headers)
