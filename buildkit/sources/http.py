"""Files from URLs, without any token. What they hash to is learned by reading them once, and nothing is kept on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from buildkit.errors import SourceFailed
from buildkit.events import Began, Emit, Ended, Moved, silent
from buildkit.machine.answers import TRANSIENT, number, retry_after
from buildkit.pin import File, Inventory
from buildkit.sources import ahead
from buildkit.sources.addresses import Place, origin, shown
from buildkit.sources.download import HINT, Download, Item, is_page_in_place
from buildkit.sources.patience import Cut, Patience, Wait, announced, sleep
from buildkit.sources.transfer import Response, Transport
from buildkit.spec import Download as Named


class Http:
    """Files from URLs, each under the path that the recipe gives it."""

    distant = True

    def __init__(
        self, urls: Sequence[Named], *, window: int = ahead.WINDOW, wait: Wait = sleep, emit: Emit = silent
    ) -> None:
        self._urls = urls
        self._window = ahead.Window(window)
        self._wait = announced(wait, emit)
        self._emit = emit

    def vouches(self, file: File) -> bool:
        """Never: what comes over a line, or lies where others write, is proven."""
        return False

    def remedy(self, file: File) -> str:
        """What to do where the file turned out not to be the pinned one."""
        return "if the change is meant, take it with --upgrade"

    def inventory(self) -> Inventory:
        """Reads every file once to learn its size and sha256, but for those whose sha256 the recipe gives.

        Of those it asks the size only. Raises SourceFailed where a server does not give the file, or gives another one.
        """
        files = sorted((self._pinned(named) for named in self._urls), key=lambda file: file.path)
        hosts = sorted({origin(named.url)[1] for named in self._urls})
        return Inventory("http", ", ".join(hosts), tuple(files))

    def open(self, file: File, start: int = 0) -> Iterator[bytes]:
        """Yields a file's bytes from ``start`` on; raises SourceFailed."""
        yield from ahead.read(self._download(file.url, file.size, file.sha256), file.size, start, self._window)

    def _pinned(self, named: Named) -> File:
        size = self._size(named.url) if named.sha256 else None
        if named.sha256 and size is not None:
            return File(named.file_path, size, sha256=named.sha256, url=named.url)
        size, found = self._hashed(named)
        return File(named.file_path, size, sha256=found, url=named.url)

    def _hashed(self, named: Named) -> tuple[int, str]:
        key = f"download {named.file_path}"
        self._emit(Began(key, named.file_path, None))
        try:
            found = self._read_once(named, key)
        except BaseException:
            self._emit(Ended(key, "failed"))
            raise
        self._emit(Ended(key, "read"))
        return found

    def _read_once(self, named: Named, key: str) -> tuple[int, str]:
        """Size and sha256 of what one version of the file holds: from its first byte on again, where versions look the same."""
        patience = Patience(shown(named.url), self._wait, HINT)
        while True:
            digest, size = hashlib.sha256(), 0
            try:
                download = self._download(named.url, None, named.sha256 or "")
                for piece in download.read():
                    digest.update(piece)
                    size += len(piece)
                    self._emit(Moved(key, len(piece)))
            except Cut as cut:
                patience.again(cut, size)
                continue
            if named.sha256 and named.sha256 != digest.hexdigest():
                raise download.web_page() if download.is_page else _other(named, digest.hexdigest())
            return size, digest.hexdigest()

    def _size(self, url: str) -> int | None:
        """What the server says the file's size is; None where it does not."""
        transport, patience = Transport(url), Patience(shown(url), self._wait, HINT)
        while True:
            try:
                answer = transport.get(Place(url), {}, lambda headers: None, "HEAD")
                answer.finish()
                status, headers = answer.response.status, answer.response.headers
                if status in TRANSIENT and status < 500:
                    raise Cut(f"{origin(answer.place.url)[1]} answers {status}", retry_after(headers))
            except Cut as cut:
                patience.again(cut)
                continue
            # Some servers refuse HEAD, or fail at it: then the file is read, which says what is wrong if it is not there.
            # Others answer it with the length of the body that they do not send.
            tells = status == 200 and "Content-Encoding" not in headers and not is_page_in_place(url, headers)
            return number(headers, "Content-Length") or None if tells else None

    def _download(self, url: str, size: int | None, sha256: str) -> Download:
        return Download(Transport(url), Item(shown(url), url, size, sha256), _refused, self._wait)


def _other(named: Named, found: str) -> SourceFailed:
    return SourceFailed(
        f"{shown(named.url)} hashes to {found}, and the recipe says {named.sha256}",
        hint="if the file was replaced on purpose, write its new sha256 into the recipe",
    )


def _refused(response: Response, place: Place) -> SourceFailed:
    match response.status:
        case 404 | 410:
            return SourceFailed(
                f"{shown(place.url)} is not there ({response.status})", hint="check the URL in the recipe"
            )
        case 401 | 403:
            return SourceFailed(
                f"{shown(place.url)} may not be read by everybody ({response.status})",
                hint="no credentials are ever sent to a URL; download the file and use its folder as the model",
            )
    return SourceFailed(f"{shown(place.url)} answers {response.status}", hint="check the URL in the recipe")
