"""Manifests, tags, referrers and deletes of the fake registry, and what a strict one checks."""

from __future__ import annotations

import json
from typing import Any

from tests.fakes.plain_client import ask
from tests.fakes.registry import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Registry
from tests.fakes.registry_requests import CONFIG, DATA, digest_of, manifest_of, post, put_manifest


def test_bytes_come_back_as_they_went_in(registry: Registry) -> None:
    """The digest is over bytes: a registry that reformats JSON would break every lock."""
    data = manifest_of(registry)
    created = put_manifest(registry, data)
    assert (created.status, created.headers["docker-content-digest"]) == (201, digest_of(data))
    for reference in ("v1", digest_of(data)):
        url = f"{registry.url}/v2/org/model/manifests/{reference}"
        found = ask("GET", url, headers={"Accept": f"{OCI_INDEX}, {OCI_MANIFEST}"})
        assert (found.body, found.headers["content-type"]) == (data, OCI_MANIFEST)
        head = ask("HEAD", url, headers={"Accept": "*/*"})
        assert (head.headers["content-length"], head.headers["docker-content-digest"]) == (
            str(len(data)),
            digest_of(data),
        )
        assert ask("GET", url, headers={"Accept": DOCKER_MANIFEST}).code == "MANIFEST_UNKNOWN"
    assert registry.tags == {"org/model": {"v1": digest_of(data)}}


def test_what_a_strict_registry_refuses(registry: Registry) -> None:
    """Blobs first, manifest then: the other order, or a wrong size, must not pass here either."""
    data = manifest_of(registry)
    document = json.loads(data)
    absent = {**document["layers"][0], "digest": "sha256:" + "1" * 64}
    wrong = {**document["layers"][0], "size": 1}
    child = {"mediaType": OCI_MANIFEST, "digest": digest_of(b"?"), "size": 1}
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child]}

    def code(changed: Any, reference: str = "v1", kind: str = OCI_MANIFEST) -> tuple[int, str]:
        answer = put_manifest(registry, json.dumps(changed).encode(), reference, kind)
        return answer.status, answer.code

    assert code(document | {"layers": [absent]}) == (400, "MANIFEST_BLOB_UNKNOWN")
    assert code(document | {"layers": [wrong]}) == (400, "MANIFEST_INVALID")
    assert code(index, kind=OCI_INDEX) == (400, "MANIFEST_BLOB_UNKNOWN")
    assert code(document, kind=DOCKER_MANIFEST) == (400, "MANIFEST_INVALID")
    assert code(document, reference="-bad-") == (400, "TAG_INVALID")
    assert code(document, reference=digest_of(b"other")) == (400, "DIGEST_INVALID")
    assert code({**document, "filler": "x" * (4 << 20)})[0] == 413
    assert put_manifest(registry, b"not json").code == "MANIFEST_INVALID"
    assert registry.tags == {"org/model": {}}
    registry.behaviour.check_references = False
    assert put_manifest(registry, json.dumps(document | {"layers": [absent]}).encode()).status == 201


def test_immutable_tags(registry: Registry) -> None:
    """The same content again is no change; other content under the same tag is refused."""
    registry.behaviour.immutable_tags = 409
    data = manifest_of(registry)
    assert [put_manifest(registry, data).status for _ in range(2)] == [201, 201]
    refused = put_manifest(registry, manifest_of(registry, annotations={"a": "b"}))
    assert (refused.status, refused.code) == (409, "TAG_INVALID")
    assert registry.tags["org/model"]["v1"] == digest_of(data)


def test_digest_headers_can_lie_or_lack(registry: Registry) -> None:
    """A client must trust the bytes it sent or got, never this header alone."""
    put_manifest(registry, data := manifest_of(registry))
    url = f"{registry.url}/v2/org/model/manifests/v1"
    registry.behaviour.digest_header = "wrong"
    assert ask("HEAD", url, headers={"Accept": "*/*"}).headers["docker-content-digest"] != digest_of(data)
    registry.behaviour.digest_header = "missing"
    assert "docker-content-digest" not in put_manifest(registry, data).headers


def test_lists_have_pages(registry: Registry) -> None:
    """A tag on the second page exists."""
    data = manifest_of(registry)
    for number in range(5):
        put_manifest(registry, data, f"v{number}")
    for name in ("org/a", "org/b"):
        registry.create(name)
    registry.behaviour.page_size = 2
    for path, key, expected in (
        ("/v2/org/model/tags/list", "tags", ["v0", "v1", "v2", "v3", "v4"]),
        ("/v2/_catalog", "repositories", ["org/a", "org/b", "org/model"]),
    ):
        found, link = [], path
        while link:
            page = ask("GET", registry.url + link)
            assert len(page.json[key]) <= 2
            found += page.json[key]
            link = page.headers.get("link", "").partition(">")[0].removeprefix("<")
        assert found == expected
    assert ask("GET", f"{registry.url}/v2/org/none/tags/list").code == "NAME_UNKNOWN"


def test_referrers(registry: Registry) -> None:
    """With the API a subject is acknowledged and found; without it the client has to keep the list itself."""
    put_manifest(registry, data := manifest_of(registry))
    subject = {"mediaType": OCI_MANIFEST, "digest": digest_of(data), "size": len(data)}
    referrer = manifest_of(registry, subject=subject, artifactType="application/x.sbom", annotations={"a": "b"})
    pushed = put_manifest(registry, referrer, digest_of(referrer))
    assert pushed.headers["oci-subject"] == digest_of(data)
    url = f"{registry.url}/v2/org/model/referrers/{digest_of(data)}"
    found = ask("GET", url)
    assert found.headers["content-type"] == OCI_INDEX
    listed = found.json["manifests"]
    assert [(each["digest"], each["artifactType"], each["annotations"]) for each in listed] == [
        (digest_of(referrer), "application/x.sbom", {"a": "b"})
    ]
    filtered = ask("GET", url + "?artifactType=application/x.other")
    assert (filtered.json["manifests"], filtered.headers["oci-filters-applied"]) == ([], "artifactType")
    assert ask("GET", url.replace(digest_of(data), digest_of(b"?"))).json["manifests"] == []
    registry.behaviour.referrers = False
    assert ask("GET", url).status == 404
    assert "oci-subject" not in put_manifest(registry, referrer, digest_of(referrer)).headers
    registry.behaviour.subject_header = True
    assert "oci-subject" in put_manifest(registry, referrer, digest_of(referrer)).headers


def test_deletes(registry: Registry) -> None:
    """A deleted image is missing from then on: drift must see it."""
    put_manifest(registry, data := manifest_of(registry))
    put_manifest(registry, data, "v2")
    base = f"{registry.url}/v2/org/model"
    assert ask("DELETE", f"{base}/manifests/v2").status == 202
    assert registry.tags["org/model"] == {"v1": digest_of(data)}
    assert ask("DELETE", f"{base}/manifests/{digest_of(data)}").status == 202
    assert registry.tags["org/model"] == {}
    assert ask("DELETE", f"{base}/blobs/{digest_of(DATA)}").status == 202
    assert ask("HEAD", f"{base}/blobs/{digest_of(DATA)}").status == 404
    registry.behaviour.deletes = False
    assert ask("DELETE", f"{base}/blobs/{digest_of(CONFIG)}").status == 405


def test_blobs_are_read_in_ranges_and_by_redirect(registry: Registry) -> None:
    """Base layers may come from a storage behind a redirect, which wants no credentials of ours."""
    digest = registry.put_blob("org/model", DATA)
    url = f"{registry.url}/v2/org/model/blobs/{digest}"
    assert ask("GET", url, headers={"Range": "bytes=1000000-"}).body == DATA[1_000_000:]
    registry.behaviour.redirect_blobs = True
    moved = ask("GET", url)
    assert moved.status == 307
    assert ask("GET", moved.headers["location"]).body == DATA
    assert ask("GET", moved.headers["location"], headers={"Authorization": "Basic YTpi"}).status == 400
    registry.behaviour.head_blobs = False
    assert ask("HEAD", url).status == 405


def test_names(registry: Registry) -> None:
    """Upper case is refused by every registry."""
    assert post(registry, "Org/model").code == "NAME_INVALID"
    assert ask("GET", f"{registry.url}/v2/").headers["docker-distribution-api-version"] == "registry/2.0"
    assert ask("GET", f"{registry.url}/elsewhere").status == 404
