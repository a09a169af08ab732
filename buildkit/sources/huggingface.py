"""A model on a Hugging Face hub, listed and streamed without a byte on any disk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import quote

from buildkit.card import Card
from buildkit.errors import SourceFailed
from buildkit.events import Emit, Said, Warned, silent
from buildkit.pin import File, Inventory
from buildkit.sources import ahead, hub_cache, local
from buildkit.sources.addresses import Place, shown
from buildkit.sources.download import Download, Item
from buildkit.sources.hub_api import HubApi
from buildkit.sources.listing import Hub, Listed, Located, pinned
from buildkit.sources.patience import Wait, announced, sleep
from buildkit.sources.refusals import Asked, refusal, refuse_offline
from buildkit.sources.selection import refuse_nothing, selected
from buildkit.sources.token import Token, users_token
from buildkit.sources.transfer import Response, Transport
from buildkit.spec import HuggingFaceRef


class HuggingFace:
    """The files of a repository that a recipe selects.

    ``token`` finds the token when it is first needed: by default as the hub's own library does. ``pinned`` fixes name and
    commit to what an earlier run found. ``window`` is how many bytes may be in memory for files that are read ahead, all
    together. ``wait`` sleeps that many seconds.
    """

    distant = True

    def __init__(
        self,
        ref: HuggingFaceRef,
        endpoint: str,
        token: Callable[[], Token | None] = users_token,
        *,
        pinned: Inventory | None = None,
        window: int = ahead.WINDOW,
        wait: Wait = sleep,
        emit: Emit = silent,
    ) -> None:
        self.ref = ref
        self.endpoint = endpoint.rstrip("/")
        self.wait = announced(wait, emit)
        self._find_token = token
        self._tokens: list[Token | None] = []
        self._places = [(pinned.name, pinned.commit)] if pinned else []
        self._window = ahead.Window(window)
        self._emit = emit
        self._lock = threading.RLock()
        self._transport = Transport(self.endpoint, self._token)

    def vouches(self, file: File) -> bool:
        """Never: what comes over a line, or lies where others write, is proven."""
        return False

    def remedy(self, file: File) -> str:
        """What to do where the file turned out not to be the pinned one."""
        found = self.cached(file)
        if found:
            return f"it was read from the cache of the hub's library, where it is damaged: delete {found.resolve()}"
        return "run it again; if it goes on, the hub or a proxy on the way gives something else than the hub lists"

    def inventory(self) -> Inventory:
        """Asks for the revision's commit and its files; raises SourceFailed, and InvalidInput where nothing is selected.

        A license that forbids commercial use, and a gate, are told: nobody should find them after the push.
        """
        located = self.locate()
        with self._lock:
            self._places = [(located.name, located.commit)]
        if located.card.remarks:
            self._emit(Said(f"{located.name} has {located.card.licensed or 'no license'}{located.card.remarks}"))
        return self.select(located, self.files(located))

    def locate(self) -> Located:
        """Asks what the revision means; raises SourceFailed or InvalidInput."""
        return self._hub().locate()

    def files(self, located: Located) -> list[Listed]:
        """Asks for every file of a commit; raises SourceFailed."""
        return self._hub().files(located)

    def select(self, located: Located, entries: Sequence[Listed]) -> Inventory:
        """What the recipe takes of a commit's files; asks nothing, raises InvalidInput where that is nothing."""
        chosen = selected(entries, self.ref.include, self.ref.exclude, key=lambda entry: entry.path)
        refuse_nothing(chosen, [entry.path for entry in entries], located.name)
        return Inventory("huggingface", located.name, pinned(chosen, located.name), self.ref.revision, located.commit)

    def card(self) -> Card:
        """The model's card as the hub has it now; raises SourceFailed or InvalidInput."""
        return self._hub().card()

    def open(self, file: File, start: int = 0) -> Iterator[bytes]:
        """Yields a file's bytes from ``start`` on: from the hub library's cache where it is there, else from the hub."""
        found = self.cached(file)
        if found:
            return local.blocks(found, file, start, f"{file.path} in the hub's cache")
        return self.streamed(file, start)

    def cached(self, file: File) -> Path | None:
        """Where the hub's library already has the file on this disk, without asking anybody; None where it has not."""
        name, commit = self.place()
        return hub_cache.cached(name, commit, file)

    def place(self) -> tuple[str, str]:
        """The repository's name and the commit whose files are opened; asks the hub where nothing has pinned them yet."""
        with self._lock:
            if not self._places:
                located = self._hub().locate()
                self._places = [(located.name, located.commit)]
            return self._places[0]

    def token(self) -> Token | None:
        """The token, where the hub may be told it: over TLS or on this machine."""
        return self._transport.token()

    def asked(self, commit: str = "") -> Asked:
        """What an error names: the revision, or the ``commit`` that it was pinned to."""
        return Asked(self.endpoint, self.ref.hf, self.ref.revision, self.token() is not None, commit)

    def streamed(self, file: File, start: int) -> Iterator[bytes]:
        """Yields a file's bytes from ``start`` on, from the hub; raises SourceFailed."""
        refuse_offline(f"{file.path} of {self.ref.hf} is not in the hub's cache")
        name, commit = self.place()
        url = f"{self.endpoint}/{name}/resolve/{commit}/{quote(file.path)}"
        item = Item(f"{file.path} of {name}", url, file.size, file.sha256)
        refused = partial(self._refused, commit=commit)
        download = Download(self._transport, item, refused, self.wait)
        yield from ahead.read(download, file.size, start, self._window)

    def _refused(self, response: Response, place: Place, commit: str = "") -> SourceFailed:
        if place.trusted:
            return refusal(self.asked(commit), response.status, response.headers)
        return SourceFailed(
            f"{shown(place.url)}, where the hub sends us, answers {response.status}", hint="run it again later"
        )

    def _hub(self) -> Hub:
        refuse_offline(f"{self.ref.hf} cannot be asked for")
        if self._token() and not self.token():
            self._emit(
                Warned("the Hugging Face token is not sent, since the hub is plain HTTP", "use https for the hub")
            )
        return Hub(self.asked(), HubApi(self._transport, self._refused, self.wait))

    def _token(self) -> Token | None:
        with self._lock:
            if not self._tokens:
                self._tokens = [self._find_token()]
            return self._tokens[0]
