"""How blobs come into the fake registry (distribution-spec 1.1, "Pushing blobs")."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.faults import Cut, Hangup
from tests.fakes.plain_client import Answer, ask
from tests.fakes.registry import Registry
from tests.fakes.registry_requests import DATA, digest_of, post, put


def test_one_patch_and_an_empty_put(registry: Registry) -> None:
    """The way our own engine uploads."""
    opened = post(registry)
    assert (opened.status, opened.headers["range"]) == (202, "0-0")
    patched = ask("PATCH", opened.headers["location"], DATA)
    assert (patched.status, patched.headers["range"]) == (202, f"0-{len(DATA) - 1}")
    done = put(patched.headers["location"], DATA)
    assert (done.status, done.headers["docker-content-digest"]) == (201, digest_of(DATA))
    assert registry.blob(digest_of(DATA)) == DATA
    assert [(upload.state, upload.received) for upload in registry.sessions] == [("finished", len(DATA))]
    assert [(r.method, r.status, r.request_bytes) for r in registry.requests] == [
        ("POST", 202, 0),
        ("PATCH", 202, len(DATA)),
        ("PUT", 201, 0),
    ]


@pytest.mark.parametrize("chunked", [False, True])
def test_chunks_in_order_and_a_last_one_with_the_put(registry: Registry, chunked: bool) -> None:
    """Other clients upload like this, and so may we where one PATCH is refused."""
    location = post(registry).headers["location"]
    for start in range(0, 1_500_000, 500_000):
        chunk = DATA[start : start + 500_000]
        headers = {} if chunked else {"Content-Range": f"{start}-{start + 499_999}"}
        location = ask("PATCH", location, iter([chunk]) if chunked else chunk, headers).headers["location"]
    status = ask("GET", location)
    assert (status.status, status.headers["range"]) == (204, "0-1499999")
    assert put(status.headers["location"], DATA, DATA[1_500_000:]).status == 201


def test_a_chunk_out_of_order_is_refused(registry: Registry) -> None:
    """A client that loses count must not end with a blob that has a hole."""
    location = post(registry).headers["location"]
    refused = ask("PATCH", location, DATA[:10], {"Content-Range": "5-14"})
    assert (refused.status, refused.headers["range"]) == (416, "0-0")
    assert ask("PATCH", refused.headers["location"], DATA[:10], {"Content-Range": "0-10"}).status == 416


def test_only_the_newest_location_is_good(registry: Registry) -> None:
    """A client that assembles upload URLs itself works with one registry and fails with the next."""
    old = post(registry).headers["location"]
    new = ask("PATCH", old, b"abc").headers["location"]
    stale = ask("PATCH", old, b"def")
    assert (stale.status, stale.code) == (404, "BLOB_UPLOAD_INVALID")
    assert ask("PATCH", new.partition("?")[0], b"def").status == 404
    assert put(new, b"abc").status == 201


def test_a_wrong_digest_ends_the_upload(registry: Registry) -> None:
    """The registry's own check is the last one before a corrupt image is public."""
    location = ask("PATCH", post(registry).headers["location"], DATA).headers["location"]
    refused = put(location, b"other")
    assert (refused.status, refused.code) == (400, "DIGEST_INVALID")
    assert registry.blobs == {}
    assert registry.sessions[0].state == "dead"


@pytest.mark.parametrize("resumable", [False, True])
def test_a_cut_upload_is_dead_or_resumable(registry: Registry, resumable: bool) -> None:
    """Registries differ here; a pusher must find out and not assume."""
    registry.behaviour.resumable = resumable
    registry.faults.add(Cut(1_000_000, "request"), method="PATCH")
    location = post(registry).headers["location"]
    with pytest.raises(OSError, match=r"reset|Broken pipe"):
        ask("PATCH", location, DATA)
    status = ask("GET", location)
    assert registry.sessions[0].state == ("open" if resumable else "dead")
    if not resumable:
        assert (status.status, status.code) == (404, "BLOB_UPLOAD_INVALID")
        return
    assert (status.status, status.headers["range"]) == (204, "0-999999")
    assert put(status.headers["location"], DATA, DATA[1_000_000:]).status == 201


def test_a_lost_answer_leaves_the_blob(registry: Registry) -> None:
    """A pusher that asks first (HEAD) need not send it all again."""
    registry.faults.add(Hangup(), method="PUT")
    location = ask("PATCH", post(registry).headers["location"], DATA).headers["location"]
    with pytest.raises(OSError, match="reset"):
        put(location, DATA)
    assert ask("HEAD", f"{registry.url}/v2/org/model/blobs/{digest_of(DATA)}").headers["content-length"] == str(
        len(DATA)
    )


def test_an_upload_can_be_cancelled(registry: Registry) -> None:
    """An aborted push should leave nothing behind; the record shows whether it did."""
    location = post(registry).headers["location"]
    assert ask("DELETE", location).status == 204
    assert ask("GET", location).code == "BLOB_UPLOAD_UNKNOWN"
    assert registry.sessions[0].state == "cancelled"


def test_mounts(registry: Registry) -> None:
    """A blob of a sibling repository moves no bytes, where the registry plays along."""
    digest = registry.put_blob("org/base", DATA)
    query = f"?mount={digest}&from=org/base"
    assert post(registry, query=query.replace("base", "none")).status == 202
    mounted = post(registry, query=query)
    assert (mounted.status, mounted.headers["location"]) == (201, f"/v2/org/model/blobs/{digest}")
    assert ask("GET", f"{registry.url}/v2/org/model/blobs/{digest}").body == DATA
    registry.behaviour.mount_location = False
    assert "location" not in post(registry, "org/second", query).headers
    registry.behaviour.mounts = False
    assert post(registry, "org/third", query).status == 202
    registry.behaviour.mounts = "error"
    assert post(registry, "org/third", query).status == 403


def test_a_whole_blob_in_one_post(registry: Registry) -> None:
    """The specification lets a registry take it, or answer 202 as if there were no body."""
    query = f"?digest={digest_of(DATA)}"
    assert post(registry, query=query, body=DATA[:100]).status == 202
    registry.behaviour.single_post = True
    assert post(registry, query=query, body=DATA).status == 201
    assert registry.blob(digest_of(DATA)) == DATA


@pytest.mark.parametrize("style", ["relative", "absolute", "other", "http://10.0.0.1"])
def test_location_styles(registry: Registry, style: str) -> None:
    """A Location may be a path, a URL, another host, or a trap that leads into a private network."""
    registry.behaviour.location = style
    location = post(registry).headers["location"]
    expected = {"relative": "/v2/", "absolute": registry.url}
    assert location.startswith(expected.get(style, "http://"))
    if style in ("relative", "other"):
        url = registry.url + location if style == "relative" else location
        answer = ask("PATCH", url, DATA)
        assert answer.status == 202
        assert registry.requests[-1].origin == ("registry" if style == "relative" else "other")
    if style == "other":
        refused = ask("PATCH", answer.headers["location"], b"", {"Authorization": "Bearer secret"})
        assert refused.status == 400, "credentials were sent to a host that has no business with them"


def test_limits_and_habits(registry: Registry) -> None:
    """What one registry takes another refuses; each refusal must be met before it is met in the field."""
    behaviour = registry.behaviour

    def patch(body: bytes | Iterator[bytes] = DATA) -> Answer:
        return ask("PATCH", post(registry).headers["location"], body)

    behaviour.max_layer_bytes = 1_000_000
    assert (patch().status, patch(iter([DATA[:600_000], DATA[600_000:]])).status) == (413, 413)
    assert patch(DATA[:1_000_000]).status == 202
    behaviour.max_layer_bytes, behaviour.max_patch_bytes = None, 1_000_000
    assert (patch().status, patch(iter([DATA])).status) == (416, 202)
    behaviour.max_patch_bytes, behaviour.chunked_encoding = None, False
    assert (patch().status, patch(iter([DATA])).status) == (202, 411)
    behaviour.patch_status, behaviour.chunk_min_bytes = 201, 4096
    assert patch().status == 201
    assert post(registry).headers["oci-chunk-min-length"] == "4096"
    behaviour.patches = "none"
    assert patch().status == 405
    behaviour.create_on_push = False
    assert post(registry, "org/new").code == "NAME_UNKNOWN"
    registry.create("org/new")
    assert post(registry, "org/new").status == 202


def test_a_registry_that_drops_later_chunks_says_so_in_the_range_alone(registry: Registry) -> None:
    """Seen of ECR: 201, and the data is gone; only the Range that does not move tells."""
    registry.behaviour.patches = "first-only"
    first = ask("PATCH", post(registry).headers["location"], DATA[:1000])
    second = ask("PATCH", first.headers["location"], DATA[1000:])
    assert (second.status, second.headers["range"]) == (201, "0-999")
