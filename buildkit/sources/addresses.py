"""URLs: where one belongs, how it is shown to a person, and which redirect may be followed."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urljoin

from buildkit.errors import SourceFailed
from buildkit.machine.connections import is_internal, is_loopback
from buildkit.machine.origins import Origin, origin_of
from buildkit.sources.selection import printable


@dataclass(frozen=True)
class Place:
    """A URL on the way to a file. ``trusted``: every hop was on the home's origin, so that its token may go along."""

    url: str
    trusted: bool = True


def origin(url: str) -> Origin:
    """Scheme, host and port; raises SourceFailed where the URL is none of http or https."""
    found = origin_of(url)
    if found is None:
        raise SourceFailed(f"{shown(url)} is not an http or https URL")
    return found


def shown(url: str) -> str:
    """A URL without user name and query, which may hold secrets."""
    bare = url.partition("?")[0].partition("#")[0]
    scheme, separator, rest = bare.partition("://")
    host, slash, path = rest.partition("/")
    return printable(f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}")


def next_hop(place: Place, location: str, home: str) -> Place:
    """Where a redirect leads; raises SourceFailed where it must not be followed.

    Refused are a way from https down to http, and a private address that the ``home`` (the hub, the URL of the recipe)
    is not on itself: a file server must not send us to this machine's or this network's inner services.
    """
    url = _joined(place.url, location)
    scheme, host, port = origin(url)
    if scheme == "http" and origin(place.url)[0] == "https":
        raise SourceFailed(f"{shown(place.url)} redirects from https to {shown(url)}, which is not encrypted")
    if scheme == "http" and is_loopback(origin(home)[1]) and not is_loopback(host):
        raise SourceFailed(
            f"{shown(place.url)} redirects to {shown(url)}, which is not encrypted", hint="http is for loopback alone"
        )
    if is_internal(host) and not is_internal(origin(home)[1]):
        raise SourceFailed(
            f"{shown(place.url)} redirects to the private address {host}, which is refused",
            hint="only a hub or server that is on a private address itself may redirect to one",
        )
    return Place(url, place.trusted and (scheme, host, port) == origin(home))


def _joined(url: str, location: str) -> str:
    # A header is read as Latin-1 (RFC 9110 5.5), and servers write UTF-8 into it.
    with suppress(UnicodeError):
        location = location.encode("latin-1").decode("utf-8")
    try:
        return urljoin(url, location).partition("#")[0]
    except ValueError:
        raise SourceFailed(f"{shown(url)} redirects to something that is not a URL") from None
