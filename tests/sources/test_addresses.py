"""URLs and answers of servers: what is followed, what is believed, what is shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit.errors import SourceFailed
from buildkit.machine.answers import Part, content_range, next_page, number, retry_after
from buildkit.machine.connections import is_internal
from buildkit.sources.addresses import Place, next_hop, origin, shown

HUB = "https://huggingface.co"


@pytest.mark.parametrize(
    ("location", "url", "trusted"),
    [
        ("/other/resolve/x/a", "https://huggingface.co/other/resolve/x/a", True),
        ("b?x=1#frag", "https://huggingface.co/org/b?x=1", True),
        ("//huggingface.co/y", "https://huggingface.co/y", True),
        ("https://HuggingFace.co:443/y", "https://HuggingFace.co:443/y", True),
        ("https://huggingface.co:444/y", "https://huggingface.co:444/y", False),
        ("https://cdn.example/y?Signature=s", "https://cdn.example/y?Signature=s", False),
        ("https://huggingface.co.evil.example/y", "https://huggingface.co.evil.example/y", False),
        ("https://evil.example\\@huggingface.co/y", "https://evil.example\\@huggingface.co/y", False),
        ("https://huggingface.co@evil.example/y", "https://huggingface.co@evil.example/y", False),
    ],
)
def test_a_redirect_keeps_the_token_on_the_hubs_origin_alone(location: str, url: str, trusted: bool) -> None:
    assert next_hop(Place(f"{HUB}/org/a"), location, HUB) == Place(url, trusted)


def test_trust_that_was_lost_does_not_come_back() -> None:
    assert not next_hop(Place("https://cdn.example/x", trusted=False), f"{HUB}/y", HUB).trusted


@pytest.mark.parametrize(
    "location",
    [
        "http://huggingface.co/a",
        "http://cdn.example/a",
        "https://127.0.0.1/a",
        "https://127.1/a",
        "https://2130706433/a",
        "https://0x7f.1/a",
        "https://[::1]/a",
        "https://[::ffff:127.0.0.1]/a",
        "https://[fe80::1%25eth0]/a",
        "https://169.254.169.254/latest",
        "https://10.1.2.3/a",
        "https://192.168.0.1/a",
        "https://localhost/a",
        "https://localhost./a",
        "https://hub.localhost/a",
        "https://0.0.0.0/a",
        "ftp://cdn.example/a",
        "file:///etc/passwd",
        "https://cdn.example:99999/a",
        "https://[::1/a",
    ],
)
def test_a_redirect_that_must_not_be_followed_is_refused(location: str) -> None:
    """A hub must not reach inner services through the machine that builds, nor bring a download down to plain HTTP."""
    with pytest.raises(SourceFailed):
        next_hop(Place(f"{HUB}/org/a"), location, HUB)


def test_a_hub_on_a_private_address_may_redirect_to_another() -> None:
    home = "http://10.0.0.1:8080"
    assert next_hop(Place(f"{home}/a"), "http://10.0.0.2/b", home) == Place("http://10.0.0.2/b", trusted=False)


def test_public_hosts_are_not_private() -> None:
    assert not any(
        is_internal(host) for host in ("huggingface.co", "8.8.8.8", "2606:4700::1111", "a.b", "localhost.example")
    )


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://user:secret@host/path?Signature=secret#x", "https://host/path"),
        ("https://host", "https://host"),
        ("https://host/\x1b[2J", "'https://host/\\x1b[2J'"),
    ],
)
def test_what_is_shown_of_a_url_holds_no_secret(url: str, text: str) -> None:
    assert shown(url) == text


@given(st.text(max_size=80))
def test_any_text_is_an_origin_or_an_explained_failure(text: str) -> None:
    """A Location header may hold anything."""
    try:
        scheme, host, port = origin(text)
    except SourceFailed:
        return
    assert scheme in ("http", "https") and host and 0 <= port < 65536


@given(st.text(max_size=80))
def test_any_redirect_is_followed_or_refused(location: str) -> None:
    try:
        place = next_hop(Place(f"{HUB}/a"), location, HUB)
    except SourceFailed:
        return
    assert place.url.startswith("https:")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bytes 0-9/10", Part(0, 10, 10)),
        ("bytes 5-9/*", Part(5, 10, None)),
        ("bytes */10", Part(0, 0, 10)),
        ("bytes 0-9", None),
        ("items 0-9/10", None),
        ("bytes -1-9/10", None),
        ("bytes 0-9/1e3", None),
        (" bytes 0-9/10 ", Part(0, 10, 10)),
        ("bytes 0-" + "9" * 5000 + "/10", None),
        ("", None),
    ],
)
def test_content_range(text: str, expected: Part | None) -> None:
    assert content_range({"Content-Range": text}) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("12", 12), ("-1", None), ("1_0", None), ("", None), ("٣", None), ("9" * 5000, None)]
)
def test_numbers_in_headers(text: str, expected: int | None) -> None:
    assert number({"Content-Length": text}, "Content-Length") == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"Retry-After": "12"}, 12.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT", "Date": "Wed, 21 Oct 2026 07:27:00 GMT"}, 60.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT", "Date": "Wed, 21 Oct 2026 07:29:00 GMT"}, 0.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"Retry-After": "99 Foo 99999 99:99:99"}, None),
        ({"RateLimit": '"api";r=0;t=55'}, 55.0),
    ],
)
def test_retry_after(headers: dict[str, str], expected: float | None) -> None:
    assert retry_after(headers) == expected


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ('<https://hub.example/tree/main?cursor=a,b;c>; rel="next"', "https://hub.example/tree/main?cursor=a,b;c"),
        ("</tree?cursor=1>; rel=next", "/tree?cursor=1"),
        ('</first>; rel="first", </next>; rel="next"', "/next"),
        ('</next> ; title="a, <b>; rel=prev" ; REL="last Next"', "/next"),
        ('</prev>; rel="prev"', None),
        ('</a>; title="rel=next"', None),
        ("</a>; rel=nextish", None),
        ("", None),
        ("<", None),
        ("<a" * 5_000, None),
        ("<a>" + ";" * 5_000, None),
    ],
)
def test_next_page(link: str, expected: str | None) -> None:
    """A listing whose second page is not found is a model with half of its files (RFC 8288)."""
    assert next_page({"Link": link}) == expected
