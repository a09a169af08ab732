"""A request to a registry, or to a server that it names, that had no answer: whether that may pass, and what is told of it."""

from __future__ import annotations

import re

import urllib3
from urllib3.exceptions import NameResolutionError, NewConnectionError, ProxyError, SSLError

from buildkit.errors import RegistryFailed, RegistryUnreachable
from buildkit.machine import proxies
from buildkit.machine.answers import drain, retry_after
from buildkit.registries.locations import netloc
from buildkit.registries.refusals import error_body, explained

_TOO_MANY = 429


class Lost(Exception):
    """A request that may be made again: the connection broke, or the server is busy. ``wait`` in seconds, if it said.

    ``peer`` is the server where it is not the registry itself. ``absent``: nobody listened at all; ``hurried``: it was asked
    more often than it likes.
    """

    def __init__(
        self, what: str, wait: float | None = None, *, peer: str = "", absent: bool = False, hurried: bool = False
    ) -> None:
        super().__init__(what)
        self.wait = wait
        self.peer = peer
        self.absent = absent
        self.hurried = hurried

    def failure(self, host: str) -> RegistryUnreachable:
        """What is told of it after the last try; ``host`` is the registry."""
        peer = self.peer or host
        if self.hurried:
            return RegistryUnreachable(
                f"{peer} asks to slow down: {self}",
                hint="wait for some minutes, then run the same command again; who is logged in may often ask more",
            )
        problem = "cannot be reached" if self.absent else "does not answer as it should"
        who = "the registry" if peer == host else peer
        return RegistryUnreachable(
            f"{peer} {problem}: {self}",
            hint=f"check that {who} is up and that this machine reaches it, then run the same command again",
        )


def busy(answer: urllib3.BaseHTTPResponse, peer: str = "") -> Lost:
    """An answer that is TRANSIENT, with the server's own words; done with the answer."""
    said = explained(error_body(answer))
    drain(answer)
    what = f"it answered {answer.status}" + (f" ({said})" if said else "")
    return Lost(what, retry_after(answer.headers), peer=peer, hurried=answer.status == _TOO_MANY)


def broken(error: Exception, url: str, peer: str = "") -> Exception:
    """What a connection's failure means: Lost where it may pass, RegistryFailed where it will not."""
    if isinstance(error, SSLError):
        return RegistryFailed(
            f"the certificate of {peer or netloc(url)} is not trusted: {reason(error)}",
            hint="name the certificate authority's file in SSL_CERT_FILE",
        )
    if isinstance(error, ProxyError):
        return _stopped_by_proxy(error, netloc(url))
    return Lost(reason(error), peer=peer, absent=isinstance(error, NewConnectionError))


def reason(error: BaseException) -> str:
    """What went wrong with a connection, without what a library says around it."""
    inner = getattr(error, "reason", None) or error
    text = str(inner.args[-1] if isinstance(inner, Exception) and inner.args else inner)
    if isinstance(inner, NameResolutionError):
        return "the name cannot be resolved"
    text = re.sub(r"^.*(?:new connection|>|\)): ", "", text)
    return re.sub(r"\[Errno -?\d+\] ", "", text)[:300]


def _stopped_by_proxy(error: ProxyError, host: str) -> Exception:
    status = proxies.refusal(error)
    if status:
        what, hint = proxies.stopped(host, status)
        return RegistryFailed(what, hint=hint)
    return Lost(f"the proxy on the way to {host} does not let us through: {reason(error)}")
