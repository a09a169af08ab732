"""What a registry is asked for: if these fail, an image that is there is not found, or taken for another one."""

from __future__ import annotations

import pytest

from buildkit.oci.manifest import OCI_MANIFEST
from buildkit.oci.reference import Reference
from buildkit.registries.client import Repository
from buildkit.registries.connection import Connection
from buildkit.registries.credentials import Credentials
from tests.fakes.registry import Account, Auth, Behaviour, Registry

NAME = "models/granite"
MANIFEST = b'{"schemaVersion": 2, "mediaType": "%s", "layers": []}' % OCI_MANIFEST.encode()


def repository(registry: Registry) -> Repository:
    connection = Connection(
        registry.address,
        plain_http=lambda host: True,
        credentials=lambda: Credentials("me", "s3cret", found="a test"),
        sleep=lambda seconds: None,
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
