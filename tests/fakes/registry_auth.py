"""Who may do what at a fake registry: basic credentials, or bearer tokens from a token server.

The token protocol is that of the distribution project's "Token Authentication" and "OAuth2" pages.
"""

from __future__ import annotations

import base64
import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qs

from tests.fakes.http_message import Headers, Incoming, RefusedError, Response, json_response
from tests.fakes.registry_behaviour import oci_error

Scope = tuple[str, str]
"""A repository's name and one action, "pull", "push" or "delete"; ("", "catalog") is the catalog."""


@dataclass(frozen=True)
class Account:
    """A password, and regular expressions that a repository's whole name must match."""

    password: str = ""
    pull: str = ".*"
    push: str = ".*"

    def may(self, scope: Scope) -> bool:
        repository, action = scope
        return re.fullmatch(self.pull if action == "pull" else self.push, repository) is not None


NOBODY = Account(pull="(?!)", push="(?!)")


@dataclass(frozen=True)
class TokenRequest:
    """A visit to the token server. `user` is None for an anonymous one; `scopes` as they were asked for."""

    method: str
    grant: str
    user: str | None
    service: str
    scopes: tuple[str, ...]
    granted: tuple[str, ...]
    status: int


@dataclass
class _Grant:
    scopes: frozenset[Scope]
    asked: frozenset[Scope]
    until: float
    uses: int | None


@dataclass
class Auth:
    """A registry's access rules; every field may be changed while it serves.

    `anonymous` is what a visitor without credentials may do. Tokens live for `token_seconds` and, if set,
    `token_uses` requests. `reported_seconds` is what `expires_in` says (None: it is left out). `refuse_with`
    is the answer to a known visitor without permission: 403 DENIED, 401 (insufficient_scope) or 404
    NAME_UNKNOWN. `realm` is the URL that clients are sent to for a token, where it is not simply our own.
    `beside` are challenges that a 401 has before ours, each in a header of its own or all `joined` in one.
    """

    mode: Literal["none", "basic", "token"] = "none"
    accounts: dict[str, Account] = field(default_factory=dict)
    anonymous: Account = NOBODY
    token_seconds: float = 300.0
    token_uses: int | None = None
    reported_seconds: float | None = 300
    token_server: Literal["same", "other"] = "same"
    oauth2: bool = True
    refuse_with: Literal[401, 403, 404] = 403
    service: str = "fake-registry"
    realm: str = ""
    beside: tuple[str, ...] = ()
    joined: bool = False


class Guard:
    """Checks requests against an `Auth`, and is its token server."""

    def __init__(self, auth: Auth, realm: Callable[[], str]) -> None:
        self.auth = auth
        self.token_requests: list[TokenRequest] = []
        self._realm = realm
        self._tokens: dict[str, _Grant] = {}
        self._refresh: dict[str, str] = {}
        self._lock = threading.Lock()
        self._count = 0

    def refresh_token(self, user: str) -> str:
        """A refresh token ("identity token") of this user."""
        with self._lock:
            token = self._opaque("refresh")
            self._refresh[token] = user
        return token

    def expire(self) -> None:
        """Let every access token handed out so far expire now."""
        with self._lock:
            self._tokens.clear()

    def check(self, request: Incoming, scopes: Iterable[Scope]) -> None:
        """Raise RefusedError unless the request's credentials allow all of these."""
        wanted = list(scopes)
        if self.auth.mode == "basic":
            self._check_basic(request, wanted)
        elif self.auth.mode == "token":
            self._check_token(request, wanted)

    def _check_basic(self, request: Incoming, wanted: list[Scope]) -> None:
        header = request.headers.get("authorization")
        account = self._account(header) if header else self.auth.anonymous
        refused = [scope for scope in wanted if account is None or not account.may(scope)]
        if account is None or (not header and (refused or not wanted)):
            raise self._unauthorized(f'Basic realm="{self.auth.service}"')
        if refused:
            raise self._denied(refused, f'Basic realm="{self.auth.service}"')

    def _check_token(self, request: Incoming, wanted: list[Scope]) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        challenge = self._challenge(wanted)
        if scheme.lower() != "bearer":
            raise self._unauthorized(challenge)
        granted = self._redeem(token)
        if granted is None:
            raise self._unauthorized(challenge + ',error="invalid_token"')
        refused = [scope for scope in wanted if scope not in granted.scopes]
        if refused and not granted.asked.issuperset(refused):
            # The token was made for something else; that says nothing yet about what its owner may do.
            raise self._unauthorized(challenge + ',error="insufficient_scope"')
        if refused:
            raise self._denied(refused, challenge + ',error="insufficient_scope"')

    def _redeem(self, token: str) -> _Grant | None:
        with self._lock:
            grant = self._tokens.get(token)
            if grant is None or time.monotonic() > grant.until or grant.uses == 0:
                return None
            if grant.uses is not None:
                grant.uses -= 1
            return grant

    def _challenge(self, wanted: list[Scope]) -> str:
        challenge = f'Bearer realm="{self._realm()}",service="{self.auth.service}"'
        return challenge + (f',scope="{" ".join(_written(wanted))}"' if wanted else "")

    def _denied(self, refused: list[Scope], challenge: str) -> RefusedError:
        detail = [{"Type": "repository", "Name": name, "Action": action} for name, action in refused]
        if self.auth.refuse_with == 401:
            return self._unauthorized(challenge, detail)
        if self.auth.refuse_with == 404:
            return oci_error(404, "NAME_UNKNOWN", "repository name not known to registry", detail=detail)
        return oci_error(403, "DENIED", "requested access to the resource is denied", detail=detail)

    def _unauthorized(self, challenge: str, detail: object = None) -> RefusedError:
        offered = (*self.auth.beside, challenge)
        return unauthorized(*([", ".join(offered)] if self.auth.joined else offered), detail=detail)

    def _account(self, header: str | None) -> Account | None:
        user, password = _credentials(header)
        account = self.auth.accounts.get(user)
        return account if account is not None and account.password == password else None

    def token(self, request: Incoming) -> Response:
        """Answer as the token server."""
        if request.method == "POST" and self.auth.oauth2:
            return self._oauth2(request)
        if request.method != "GET":
            return Response(404)
        header = request.headers.get("authorization")
        user = _credentials(header)[0] if header else None
        account = self._account(header) if header else self.auth.anonymous
        offline = request.first("offline_token") == "true"
        scopes = " ".join(request.query.get("scope", [])).split()
        service = request.first("service") or ""
        return self._issue("GET", "basic", user, account, service, scopes, offline)

    def _oauth2(self, request: Incoming) -> Response:
        form = {name: values[0] for name, values in parse_qs(request.body.read(1 << 20).decode()).items()}
        grant = form.get("grant_type", "")
        user = form.get("username") if grant == "password" else self._refresh.get(form.get("refresh_token", ""))
        account = self.auth.accounts.get(user or "")
        if grant == "password" and account and account.password != form.get("password"):
            account = None
        offline = form.get("access_type") == "offline"
        return self._issue(
            "POST", grant, user, account, form.get("service", ""), form.get("scope", "").split(), offline
        )

    def _issue(
        self,
        method: str,
        grant: str,
        user: str | None,
        account: Account | None,
        service: str,
        asked: list[str],
        offline: bool,
    ) -> Response:
        wanted = _read(asked)
        allowed = [scope for scope in wanted if account is not None and account.may(scope)]
        status = 200 if account is not None else 401
        visit = TokenRequest(method, grant, user, service, tuple(asked), tuple(_written(allowed)), status)
        self.token_requests.append(visit)
        if account is None:
            return unauthorized(f'Basic realm="{self.auth.service}"').response
        with self._lock:
            token = self._opaque("access")
            until = time.monotonic() + self.auth.token_seconds
            self._tokens[token] = _Grant(frozenset(allowed), frozenset(wanted), until, self.auth.token_uses)
        document: dict[str, object] = {"access_token": token, "scope": " ".join(visit.granted)}
        if method == "GET":
            document = {"token": token, "access_token": token}
        if self.auth.reported_seconds is not None:
            document["expires_in"] = self.auth.reported_seconds
        if offline and user:
            document["refresh_token"] = self.refresh_token(user)
        return json_response(200, document)

    def _opaque(self, kind: str) -> str:
        self._count += 1
        return f"{kind}-" + hashlib.sha256(f"{kind} {self._count} {id(self)}".encode()).hexdigest()[:40]


def unauthorized(*challenges: str, detail: object = None) -> RefusedError:
    """401, with what the client is to do about it, each challenge in a header of its own."""
    headers: Headers = tuple(("WWW-Authenticate", challenge) for challenge in challenges)
    return oci_error(401, "UNAUTHORIZED", "authentication required", detail=detail, headers=headers)


def _credentials(header: str | None) -> tuple[str, str]:
    scheme, _, value = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    user, _, password = base64.b64decode(value).decode().partition(":")
    return user, password


def _read(scopes: Iterable[str]) -> list[Scope]:
    """The scopes in words such as "repository:org/model:pull,push"; what is not about a repository is left
    out."""
    known = []
    for scope in scopes:
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        if scope == "registry:catalog:*":
            known.append(("", "catalog"))
        elif kind == "repository":
            actions = actions.replace("*", "pull,push,delete")
            known += [(name, action) for action in actions.split(",")]
    return known


def _written(scopes: Iterable[Scope]) -> list[str]:
    by_name: dict[str, list[str]] = {}
    for name, action in dict.fromkeys(scopes):
        by_name.setdefault(name, []).append(action)
    return [
        f"repository:{name}:{','.join(actions)}" if name else "registry:catalog:*" for name, actions in by_name.items()
    ]
