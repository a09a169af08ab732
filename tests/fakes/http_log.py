"""What was asked of a fake server and what it answered, readable while it serves."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Request:
    """One request as it stands: `status` 0 means not answered (yet, or ever). Sizes are of bodies, in bytes.

    `path` is the target as it came, with its query; `headers` have names in lower case.
    """

    method: str
    origin: str
    path: str
    headers: Mapping[str, str]
    status: int
    request_bytes: int
    response_bytes: int

    @property
    def range(self) -> str | None:
        """The Range header, None if there was none."""
        return self.headers.get("range")

    @property
    def bytes_sent(self) -> int:
        """Body bytes sent to the client."""
        return self.response_bytes


@dataclass
class Entry:
    """A request being served. Counters move before the bytes do, so that a client which has its last byte
    never finds the record behind."""

    method: str
    origin: str
    target: str
    headers: Mapping[str, str]
    status: int = 0
    request_bytes: int = 0
    response_bytes: int = 0


@dataclass
class Log:
    """Every request of one fake, over all its listeners, in order of arrival."""

    _entries: list[Entry] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self, method: str, origin: str, target: str, headers: Mapping[str, str]) -> Entry:
        """Put a request that has just arrived on record."""
        entry = Entry(method, origin, target, headers)
        with self._lock:
            self._entries.append(entry)
        return entry

    @property
    def requests(self) -> tuple[Request, ...]:
        """The record as it stands now."""
        with self._lock:
            entries = list(self._entries)
        return tuple(
            Request(e.method, e.origin, e.target, e.headers, e.status, e.request_bytes, e.response_bytes)
            for e in entries
        )

    def clear(self) -> None:
        """Forget what was asked so far."""
        with self._lock:
            self._entries.clear()
