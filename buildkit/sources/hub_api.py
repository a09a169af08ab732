"""A hub's API: small JSON answers, read whole, and asked for again where that may help."""

from __future__ import annotations

import json
from collections.abc import Iterator

from urllib3.exceptions import DecodeError, HTTPError

from buildkit.errors import SourceFailed
from buildkit.machine.answers import TRANSIENT, next_page, retry_after
from buildkit.sources.addresses import Place, next_hop, shown
from buildkit.sources.download import Refused
from buildkit.sources.patience import Cut, Patience, Wait
from buildkit.sources.transfer import Answer, Transport, explained

_MOST_PAGES = 5_000
"""Of one listing: a thousand files come with each, so only a hub that sends us in circles needs more."""
_LARGEST_ANSWER = 16 * 1024 * 1024
"""Bytes. A page of a listing has some hundred for each of its files."""
_UNREACHABLE = "check the network, a proxy (HTTPS_PROXY), and 'hub: {endpoint: ...}' in modelpack.yaml"
_NO_HUB = "check 'hub: {endpoint: ...}' in modelpack.yaml, and that no login page of a network is in between"


class HubApi:
    """Asks the hub at the transport's home, with its token and by its rules; ``refused`` explains what it will not answer."""

    def __init__(self, transport: Transport, refused: Refused, wait: Wait) -> None:
        self._transport = transport
        self._refused = refused
        self._wait = wait

    def document(self, path: str) -> object:
        """The JSON at a path of the hub; raises SourceFailed."""
        return self._asked(Place(self._transport.home + path))[0]

    def pages(self, path: str) -> Iterator[object]:
        """The JSON at a path and at every page that follows it; raises SourceFailed."""
        place, seen = Place(self._transport.home + path), set[str]()
        while place.url not in seen and len(seen) < _MOST_PAGES:
            seen.add(place.url)
            document, answer = self._asked(place)
            yield document
            following = next_page(answer.response.headers)
            if following is None:
                return
            place = next_hop(answer.place, following, self._transport.home)
        raise SourceFailed(f"the hub {shown(self._transport.home)} lists files without end")

    def unlike_a_hub(self) -> SourceFailed:
        """The failure of an answer that no hub gives."""
        return SourceFailed(f"{shown(self._transport.home)} does not answer like a Hugging Face hub", hint=_NO_HUB)

    def _asked(self, place: Place) -> tuple[object, Answer]:
        patience = Patience(f"the hub {shown(self._transport.home)}", self._wait, _UNREACHABLE)
        while True:
            try:
                # A listing is text that repeats itself: compressed it is a tenth as long.
                answer = self._transport.get(place, {"Accept-Encoding": "gzip"}, lambda headers: None)
                return self._read(answer), answer
            except Cut as cut:
                patience.again(cut)

    def _read(self, answer: Answer) -> object:
        response = answer.response
        try:
            if response.status in TRANSIENT:
                raise Cut(f"it answers {response.status}", retry_after(response.headers))
            if response.status != 200:
                raise self._refused(response, answer.place)
            content = response.read(_LARGEST_ANSWER + 1, decode_content=True)
        except DecodeError:
            raise self._unreadable(answer) from None
        except (HTTPError, OSError) as error:
            raise explained(error, answer.place.url) from None
        finally:
            answer.finish()
        if len(content) > _LARGEST_ANSWER:
            raise SourceFailed("the hub answers with more than a listing can be", hint=_NO_HUB)
        try:
            return json.loads(content)
        except RecursionError:
            raise self.unlike_a_hub() from None
        except ValueError:
            raise self._unreadable(answer) from None

    def _unreadable(self, answer: Answer) -> Cut | SourceFailed:
        """What says that it is JSON and is none was cut off where nobody told its length; anything else is no hub's."""
        if answer.response.headers.get("Content-Type", "").startswith("application/json"):
            return Cut("its answer is no whole JSON")
        return self.unlike_a_hub()
