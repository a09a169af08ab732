"""What a server's answer says: how large the file is, which part of it this is, how long to wait; and being done with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError

REDIRECTS = frozenset({301, 302, 303, 307, 308})
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524})
"""What may be answered otherwise a moment later; from 520 on by Cloudflare, where the server behind it does not answer it."""
_DRAINED = 64 * 1024
_CONTENT_RANGE = re.compile(r"bytes\s+(?:(\d{1,19})-(\d{1,19})|\*)/(\d{1,19}|\*)", re.ASCII)
_RATE_LIMIT = re.compile(r";\s*t\s*=\s*(\d{1,9})", re.ASCII)
_LINK = re.compile(r'<([^<>]*)>((?:\s*;\s*[\w*-]+\s*(?:=\s*(?:"[^"]*"|[^\s",;]+))?)*)')
_NEXT = re.compile(r';\s*rel\s*=\s*(?:"(?:[^"]*\s)?next(?:\s[^"]*)?"|next)(?=\s|;|$)', re.IGNORECASE)


@dataclass(frozen=True)
class Part:
    """A ``Content-Range`` (RFC 9110 14.4): the first byte, one past the last, and the size of the whole where it is told."""

    start: int
    stop: int
    total: int | None


def content_range(headers: Mapping[str, str]) -> Part | None:
    """Reads ``Content-Range``; None where it is absent or malformed. ``bytes */N`` reads as the empty part of N bytes."""
    found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if not found:
        return None
    total = None if found[3] == "*" else int(found[3])
    if found[1] is None:
        return Part(0, 0, total)
    return Part(int(found[1]), int(found[2]) + 1, total)


def number(headers: Mapping[str, str], name: str) -> int | None:
    """A header that is a number of bytes; None where it is absent or something else."""
    text = headers.get(name, "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait: ``Retry-After`` as seconds or date (RFC 9110 10.2.3), else the hub's ``RateLimit``."""
    text = headers.get("Retry-After", "").strip()
    seconds = number(headers, "Retry-After")
    if seconds is not None:
        return float(seconds)
    if text:
        return _until(text, headers.get("Date", ""))
    limit = _RATE_LIMIT.search(headers.get("RateLimit", ""))
    return float(limit[1]) if limit else None


def next_page(headers: Mapping[str, str]) -> str | None:
    """The URL of the page that follows this one: the ``Link`` whose relation is ``next`` (RFC 8288); None on the last page."""
    links = _LINK.findall(headers.get("Link", ""))
    return next((url for url, parameters in links if _NEXT.search(parameters)), None)


def is_web_page(headers: Mapping[str, str]) -> bool:
    """Whether the answer says that it is a page for a browser."""
    return headers.get("Content-Type", "").partition(";")[0].strip().lower() in ("text/html", "application/xhtml+xml")


def etag(headers: Mapping[str, str]) -> str:
    """The strong ETag, or nothing: a weak one does not promise the same bytes (RFC 9110 8.8.1)."""
    text = headers.get("ETag", "").strip()
    return text if text.startswith('"') else ""


def dated(headers: Mapping[str, str]) -> str:
    """``Last-Modified``, where it proves as much as a strong ETag and there is none of any sort, or nothing (RFC 9110 8.8.2.2).

    Within a minute before ``Date`` the file may have changed twice, or the two may come from different clocks.
    """
    text = headers.get("Last-Modified", "").strip()
    modified, now = _date(text), _date(headers.get("Date", ""))
    if "ETag" in headers or modified is None or now is None or now - modified < timedelta(minutes=1):
        return ""
    return text


def is_there(answer: BaseHTTPResponse) -> bool:
    """What a HEAD says of a blob, done with the answer: a registry that keeps blobs elsewhere sends there only for those it has."""
    drain(answer)
    return answer.status == 200 or answer.status in REDIRECTS


def read_whole(answer: BaseHTTPResponse, most: int) -> bytes:
    """An answer's body to its end, or one byte more than ``most``; raises urllib3's HTTPError where it is cut off before.

    Where nothing is decoded one call of ``read`` returns what came before a cut as if it were all; only the next one raises.
    """
    found = b""
    while len(found) <= most and (piece := answer.read(most + 1 - len(found))):
        found += piece
    return found


def drain(answer: BaseHTTPResponse) -> None:
    """Reads the rest of an answer, so that its connection can be used again, and closes one that is long or endless."""
    try:
        left = answer.length_remaining
        if left is None or left <= _DRAINED:
            answer.read(_DRAINED, decode_content=False)
    except (HTTPError, OSError):
        pass
    # What was read to its end was released already; closing it does nothing more.
    answer.close()
    answer.release_conn()


def _until(date: str, server_date: str) -> float | None:
    """Seconds until a date by the server's own clock, where it tells it: ours may be wrong."""
    then = _date(date)
    if then is None:
        return None
    now = _date(server_date) or datetime.now(UTC)
    return max(0.0, (then - now).total_seconds())


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
