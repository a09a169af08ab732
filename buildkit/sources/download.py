"""The bytes of one file over HTTP, complete or an explained failure: resumed where a transfer stopped, sizes checked at once."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import urlsplit

from urllib3.exceptions import HTTPError

from buildkit.errors import SourceFailed
from buildkit.machine.answers import TRANSIENT, content_range, dated, etag, is_web_page, number, retry_after
from buildkit.sources.addresses import Place, origin
from buildkit.sources.patience import Cut, Patience, Wait
from buildkit.sources.transfer import Answer, Response, Transport, explained

PIECE = 512 * 1024
"""Bytes that are handed on at once: half of it takes a sixth more of the processor's time (measured), twice as much gains nothing."""

HINT = "run it again; if it goes on, check the network between here and the server"
Refused = Callable[[Response, Place], SourceFailed]


class RangesIgnored(Exception):
    """The server answers a request for a part with the whole file."""


@dataclass(frozen=True)
class Item:
    """A file to fetch: what to call it, its URL, its size in bytes and its sha256 where they are known."""

    what: str
    url: str
    size: int | None
    sha256: str = ""


def is_page_in_place(url: str, headers: Mapping[str, str]) -> bool:
    """Whether an answer is a page for a browser, where the URL names none."""
    return is_web_page(headers) and not _PAGES.search(urlsplit(url).path)


class Download:
    """A file that is fetched, whole or in parts, by one thread or several.

    ``refused`` explains an answer of the home itself that is neither the file nor worth another try.
    """

    def __init__(self, transport: Transport, item: Item, refused: Refused, wait: Wait) -> None:
        self.item = item
        self.size = item.size
        self._transport = transport
        self._refused = refused
        self._wait = wait
        self._version = ""
        self.is_page = False
        self._signed: Place | None = None
        self._lock = threading.Lock()

    def read(self, start: int = 0, stop: int | None = None) -> Generator[bytes, None, None]:
        """Yields the bytes from ``start`` up to ``stop`` (the end), in pieces of about ``PIECE`` bytes; raises SourceFailed.

        A part with a ``stop`` raises RangesIgnored where the server does not give parts. A file without a size raises Cut
        where the server does not tell one version of it from another: what came before may not be put together with more.
        """
        patience = Patience(self.item.what, self._wait, HINT)
        position = start
        while position == 0 or position != (stop or self.size):
            try:
                with closing(self._body(position, stop)) as pieces:
                    for piece in pieces:
                        position += len(piece)
                        yield piece
                return
            except Cut as cut:
                if self.item.size is None and not self._version:
                    raise
                patience.again(cut, position)

    def _body(self, start: int, stop: int | None) -> Generator[bytes, None, None]:
        """What one answer brings of the bytes from ``start`` to ``stop``; raises Cut where that is not all of them."""
        answer = self._ask(start, stop)
        try:
            begins, ends = self._span(answer, start, stop)
            yield from self._wanted(answer, begins, start, ends)
        finally:
            answer.finish()

    def _wanted(self, answer: Answer, begins: int, start: int, ends: int | None) -> Iterator[bytes]:
        """The answer's body from byte ``start`` of the file on, where the body begins with byte ``begins``."""
        position = begins
        for piece in _pieces(answer):
            end = position + len(piece)
            if ends is not None and end > ends:
                raise self._wrong_size(f"at least {end:,}") if ends == self.size else self._too_much()
            if end > start:
                yield piece[max(start - position, 0) :]
            position = end
        if ends is not None and position < ends:
            if self.is_page and "Content-Length" not in answer.response.headers:
                raise self.web_page()
            raise Cut(f"the connection to {origin(answer.place.url)[1]} ended early")
        if self.size is None:
            self.size = position

    def _too_much(self) -> SourceFailed:
        return SourceFailed(f"{self.item.what}: the server was asked for a part, and answers with more")

    def _ask(self, start: int, stop: int | None) -> Answer:
        signed = self._signed
        headers = {}
        if start or stop is not None:
            headers["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
            if self._version and self.item.size is None:
                headers["If-Range"] = self._version
        try:
            answer = self._transport.get(signed or Place(self.item.url), headers, self._check_announced)
        except Cut:
            self._forget(signed)
            raise
        status = answer.response.status
        if status in (200, 206, 416):
            # A link to other storage is signed for a while: it is used again, so that the hub is asked once for a file.
            self._signed = None if answer.place.trusted else answer.place
            return answer
        answer.finish()
        self._forget(signed)
        where = origin(answer.place.url)[1]
        if status in TRANSIENT:
            raise Cut(f"{where} answers {status}", retry_after(answer.response.headers))
        if signed or (not answer.place.trusted and status in _EXPIRED):
            raise Cut(f"{where} answers {status}, as if its link had expired", at_once=bool(signed))
        raise self._refused(answer.response, answer.place)

    def _span(self, answer: Answer, start: int, stop: int | None) -> tuple[int, int | None]:
        """The first byte of the file that an answer brings, and one past its last, as far as it says; sizes are checked."""
        headers = answer.response.headers
        encoding = headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise SourceFailed(
                f"{self.item.what}: the server compresses it ({encoding[:20]}), though it was asked not to"
            )
        if answer.response.status == 200:
            if stop is not None:
                raise RangesIgnored
            self._check_page(headers)
            self._check_version(etag(headers) or dated(headers))
            self._check_size(number(headers, "Content-Length"))
            return 0, self.size
        if answer.response.status == 206:
            self._check_version(self._version_of_part(headers))
        part = content_range(headers)
        self._check_size(part.total if part else None)
        if answer.response.status == 416:
            raise SourceFailed(f"{self.item.what}: the server does not give the bytes from {start:,} on")
        if part is None or part.start != start:
            raise SourceFailed(
                f"{self.item.what}: the server was asked for byte {start:,} on, and answered another part"
            )
        length = number(headers, "Content-Length")
        wanted = self.size if stop is None else stop
        if part.stop > (wanted or part.stop) or length not in (None, part.stop - part.start):
            raise self._too_much()
        return part.start, wanted

    def _check_announced(self, headers: Mapping[str, str]) -> None:
        """What a hub says of a large file while it redirects: its size, and its sha256 as the ETag."""
        self._check_size(number(headers, "X-Linked-Size"))
        told = headers.get("X-Linked-Etag", "").strip().removeprefix("W/").strip('"')
        if (
            self.item.sha256
            and self.item.size is not None
            and len(told) == 64
            and told.isalnum()
            and told != self.item.sha256
        ):
            raise SourceFailed(
                f"{self.item.what}: the hub now has the content {told}, and {self.item.sha256} was pinned", hint=_MOVED
            )

    def _check_page(self, headers: Mapping[str, str]) -> None:
        """A page in a file's place is refused where nothing is known that would tell it from the file later."""
        self.is_page = is_page_in_place(self.item.url, headers)
        if self.is_page and self.item.size is None and not self.item.sha256:
            raise self.web_page()

    def web_page(self) -> SourceFailed:
        """The failure of an answer that is a page for a browser."""
        return SourceFailed(
            f"{self.item.what}: the server answers with a web page, perhaps a login page, and not with the file",
            hint="open it in a browser: the network or the server may ask for a login"
            + ("; if this is the file, write its sha256 into the recipe" if self.item.size is None else ""),
        )

    def _check_size(self, told: int | None) -> None:
        if told is not None and self.size is not None and told != self.size:
            raise self._wrong_size(f"{told:,}")
        if self.size is None:
            self.size = told

    def _check_version(self, now: str) -> None:
        """A file without a pinned size must not be put together from two versions."""
        if self._version and now != self._version and self.item.size is None:
            raise SourceFailed(f"{self.item.what}: it was changed on the server while it was read", hint="run it again")
        self._version = now

    def _version_of_part(self, headers: Mapping[str, str]) -> str:
        """A part must have the ETag of the whole, and its date it need not have (RFC 9110 15.3.7)."""
        if not self._version.startswith('"'):
            return headers.get("Last-Modified", self._version).strip()
        if self.item.size is None and "ETag" not in headers:
            self._version = ""
            raise Cut("the server does not say which version of the file its part is of")
        return etag(headers)

    def _wrong_size(self, told: str) -> SourceFailed:
        if self.is_page:
            return self.web_page()
        return SourceFailed(
            f"{self.item.what}: it has {told} bytes on the server, and {self.size:,} were pinned", hint=_MOVED
        )

    def _forget(self, signed: Place | None) -> None:
        with self._lock:
            if self._signed is signed:
                self._signed = None


_PAGES = re.compile(r"\.x?html?$", re.IGNORECASE)
_EXPIRED = (400, 401, 403)
"""How storage answers when a signed link is too old: S3 and CloudFront with 403 or 400, others with 401."""
_MOVED = "it was replaced after it was pinned; if that is meant, take it with 'modelpack lock --upgrade'"


def _pieces(answer: Answer) -> Iterator[bytes]:
    """The body in pieces of about ``PIECE`` bytes; what came before a cut is yielded before the Cut is raised."""
    response = answer.response
    gathered: list[bytes] = []
    amount = 0
    failure: Cut | SourceFailed | None = None
    while True:
        try:
            piece = response.read1(PIECE, decode_content=False)
        except (HTTPError, OSError) as error:
            piece, failure = b"", explained(error, answer.place.url)
        if not piece:
            break
        gathered.append(piece)
        amount += len(piece)
        if amount >= PIECE // 2:
            yield gathered[0] if len(gathered) == 1 else b"".join(gathered)
            gathered, amount = [], 0
    if gathered:
        yield b"".join(gathered)
    if failure:
        raise failure
