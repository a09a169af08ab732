"""The token goes to the hub and to nobody else, and is never shown."""

from __future__ import annotations

import pickle
import traceback

import huggingface_hub.constants
import pytest

from buildkit.errors import InvalidInput
from buildkit.events import Event, Warned
from buildkit.inputs import HuggingFaceRef
from buildkit.pin import proven
from buildkit.sources import transfer
from buildkit.sources.cached import CachedHuggingFace
from buildkit.sources.huggingface import HuggingFace
from buildkit.sources.token import Token, users_token
from tests.fakes.faults import Cut, Redirect, Status
from tests.fakes.hub import Hub
from tests.sources.conftest import LARGE, NAME, SMALL, Model, content, failure, named

SECRET = "hf_owner"


def seen(hub: Hub) -> set[tuple[str, str | None]]:
    """Which origin was sent which Authorization."""
    return {(request.origin, request.headers.get("authorization")) for request in hub.requests}


def test_the_hub_gets_the_token_and_its_storage_does_not(model: Model) -> None:
    """A token that follows a redirect is a token given away."""
    model.hub.links.refuse_authorization = False
    source = model.source(token=SECRET)
    for file in source.inventory().files:
        assert content(source, file)
    assert seen(model.hub) == {("hub", f"Bearer {SECRET}"), ("cdn", None)}


@pytest.mark.parametrize("times", [1, 3])
def test_not_while_a_transfer_is_resumed_either(model: Model, times: int) -> None:
    model.hub.links.refuse_authorization = False
    model.hub.faults.add(Cut(100_000), origin="cdn", times=times)
    model.hub.faults.add(Status(403), origin="cdn", skip=1)
    source = model.source(token=SECRET)
    assert content(source, named(source.inventory(), "weights/model.safetensors")) == LARGE
    assert not model.hub.cdn_saw_authorization


def test_not_through_a_download_into_the_cache(model: Model) -> None:
    model.hub.links.refuse_authorization = False
    source = CachedHuggingFace(model.source(token=SECRET))
    for file in source.inventory().files:
        assert content(source, file)
    assert not model.hub.cdn_saw_authorization
    assert f"Bearer {SECRET}" in {request.headers.get("authorization") for request in model.hub.requests}


def test_not_even_when_another_origin_sends_us_back(model: Model) -> None:
    """A server that we were sent to must not be able to steer a request that carries the token."""
    source = model.source(token=SECRET)
    file = named(source.inventory(), "config.json")
    model.hub.log.clear()
    model.hub.faults.add(Redirect(f"{model.hub.cdn}/elsewhere"), path="/resolve/")
    model.hub.faults.add(Redirect(f"{model.hub.endpoint}/{NAME}/resolve/{model.commit}/config.json"), origin="cdn")
    assert content(source, file) == SMALL
    assert [request.headers.get("authorization") for request in model.hub.requests] == [f"Bearer {SECRET}", None, None]


@pytest.mark.parametrize("path", ["/api/models", "/tree/"])
def test_not_when_the_hub_redirects_its_listing(model: Model, path: str) -> None:
    with Hub() as other:
        other.add(NAME, {"config.json": SMALL})
        model.hub.faults.add(Redirect(f"{other.endpoint}/api/models/{NAME}/revision/main"), path=path, times=None)
        try:
            model.source(token=SECRET).inventory()
        except Exception as error:
            assert SECRET not in repr(error)
        assert SECRET not in str(seen(other))


def test_not_when_the_next_page_is_elsewhere(model: Model) -> None:
    """The hub's library sends the token to wherever a page's Link leads."""
    with Hub() as other:
        link = {
            "Link": f'<{other.endpoint}/api/models/{NAME}/tree/main>; rel="next"',
            "Content-Type": "application/json",
        }
        model.hub.faults.add(Status(200, link, b"[]"), path="/tree/")
        assert "where the hub sends us" in str(failure(model.source(token=SECRET).inventory))
        assert seen(other) == {("hub", None)}


def test_it_is_not_sent_in_the_clear() -> None:
    """Plain HTTP beyond this machine would show the token to everybody on the way."""
    events: list[Event] = []
    ref = HuggingFaceRef(hf=NAME)
    source = HuggingFace(
        ref, "http://hub.example", lambda: Token(SECRET), emit=events.append, wait=lambda seconds: None
    )
    assert source.token() is None
    source._hub()
    assert isinstance(events[0], Warned) and "not sent" in events[0].text
    assert HuggingFace(ref, "https://hub.example", lambda: Token(SECRET)).token() is not None


def test_it_does_not_show_itself() -> None:
    token = Token(SECRET)
    for text in (repr(token), str(token), f"{token}", repr([token]), repr({"token": token})):
        assert SECRET not in text
    with pytest.raises(TypeError):
        pickle.dumps(token)
    assert token.reveal() == SECRET


@pytest.mark.parametrize("text", ["hf_a\nb", "hf_ä", "hf_a b", "hf_\x00"])
def test_a_token_that_no_header_can_hold_is_refused_without_quoting_it(text: str) -> None:
    """The HTTP library's own error would print it."""
    with pytest.raises(InvalidInput) as caught:
        Token(text)
    assert text not in "".join(traceback.format_exception(caught.value)) and "HF_TOKEN" in caught.value.hint


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_no_error_holds_it(model: Model, status: int) -> None:
    model.hub.faults.add(Status(status), path="/resolve/", times=None)
    source = model.source(token=SECRET)
    file = named(source.inventory(), "config.json")
    error = failure(lambda: list(proven(source, file)))
    assert SECRET not in "".join(traceback.format_exception(error)) + error.hint


def test_the_users_token_is_the_hub_librarys(monkeypatch: pytest.MonkeyPatch) -> None:
    assert users_token() is None
    monkeypatch.setenv("HF_TOKEN", "hf_from_environment\n")
    found = users_token()
    assert found is not None and found.reveal() == "hf_from_environment"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    assert users_token() is None, "the user told the library to send none"


def test_the_transport_does_not_show_it() -> None:
    assert SECRET not in repr(vars(transfer.Transport("https://hub.example", lambda: Token(SECRET))))
