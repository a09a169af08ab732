"""Where a registry sends us: to itself, however it writes its own name, or to somewhere that it may know."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from buildkit.errors import RegistryFailed
from buildkit.machine.connections import is_internal
from buildkit.machine.origins import origin_of


def netloc(url: str) -> str:
    """HOST[:PORT] of a URL in lower case, without the login that may stand before it."""
    return urlsplit(url).netloc.rpartition("@")[2].lower()


def is_encrypted(url: str, plain_http: Callable[[str], bool]) -> bool:
    """Whether a URL is https, or http to a host that may be spoken to so."""
    scheme = urlsplit(url).scheme
    return scheme == "https" or (scheme == "http" and plain_http(netloc(url)))


@dataclass(frozen=True)
class Home:
    """A registry that sends us somewhere: its name, its origin, and which hosts may be spoken to without TLS."""

    host: str
    origin: str
    plain_http: Callable[[str], bool]

    def located(self, where: str, base: str = "") -> str:
        """A path or ``Location`` as a URL; ``base`` is the URL that a relative one counts from, by default the registry.

        One of the registry's own begins with ``origin``, whatever port or case it was written with. Raises RegistryFailed
        for a private address that the registry is not on itself, and for plain HTTP where it is not allowed.
        """
        try:
            url = urljoin(base or self.origin + "/", where)
            host = urlsplit(url).hostname or ""
            # Libraries read such URLs differently: what was checked would not be what is asked.
            is_one = not re.search(r"[\x00-\x20\x7f\\]", url)
        except ValueError:
            is_one = False
        if not is_one:
            raise RegistryFailed(f"{self.host} points to something that is not a URL; that is not followed")
        if origin_of(url) == origin_of(self.origin):
            rest = url[len(urlsplit(url).netloc) + len(urlsplit(url).scheme) + len("://") :]
            return self.origin + (rest if rest.startswith("/") else f"/{rest}")
        if is_internal(host) and host != urlsplit(self.origin).hostname:
            raise RegistryFailed(f"{self.host} points to the private address {netloc(url)}; that is not followed")
        if not is_encrypted(url, self.plain_http):
            raise RegistryFailed(
                f"{self.host} points to {urlsplit(url).scheme}://{netloc(url)}, which is not https; that is not followed"
            )
        return url
