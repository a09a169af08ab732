"""How a request to a registry is authorised: Basic, or a bearer token per scope (distribution: token authentication)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import urllib3

from buildkit.errors import RegistryFailed
from buildkit.registries.challenge import Challenge, challenges, preferred
from buildkit.registries.credential_helper import HelperFailed
from buildkit.registries.credentials import Credentials
from buildkit.registries.locations import is_encrypted, netloc
from buildkit.registries.refusals import Refused
from buildkit.registries.token_service import Scope, TokenService

_MARGIN = 0.3
"""The share of a token's life in which it is not used any more for something that takes a while."""


@dataclass
class _Token:
    value: str = field(repr=False)
    fresh_until: float


class Authority:
    """Knows how one registry wants to be asked, and keeps a token per scope until it goes stale. Thread-safe."""

    def __init__(
        self,
        host: str,
        credentials: Callable[[], Credentials | None],
        pools: Callable[[str], urllib3.PoolManager],
        plain_http: Callable[[str], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.host = host
        self._find = credentials
        self._pools = pools
        self._plain_http = plain_http
        self._clock = clock
        self._lock = threading.RLock()
        self._challenge: Challenge | None = None
        self._tokens: dict[Scope, _Token] = {}
        self._credentials: Credentials | None = None
        self._searched = False
        self.helper_failed = ""
        """What was told of a helper that should have had credentials; "" where they were found, or nobody has any."""

    @property
    def credentials(self) -> Credentials | None:
        """What was found for this registry; looked for once, when first needed."""
        with self._lock:
            if not self._searched:
                self._credentials, self._searched = self._looked_for(), True
            return self._credentials

    @property
    def asked(self) -> bool:
        """Whether the registry has asked for authorisation so far."""
        return self._challenge is not None

    def header(self, scope: Scope) -> dict[str, str]:
        """The ``Authorization`` header for a request, empty as long as the registry has not asked for one."""
        with self._lock:
            if self._challenge is None:
                return {}
            if self._challenge.scheme == "basic":
                credentials = self.credentials
                return {"Authorization": credentials.basic} if credentials else {}
            token = self._tokens.get(scope)
            if token is None or token.fresh_until < self._clock():
                token = self._tokens[scope] = self._fetch(self._challenge, scope)
            return {"Authorization": f"Bearer {token.value}"}

    def challenged(self, header: str, scope: Scope, used: str) -> bool:
        """Takes a 401's challenges; says whether asking once more with :meth:`header` can help.

        A 401 without any means those of an earlier one, as where a proxy drops the header.
        ``used`` is the ``Authorization`` that was refused: another thread may have a better one by now.
        """
        with self._lock:
            token = self._tokens.get(scope)
            if token and used == f"Bearer {token.value}":
                del self._tokens[scope]
            challenge = preferred(challenges(header), self._is_usable) or (None if header else self._challenge)
            if challenge is None:
                raise RegistryFailed(
                    f"{self.host} answers 401 and asks for no authentication that is known",
                    hint="check the registry's address: a proxy on the way may answer in its place",
                )
            self._challenge = challenge
            if challenge.scheme == "bearer":
                return True
            return bool(self.credentials and (used != self.credentials.basic or self._renewed()))

    def _looked_for(self) -> Credentials | None:
        # Much is readable without a login, so that a helper that fails is no failure before the registry refuses.
        self.helper_failed = ""
        try:
            return self._find()
        except HelperFailed as failed:
            self.helper_failed = failed.what
            return None

    def _renewed(self) -> bool:
        """Whether a helper or an identity gives other credentials by now: theirs last for hours, a push may last longer."""
        before = self._credentials
        self._credentials = self._looked_for()
        return self._credentials is not None and self._credentials != before

    def _fetch(self, challenge: Challenge, scope: Scope) -> _Token:
        self._check(challenge.realm)
        service = TokenService(self.host, challenge, self._pools)
        try:
            value, seconds = service.token(scope, self.credentials)
        except Refused:
            if not self._renewed():
                raise
            value, seconds = service.token(scope, self.credentials)
        return _Token(value, self._clock() + seconds * (1 - _MARGIN))

    def _is_usable(self, realm: str) -> bool:
        try:
            return is_encrypted(realm, self._plain_http) and bool(netloc(realm))
        except ValueError:
            return False

    def _check(self, realm: str) -> None:
        if self._is_usable(realm):
            return
        try:
            where = f"{urlsplit(realm).scheme}://{netloc(realm)}"[:200] if netloc(realm) else "no URL"
        except ValueError:
            where = "no URL"
        raise RegistryFailed(
            f"{self.host} sends for a token to {where!r}, which is not https; no credentials were sent there"
        )
