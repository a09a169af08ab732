"""Connections to hubs, registries and file servers: TLS verified, proxies honoured, nothing waits for ever."""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.connection import HTTPConnection
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from buildkit import __version__
from buildkit.errors import InvalidInput
from buildkit.machine.steady import POOLS

CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
"""A peer that is silent this long is taken for gone, unless it was asked for something that may take longer."""

KEPT_ALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""Seconds until a silent line is tried, and again, and how often: below the 4 to 6 minutes after which routers and load
balancers of clouds forget one (Azure: 4 min, AWS: 350 s), so that an answer that takes longer comes through."""

AGENT = f"modelpack/{__version__}"
_BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def pool(origin: str, parallel: int = 16) -> urllib3.PoolManager:
    """Connections for ``origin`` (scheme://host), shared by threads, through the environment's proxy where one applies.

    Redirects and retries are left to the caller, who knows what may be repeated and which header may follow.
    """
    options: dict[str, Any] = {
        "maxsize": parallel,
        "block": False,
        "retries": False,
        "timeout": timeout(),
        "headers": {"User-Agent": AGENT},
        "socket_options": [*HTTPConnection.default_socket_options, *_kept_alive()],
        "ssl_context": trusted() if origin.startswith("https") else None,
    }
    proxy = proxy_for(origin)
    manager = (
        urllib3.ProxyManager(proxy, proxy_headers=_proxy_headers(proxy), **options)
        if proxy
        else urllib3.PoolManager(**options)
    )
    manager.pool_classes_by_scheme = POOLS
    return manager


def _kept_alive() -> list[tuple[int, int, int]]:
    named = [(getattr(socket, name, None), value) for name, value in KEPT_ALIVE.items()]  # not every system has all
    numbered = [(socket.IPPROTO_TCP, option, value) for option, value in named if option is not None]
    return [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), *numbered]


def timeout(within: float | None = None) -> urllib3.Timeout:
    """How long a peer may take: to be reached, and then, in seconds, for each thing it says; by default READ_SECONDS."""
    return urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS if within is None else within)


def trusted() -> ssl.SSLContext:
    """TLS with verification, against the system's certificates or the bundle that the environment names.

    Raises InvalidInput where that is not there or holds no certificate.
    """
    named = next((name for name in _BUNDLES if os.environ.get(name)), "")
    try:
        return _trusting(os.environ[named] if named else None)
    except OSError as error:
        if not named:
            raise
        what = "is not there" if isinstance(error, FileNotFoundError) else "holds no certificate that can be read"
        raise InvalidInput(f"{named} names {os.environ[named]}, which {what}", hint="correct or unset it") from None


@lru_cache(maxsize=4)
def _trusting(bundle: str | None) -> ssl.SSLContext:
    # Reading the system's certificates takes a tenth of a second: once is enough.
    if bundle and Path(bundle).is_dir():
        return ssl.create_default_context(capath=bundle)
    return ssl.create_default_context(cafile=bundle)


def speaks_tls(netloc: str) -> bool:
    """Whether a ``HOST:PORT`` answers a TLS handshake, be its certificate trusted or not."""
    parts = urlsplit(f"//{netloc}")
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 443), CONNECT_SECONDS) as raw:
            with trusted().wrap_socket(raw, server_hostname=parts.hostname):
                return True
    except ssl.SSLCertVerificationError:
        return True
    except OSError:
        return False


def proxy_for(origin: str) -> str | None:
    """The proxy that HTTPS_PROXY, HTTP_PROXY and NO_PROXY mean for an origin; loopback never goes through one."""
    parts = urlsplit(origin)
    host = parts.hostname or ""
    if is_loopback(host) or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    proxies = getproxies()
    named = next((name for name in (parts.scheme, "all") if proxies.get(name)), "")
    return _proxy(named, proxies[named]) if named else None


def _proxy(name: str, text: str) -> str:
    """A proxy as curl would read it, http where nothing else is said; what cannot be used is told without its login."""
    url = text if "://" in text else f"http://{text}"
    try:
        parts = parse_url(url)
        usable = parts.scheme in ("http", "https") and parts.host
    except LocationParseError:
        usable = None
    if not usable:
        raise InvalidInput(
            f"{name.upper()}_PROXY is not the address of an HTTP proxy",
            hint="write http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, with what is special in the password as %XX",
        )
    return url


def is_loopback(host: str) -> bool:
    """Whether a host name or address (without port) is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_internal(host: str) -> bool:
    """Whether a host is written as a private address, in any spelling that a resolver takes (``127.1``, ``2130706433``)."""
    name = host.rstrip(".").lower()
    if name.endswith(".localhost"):
        return True
    try:
        mapped = ipaddress.IPv6Address(name.partition("%")[0]).ipv4_mapped
        return _is_private(str(mapped or name.partition("%")[0]))
    except ValueError:
        pass
    try:
        return _is_private(socket.inet_ntoa(socket.inet_aton(name)))
    except (OSError, UnicodeError):
        return _is_private(name)


def _is_private(host: str) -> bool:
    """Whether a host is written as an address that is not public: loopback, private, link-local and the like."""
    if host == "localhost":
        return True
    try:
        return not ipaddress.ip_address(host.strip("[]")).is_global
    except ValueError:
        return False


def _proxy_headers(proxy: str) -> dict[str, str]:
    parts = urlsplit(proxy)
    if parts.username is None:
        return {}
    return urllib3.make_headers(proxy_basic_auth=f"{unquote(parts.username)}:{unquote(parts.password or '')}")
