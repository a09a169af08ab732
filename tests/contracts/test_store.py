"""What every Store promises, asked of each: if these fail, an image that reads well from one place does not from another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from buildkit.errors import ModelpackError
from buildkit.events import silent
from buildkit.machine.parallel import Stop
from buildkit.oci.copy import place, publish, seal
from buildkit.oci.image import Blob, Image, Layer, Store
from buildkit.oci.layout import Layout
from buildkit.oci.manifest import OCI_LAYER, Descriptor, ImageConfig, Manifest
from buildkit.oci.reference import Digest, Platform, Reference
from buildkit.registries.client import Repository
from buildkit.registries.connection import Connection
from tests.fakes.registry import Registry

AMD64 = Platform("linux", "amd64")
CONTENT = b"what a layer holds" * 1000


@pytest.fixture(params=["layout", "registry"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "layout":
        yield Layout(tmp_path / "layout")
        return
    with Registry() as registry:
        connection = Connection(registry.address, plain_http=lambda host: True, credentials=lambda: None)
        yield Repository(connection, Reference(registry.address, "models/a"))


def blob(content: bytes = CONTENT, digest: Digest | None = None) -> Blob:
    return Blob("key", OCI_LAYER, len(content), lambda: iter((content[:7], content[7:])), digest, "a layer")


def ignore(amount: int) -> None:
    return None


def test_what_was_put_is_fetched(store: Store) -> None:
    """The digest is learned on the way, and the same bytes come back."""
    placed = store.put(blob(), ignore)
    assert (placed.digest, placed.outcome) == (Digest.of(CONTENT), "sent")
    assert b"".join(store.fetch(Descriptor(OCI_LAYER, placed.digest, len(CONTENT)))) == CONTENT


def test_what_is_there_is_not_read_again(store: Store) -> None:
    """A blob whose digest is known to be there must not be downloaded from its source once more."""
    store.put(blob(), ignore)

    def forbidden() -> Iterator[bytes]:
        raise AssertionError("the source was read")

    known = Blob("key", OCI_LAYER, len(CONTENT), forbidden, Digest.of(CONTENT), "a layer")
    assert store.put(known, ignore).outcome == "exists"


def test_progress_is_every_byte(store: Store) -> None:
    """A bar must reach its end."""
    moved: list[int] = []
    store.put(blob(), moved.append)
    assert sum(moved) == len(CONTENT)


def test_other_bytes_than_promised_are_refused(store: Store) -> None:
    """A wrong digest in a lock must not become an image."""
    with pytest.raises(ModelpackError):
        store.put(blob(digest=Digest.of(b"other")), ignore)


@pytest.mark.parametrize("tag", ["v1", "latest"])
def test_tags_lead_to_manifests(store: Store, tag: str) -> None:
    """An unknown tag is nothing, a known one the very bytes that were published."""
    assert store.resolve(tag) is None
    config = dict(ImageConfig.empty(AMD64).content)
    sealing = seal(place([Image(AMD64, config, (Layer(blob()),))], store, silent, Stop()))
    assert store.resolve(tag) is None, "a tag moved before the image was whole"
    order: list[str] = []
    before: Callable[[], None] = lambda: order.append(str(store.resolve(tag)))  # noqa: E731
    publish(sealing, store, [tag], before)
    assert order == ["None"], "the tag moved before the lock was safe"
    document = store.resolve(tag)
    assert document == sealing.document
    assert store.resolve(sealing.digest) == document
    assert Manifest.read(document).layers[0].digest == Digest.of(CONTENT)
