"""What a registry is asked for: if these fail, an image that is there is not found, or taken for another one."""

from __future__ import annotations

from typing import Any

import pytest

from buildkit.errors import RegistryFailed
from buildkit.oci.manifest import OCI_MANIFEST, Descriptor
from buildkit.oci.reference import Digest, Reference
from buildkit.registries.client import Repository
from buildkit.registries.connection import Connection
from buildkit.registries.credentials import Credentials
from tests.fakes.faults import AddHeader, Cut, Short
from tests.fakes.registry import Account, Auth, Behaviour, Registry

NAME = "models/granite"
MANIFEST = b'{"schemaVersion": 2, "mediaType": "%s", "layers": []}' % OCI_MANIFEST.encode()


def repository(registry: Registry, waits: list[float] | None = None) -> Repository:
    connection = Connection(
        registry.address,
        plain_http=lambda host: True,
        credentials=lambda: Credentials("me", "s3cret", found="a test"),
        sleep=(waits if waits is not None else []).append,
    )
    return Repository(connection, Reference(registry.address, NAME))


@pytest.mark.parametrize("digest_header", ["right", "missing"])
def test_a_manifest_that_lies_elsewhere_is_read_there(digest_header: str) -> None:
    """registry.k8s.io and mirrors send to another host for everything, which must not be shown the login."""
    auth = Auth(mode="basic", accounts={"me": Account("s3cret")})
    behaviour = Behaviour(redirect_manifests=True, digest_header=digest_header)  # type: ignore[arg-type]
    with Registry(auth=auth, behaviour=behaviour) as registry:
        digest = registry.put_manifest(NAME, MANIFEST, OCI_MANIFEST, "v1")
        store = repository(registry)
        assert store.digest("v1") == digest
        document = store.resolve("v1")
        assert document and document.raw == MANIFEST
        assert store.resolve(digest) == document
        assert store.tags() == ("v1",)
        assert store.digest("v2") is None and store.resolve("v2") is None
        elsewhere = [request for request in registry.requests if request.origin == "other"]
        assert elsewhere and not [one for one in elsewhere if "authorization" in one.headers]


@pytest.mark.parametrize("told", ["sha256:4051", "sha256:" + "F" * 64, "nonsense", "sha512:" + "0" * 128])
def test_a_header_that_is_no_digest_tells_none(told: str) -> None:
    """A registry or proxy that writes something else there would be told as a slip in what a person wrote."""
    with Registry() as registry:
        digest = registry.put_manifest(NAME, MANIFEST, OCI_MANIFEST, "v1")
        registry.faults.add(AddHeader("Docker-Content-Digest", told), times=None)
        assert repository(registry).digest("v1") == digest


@pytest.mark.parametrize("fault", [Short(5, honest=False), Cut(5)])
@pytest.mark.parametrize("path", ["manifests/v1", "tags/list", "referrers"])
def test_an_answer_that_is_cut_off_is_asked_for_again(path: str, fault: Any) -> None:
    """Half a manifest must not be taken for another image than the one that was promised, nor half a list for all."""
    with Registry() as registry:
        digest = registry.put_manifest(NAME, MANIFEST, OCI_MANIFEST, "v1")
        store = repository(registry)
        registry.faults.add(fault, method="GET", path=path, times=2)
        document = store.resolve("v1")
        assert document and document.raw == MANIFEST
        assert store.tags() == ("v1",)
        assert store.referrers(Digest(digest))
        assert len(registry.faults.fired) == 2


def test_a_blob_that_brings_nothing_is_asked_for_with_growing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that breaks for a moment would be waited for twice as long as by any other request."""
    monkeypatch.setattr("random.uniform", lambda least, most: 1.0)
    with Registry() as registry:
        digest = registry.put_blob(NAME, b"a blob")
        registry.faults.add(Cut(0), method="GET", path="blobs", times=4)
        waits: list[float] = []
        assert b"".join(repository(registry, waits).fetch(Descriptor("layer", Digest(digest), 6))) == b"a blob"
        assert waits == [0.5, 1.0, 2.0, 4.0]


def test_an_answer_that_is_always_cut_off_is_told_as_that() -> None:
    """A line that breaks is mended otherwise than a registry that lies."""
    with Registry() as registry:
        registry.put_manifest(NAME, MANIFEST, OCI_MANIFEST, "v1")
        registry.faults.add(Short(5, honest=False), method="GET", path="manifests/v1", times=None)
        with pytest.raises(RegistryFailed, match=r"does not answer as it should: .*more expected"):
            repository(registry).resolve("v1")
