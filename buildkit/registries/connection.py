"""Requests to one registry: authorised, repeated where that is safe, and explained where they fail."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar, cast
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from buildkit.errors import ModelpackError, RegistryFailed
from buildkit.machine import connections
from buildkit.machine.answers import REDIRECTS, TRANSIENT, drain
from buildkit.registries import refusals
from buildkit.registries.auth import search
from buildkit.registries.challenge import CHALLENGES, lacks_permission
from buildkit.registries.credentials import Credentials
from buildkit.registries.locations import Home, netloc
from buildkit.registries.lost import Lost, broken, busy
from buildkit.registries.pace import Pace
from buildkit.registries.patience import Patience
from buildkit.registries.profile import Profile
from buildkit.registries.profiles import profile_of
from buildkit.registries.refusals import Refused, error_body, explained
from buildkit.registries.sent import Body, Unreadable, told_apart
from buildkit.registries.token_service import Scope
from buildkit.registries.tokens import Authority

_REDIRECTS = 5
_AUTHORISATIONS = 3
"""Times that one request is sent with another token: the first has none, and a token may expire on its way."""

Result = TypeVar("Result")
Headers = Mapping[str, str] | None
Wait = float | None
"""How many seconds an answer may take, where that is more than usual."""
Answer = urllib3.BaseHTTPResponse


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
        self.authority = Authority(host, credentials or (lambda: search(host)), self._pool, plain_http)

    def request(
        self, method: str, where: str, scope: Scope, *, headers: Headers = None, body: bytes | None = None
    ) -> Answer:
        """A request that may be repeated, its answer unread; ``where`` is a path of the API or a URL it gave.

        Transient failures are retried with growing pauses; raises RegistryFailed when that does not help, or for 401 and 403.
        """
        return self.repeated(lambda: self.once(method, where, scope, headers=headers, body=body))

    def repeated(self, work: Callable[[], Result]) -> Result:
        """What some work brings, done again while it is Lost and there is patience; raises RegistryUnreachable then."""
        patience = self.patience()
        while True:
            try:
                return work()
            except Lost as lost:
                patience.again(lost, reached=self._answered)

    def patience(self) -> Patience:
        """For what is done again where it is Lost."""
        return Patience(self.host, self.sleep)

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
            refused = self._refused(answer, used)
            if not self.authority.challenged(answer.headers.get(CHALLENGES, ""), scope, used):
                raise self._not_allowed(refused, scope)
            if not (body is None or isinstance(body, bytes)):
                raise Lost("the registry wants a new token")
        else:
            raise self._not_allowed(refused, scope)
        if answer.status in TRANSIENT:
            raise busy(answer, self.peer(url))
        if answer.status == 403 and self._ours(url):
            raise self._not_allowed(self._refused(answer, used), scope)
        return answer

    def follow(self, where: str, scope: Scope, headers: Headers = None, method: str = "GET") -> Answer:
        """A GET or HEAD whose redirects are followed, the authorisation staying behind where another origin is named."""
        answer = self.request(method, where, scope, headers=headers)
        for _ in range(_REDIRECTS):
            if answer.status not in REDIRECTS:
                return answer
            where = self.absolute(answer.headers.get("Location", ""), answer.url or "")
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

    def peer(self, url: str | None) -> str:
        """Who answers at a URL, where the registry sends us elsewhere; "" for itself."""
        return "" if url is None or self._ours(url) else f"{netloc(url)} (named by {self.host})"

    def expect(self, answer: Answer, statuses: tuple[int, ...], doing: str) -> None:
        """Raises what an answer means whose status is none of these; ``doing`` says what was tried."""
        if answer.status not in statuses:
            raise self.refusal(answer, doing)

    def refusal(self, answer: Answer, doing: str) -> RegistryFailed:
        """The failure for an answer that was not expected, with the registry's own words and what to do."""
        said, peer = error_body(answer), self.peer(answer.url)
        return refusals.unexpected(self.host, self.profile, answer.status, said, doing, peer)

    def _not_allowed(self, refused: Refused, scope: Scope) -> RegistryFailed:
        what = " and ".join(one.split(":", 2)[1] for one in scope) or self.host
        credentials = self.authority.credentials
        return refusals.not_allowed(self.host, self.profile, credentials, refused, what, self.authority.helper_failed)

    def _refused(self, answer: Answer, used: str) -> Refused:
        """What a 401 or 403 of the registry says, done with the answer; ``used`` is the ``Authorization`` that it is for."""
        said = explained(error_body(answer))
        drain(answer)
        known = answer.status == 403 or (bool(used) and lacks_permission(answer.headers.get(CHALLENGES, "")))
        return Refused(self.host, answer.status, said, known=known)

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
                body=cast("bytes | Iterable[bytes] | None", told_apart(body)),
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
            raise self._not_allowed(refused, scope) from None
        except Unreadable as unreadable:
            raise unreadable.error from None
        except (HTTPError, OSError) as error:
            raise broken(error, url, self.peer(url)) from None

    def _is_tls_after_all(self, url: str) -> bool:
        """Whether a registry that may be spoken to in clear text does not listen to it: then TLS is spoken from now on.

        Asked only before the registry has answered anything: nothing but a path has been sent in clear text until then.
        """
        with self._scheme_lock:
            if not self._scheme_settled:
                self._scheme_settled = True
                parts = urlsplit(self.origin)
                if connections.speaks_tls(parts.netloc):
                    self.origin = f"https://{parts.netloc}"
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
