"""The service that a registry sends to for tokens (distribution, "Token Authentication" and "OAuth2 Token Authentication")."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from buildkit.errors import InvalidInput, RegistryFailed
from buildkit.machine.answers import TRANSIENT, drain
from buildkit.oci.manifest import parse_object
from buildkit.registries.challenge import Challenge
from buildkit.registries.credentials import Credentials
from buildkit.registries.locations import netloc
from buildkit.registries.lost import broken, busy
from buildkit.registries.refusals import Refused, error_body, explained

Scope = tuple[str, ...]
_LARGEST_ANSWER = 1024 * 1024
_DEFAULT_SECONDS = 60
_MOST_SECONDS = 24 * 60 * 60
"""A token that is said to live for longer is renewed all the same: it costs one request a day."""


@dataclass(frozen=True)
class TokenService:
    """The service that a Bearer ``challenge`` of the registry ``host`` names; ``pools`` gives connections for a URL."""

    host: str
    challenge: Challenge
    pools: Callable[[str], urllib3.PoolManager]

    @property
    def name(self) -> str:
        """What it is called where it fails: it seldom is on the registry's host."""
        own = netloc(self.challenge.realm)
        return f"the token service of {self.host}" if own == self.host else f"the token service {own} of {self.host}"

    def token(self, scope: Scope, credentials: Credentials | None) -> tuple[str, float]:
        """A token and how many seconds it lives.

        Raises Refused where it gives these credentials none, Lost where another try may help, RegistryFailed else.
        """
        is_exchanged = credentials is not None and credentials.identity_token
        answer = (
            self._exchanged(scope, credentials) if credentials and is_exchanged else self._given(scope, credentials)
        )
        value = answer.get("token") or answer.get("access_token")
        if not isinstance(value, str) or not re.fullmatch(r"[\x21-\x7e]+", value):
            raise RegistryFailed(f"{self.name} answered without a token", hint=self._hint)
        told = answer.get("expires_in")
        lifetime = told if isinstance(told, int | float) and told > 0 else _DEFAULT_SECONDS
        return value, min(lifetime, _MOST_SECONDS)

    def _given(self, scope: Scope, credentials: Credentials | None) -> dict[str, object]:
        query = [("service", self._service)] if self._service else []
        query += [("scope", one) for one in scope]
        headers = {"Authorization": credentials.basic} if credentials else {}
        realm = self.challenge.realm
        url = realm + ("&" if urlsplit(realm).query else "?") + urlencode(query)
        return self._answer("GET", url, headers, None, (401, 403))

    def _exchanged(self, scope: Scope, credentials: Credentials) -> dict[str, object]:
        form = urlencode(
            {
                "grant_type": "refresh_token",
                "refresh_token": credentials.identity_token,
                "service": self._service,
                "client_id": "modelpack",
                "scope": " ".join(scope),
            }
        )
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        # A refresh token that is not valid any more is answered with 400 (RFC 6749, 5.2).
        return self._answer("POST", self.challenge.realm, headers, form.encode(), (400, 401, 403))

    def _answer(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None, refusing: tuple[int, ...]
    ) -> dict[str, object]:
        pool = self.pools(url)
        try:
            answer = pool.request(
                method, url, headers={**pool.headers, **headers}, body=body, redirect=False, preload_content=False
            )
            if answer.status == 200:
                with answer:
                    return parse_object(answer.read(_LARGEST_ANSWER), "its answer")
        except InvalidInput as error:
            raise RegistryFailed(f"{self.name} gave no token: {error}", hint=self._hint) from None
        except (HTTPError, OSError) as error:
            raise broken(error, url, self.name) from None
        if answer.status in TRANSIENT:
            raise busy(answer, self.name)
        said = explained(error_body(answer))
        drain(answer)
        if answer.status in refusing:
            raise Refused(self.name, answer.status, said, known=answer.status == 403)
        raise RegistryFailed(
            f"{self.name} gave no token: it answered {answer.status}" + (f" ({said})" if said else ""), hint=self._hint
        )

    @property
    def _service(self) -> str:
        return self.challenge.parameters.get("service", "")

    @property
    def _hint(self) -> str:
        return (
            f"the registry sends there for tokens: ask who runs {self.host}; a proxy on the way may answer in its place"
        )
