"""The origin of a URL: who is asked, and who may be told a secret that is meant for it."""

from __future__ import annotations

from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

Origin = tuple[str, str, int]
_PORTS = {"http": 80, "https": 443}


def origin_of(url: str) -> Origin | None:
    """Scheme, host and port, the scheme's own where none is written (RFC 9110, 4.2.3); None for what is no http or https URL.

    Read by the library that also connects: two readers may see two hosts in one URL (``https://a\\@b/``), and a login would
    go to the other one.
    """
    try:
        parts = parse_url(url)
    except LocationParseError:
        return None
    if parts.scheme not in _PORTS or not parts.host:
        return None
    host = parts.host.lower().strip("[]").rstrip(".")
    return parts.scheme, host, _PORTS[parts.scheme] if parts.port is None else parts.port
