"""What a loopback server can be told to do wrong, to which request, and at which byte.

A `Fault` is an action and the requests it is meant for. `Faults` is a server's list of them, and its record
of those that really happened, so that a test can assert that the fault it arranged was met.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

Side = Literal["response", "request"]


class Asked(Protocol):
    """What a fault may look at: the request line and headers, as they came."""

    @property
    def method(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def origin(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, str]: ...


@dataclass(frozen=True)
class Status:
    """Answer `code` in place of the server. The request's body is read whole first, or, with
    `after_request_bytes`, only that many bytes of it: an error in the middle of an upload."""

    code: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    after_request_bytes: int | None = None


@dataclass(frozen=True)
class Cut:
    """Reset the connection after exactly `at_byte` body bytes were delivered to the client ("response")
    or taken from it ("request"). `Cut(0)` comes after the response's headers; `Cut(0, "request")` before
    the server has acted at all."""

    at_byte: int = 0
    side: Side = "response"


@dataclass(frozen=True)
class CutHead:
    """Close the connection (FIN) within the response's headers, after `keep` bytes of this one's value; does not
    count where the response has no such header."""

    name: str
    keep: int = 0


@dataclass(frozen=True)
class Interim:
    """Send `amount` interim answers (RFC 9110, 15.2) before the answer."""

    code: int
    amount: int = 1


@dataclass(frozen=True)
class Hangup:
    """Reset the connection instead of answering, after the server has acted: the lost answer."""


@dataclass(frozen=True)
class Stall:
    """Go silent after `at_byte` body bytes, until the event is set or the server is stopped."""

    at_byte: int
    until: threading.Event
    side: Side = "response"


@dataclass(frozen=True)
class Corrupt:
    """Flip every bit of the body byte at this offset."""

    at_byte: int
    side: Side = "response"


@dataclass(frozen=True)
class Short:
    """Send `by` bytes too few: `honest` says so in Content-Length, otherwise the promised length is the
    full one and the connection is closed (FIN) early."""

    by: int
    honest: bool = True


@dataclass(frozen=True)
class Long:
    """Send `by` zero bytes too many: `honest` says so in Content-Length, otherwise they come after the
    promised length and the connection is closed."""

    by: int
    honest: bool = True


@dataclass(frozen=True)
class Redirect:
    """Answer with `code` and `Location: to` in place of the server."""

    to: str
    code: int = 307


@dataclass(frozen=True)
class DropHeader:
    """Leave this header out of the response; does not count where the response has no such header."""

    name: str


@dataclass(frozen=True)
class AddHeader:
    """Set this header on the response, in place of the one the server would send."""

    name: str
    value: str


Action = Status | Cut | CutHead | Interim | Hangup | Stall | Corrupt | Short | Long | Redirect | DropHeader | AddHeader


@dataclass(frozen=True)
class Fault:
    """An action and the requests it is for.

    `method` is "GET", "GET|HEAD" or "" for any; `path` a regular expression searched in the path with its
    query; `origin` the listener ("hub", "cdn", "registry" ...) or "" for any. Of the occasions on which the
    action could happen the first `skip` pass unharmed and the next `times` (None: all) are hit. A request
    whose body never reaches `at_byte` is no occasion.
    """

    action: Action
    method: str = ""
    path: str = ""
    origin: str = ""
    when: Callable[[Asked], bool] | None = None
    skip: int = 0
    times: int | None = 1

    def fits(self, asked: Asked) -> bool:
        """True if this fault is meant for that request, whatever its count says."""
        if self.method and asked.method not in self.method.split("|"):
            return False
        if self.origin not in ("", asked.origin) or not re.search(self.path, asked.target):
            return False
        return self.when is None or self.when(asked)


@dataclass(frozen=True)
class Fired:
    """A fault that happened: to which request, and at which byte of the body (None: before it)."""

    fault: Fault
    method: str
    target: str
    at_byte: int | None = None


@dataclass(eq=False)
class Armed:
    """A fault in a server's list with its own count of occasions."""

    fault: Fault
    occasions: int = 0


class Faults:
    """A server's faults; safe to change from a test while requests are served."""

    def __init__(self) -> None:
        self._armed: list[Armed] = []
        self._fired: list[Fired] = []
        self._changed = threading.Condition()

    def add(
        self,
        action: Action,
        *,
        method: str = "",
        path: str = "",
        origin: str = "",
        when: Callable[[Asked], bool] | None = None,
        skip: int = 0,
        times: int | None = 1,
    ) -> Fault:
        """Switch a fault on; the arguments are those of `Fault`."""
        fault = Fault(action, method, path, origin, when, skip, times)
        with self._changed:
            self._armed.append(Armed(fault))
        return fault

    def clear(self) -> None:
        """Switch every fault off. What has fired stays on record."""
        with self._changed:
            self._armed.clear()

    @property
    def fired(self) -> tuple[Fired, ...]:
        """Every fault that happened, in order. It is on record before the client can notice it."""
        with self._changed:
            return tuple(self._fired)

    def wait(self, count: int = 1, deadline: float = 10.0) -> tuple[Fired, ...]:
        """Block until `count` faults have fired; TimeoutError after `deadline` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._fired) >= count, deadline):
                raise TimeoutError(f"{len(self._fired)} of {count} faults fired within {deadline} s")
            return tuple(self._fired)

    def matching(self, asked: Asked) -> list[Armed]:
        """The faults meant for this request, in the order in which they were added. For servers."""
        with self._changed:
            armed = list(self._armed)
        return [each for each in armed if each.fault.fits(asked)]

    def claim(self, armed: Armed, asked: Asked, at_byte: int | None = None) -> bool:
        """Count an occasion; True if the fault is to happen now, which is then on record. For servers."""
        with self._changed:
            occasion, armed.occasions = armed.occasions, armed.occasions + 1
            fault = armed.fault
            if armed not in self._armed or occasion < fault.skip:
                return False
            if fault.times is not None and occasion >= fault.skip + fault.times:
                return False
            self._fired.append(Fired(fault, asked.method, asked.target, at_byte))
            self._changed.notify_all()
            return True
