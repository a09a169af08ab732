"""A token server that the real docker-registry trusts, with a token lifetime that tests may turn.

It speaks both forms that clients use: GET with Basic ("Token Authentication Specification" of the distribution
project) and POST with a form ("OAuth2 Token Authentication"), and signs a JWT (RFC 7519, ES256) whose ``x5c`` header
carries the certificate that the registry is given as its ``rootcertbundle``.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import secrets
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.live.certificates import Signer, authority

# docker-registry 2.8 takes a token up to this many seconds after its `exp` (registry/auth/token/token.go, `Leeway`).
# It is taken off here, so that a lifetime is what a test says it is.
REGISTRY_LEEWAY = 60


@dataclass(frozen=True)
class Access:
    """One scope of a token request: ``repository:NAME:pull,push``."""

    kind: str
    name: str
    actions: tuple[str, ...]

    @classmethod
    def parse(cls, scope: str) -> Access:
        """Read a scope; a name may itself hold a colon (a host with a port)."""
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        return cls(kind, name, tuple(action for action in actions.split(",") if action))


@dataclass(frozen=True)
class TokenRequest:
    """What one client asked: as whom (None for nobody), for which scopes, and with what status it was answered."""

    method: str
    account: str | None
    scopes: tuple[str, ...]
    status: int


@dataclass
class TokenServer:
    """A running token server.

    ``lifetime`` (seconds) may be changed at any time and holds for the tokens given out from then on; a negative one
    gives tokens that are already over, which the registry refuses. ``anonymous_pull`` gives nobody a token to read
    with. ``requests`` is what was asked, oldest first.
    """

    realm: str
    user: str
    password: str
    signer: Signer
    certificate_file: Path
    service: str = "modelpack-live-registry"
    issuer: str = "modelpack-live-tokens"
    lifetime: int = 300
    anonymous_pull: bool = False
    requests: list[TokenRequest] = field(default_factory=list)
    refresh_token: str = field(default_factory=lambda: secrets.token_urlsafe(24))

    def mint(self, account: str, accesses: Sequence[Access]) -> str:
        """Sign a token for these accesses; nothing is recorded."""
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": account,
            "aud": self.service,
            "exp": now + self.lifetime - REGISTRY_LEEWAY,
            "nbf": now - 2 * REGISTRY_LEEWAY,
            "iat": now,
            "jti": secrets.token_hex(16),
            "access": [{"type": one.kind, "name": one.name, "actions": list(one.actions)} for one in accesses],
        }
        chain = [base64.b64encode(self.signer.certificate_der).decode("ascii")]
        return _signed({"typ": "JWT", "alg": "ES256", "x5c": chain}, claims, self.signer.key)

    def scopes(self) -> list[str]:
        """Every scope that was asked for, oldest first."""
        return [scope for request in self.requests for scope in request.scopes]

    def accepts(self, account: str | None, password: str | None) -> bool:
        """Whether this is our user; nobody (None) is accepted only to pull, where that is allowed."""
        if account is None:
            return self.anonymous_pull
        return account == self.user and secrets.compare_digest(password or "", self.password)

    def granted(self, account: str | None, scopes: Sequence[str]) -> list[Access]:
        """What of the scopes is given: all to our user, only pull to nobody."""
        asked = [Access.parse(scope) for scope in scopes]
        if account is not None:
            return asked
        return [Access(one.kind, one.name, ("pull",)) for one in asked if "pull" in one.actions]


def _segment(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")


def _signed(header: Mapping[str, object], claims: Mapping[str, object], key: ec.EllipticCurvePrivateKey) -> str:
    signing_input = f"{_segment(json.dumps(header).encode())}.{_segment(json.dumps(claims).encode())}"
    der = key.sign(signing_input.encode("ascii"), ec.ECDSA(hashes.SHA256()))
    r, s = decode_dss_signature(der)  # JWS wants both numbers at fixed width, not DER (RFC 7518 section 3.4)
    return f"{signing_input}.{_segment(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _basic(header: str) -> tuple[str | None, str | None]:
    """The user and password of a Basic header; a header that is none counts as nobody."""
    kind, _, encoded = header.partition(" ")
    if kind.lower() != "basic":
        return None, None
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None, None
    return user, password


def _split(values: Sequence[str]) -> tuple[str, ...]:
    """Scopes may come repeated (GET) or separated by blanks (POST)."""
    return tuple(scope for value in values for scope in value.split())


def _handler(server: TokenServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            account, password = _basic(self.headers.get("Authorization", ""))
            offline = query.get("offline_token", [""])[0] == "true"
            known = server.accepts(account, password)
            self._answer(account, known, _split(query.get("scope", [])), offline)

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            form = parse_qs(self.rfile.read(length).decode("utf-8"))
            account: str | None = form.get("username", [""])[0] or None
            if form.get("grant_type", [""])[0] == "refresh_token":
                account = server.user
                known = secrets.compare_digest(form.get("refresh_token", [""])[0], server.refresh_token)
            else:
                known = account is not None and server.accepts(account, form.get("password", [""])[0])
            offline = form.get("access_type", [""])[0] == "offline"
            self._answer(account, known, _split(form.get("scope", [])), offline)

        def _answer(self, account: str | None, known: bool, scopes: tuple[str, ...], offline: bool) -> None:
            status = 200 if known else 401
            server.requests.append(TokenRequest(self.command, account, scopes, status))
            body: dict[str, object] = {"errors": [{"code": "UNAUTHORIZED", "message": "wrong user or password"}]}
            if known:
                token = server.mint(account or "", server.granted(account, scopes))
                body = {"token": token, "access_token": token, "expires_in": max(server.lifetime, 1)}
                if offline:
                    body["refresh_token"] = server.refresh_token
            self._send(status, json.dumps(body).encode("utf-8"))

        def _send(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="modelpack live tokens"')
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: ``TokenServer.requests`` is the record."""

    return Handler


@contextlib.contextmanager
def start_token_server(folder: Path, *, user: str = "robot", password: str = "s3cret-pass") -> Iterator[TokenServer]:
    """Serve tokens on a free loopback port until the block ends; the signing certificate is written to ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    signer = authority("modelpack live tokens")
    certificate_file = folder / "token-signer.crt"
    certificate_file.write_bytes(signer.certificate_pem)
    server = TokenServer("", user, password, signer, certificate_file)
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(server)) as listener:
        server.realm = f"http://127.0.0.1:{listener.server_port}/token"
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown()
            thread.join()
