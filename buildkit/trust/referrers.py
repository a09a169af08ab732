"""Artifacts that refer to an image: attached to its digest, and found again, whether the registry has an API for it or not.

distribution-spec 1.1, "Listing Referrers" and "Pushing Manifests with Subject": a registry without the API gets an index
under the tag ``sha256-<hex>``. The API is probed with the artifact itself, since one registry in the field announces what it
does not have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from buildkit.errors import InvalidInput, RegistryFailed
from buildkit.oci.manifest import OCI_INDEX, OCI_MANIFEST, Descriptor, Document, Manifest, canonical, parse_object
from buildkit.oci.reference import Digest
from buildkit.oci.whole import whole
from buildkit.registries.client import Repository

_EMPTY = b"{}"
EMPTY = Descriptor("application/vnd.oci.empty.v1+json", Digest.of(_EMPTY), len(_EMPTY))
"""image-spec 1.1, manifest.md, "Guidance for an Empty Descriptor"."""
TITLE = "org.opencontainers.image.title"
_TRIES = 5
_LARGEST_DOCUMENT = 128 * 1024 * 1024
"""Bytes. cosign reads no larger one unless it is told to (sigstore/cosign, ``COSIGN_MAX_ATTACHMENT_SIZE``)."""


@dataclass(frozen=True)
class Artifact:
    """A document about an image: what sort it is, its bytes, and the file name under which a reader saves it.

    ``suffix`` is what cosign adds to the image's digest for a tag under which it looks for such a document.
    """

    type: str
    content: bytes
    file: str
    annotations: Mapping[str, str] = field(default_factory=dict)
    suffix: str = ""


@dataclass(frozen=True)
class Referrer:
    """An artifact as a registry lists it: its manifest, and what sort it is."""

    descriptor: Descriptor
    type: str


def attach(store: Repository, subject: Descriptor, artifact: Artifact) -> Digest:
    """Puts an artifact beside an image, and makes it be found; the same artifact twice is one. Raises RegistryFailed."""
    # Here, since the library takes a quarter of a second to import.
    from buildkit.trust.carrier import Carrier

    carrier = Carrier(store)
    layer = Descriptor(artifact.type, Digest.of(artifact.content), len(artifact.content), {TITLE: artifact.file})
    carrier.blob(EMPTY, _EMPTY)
    carrier.blob(layer, artifact.content)
    manifest = _manifest(subject, artifact, layer)
    carrier.manifest(manifest, f"{fallback_tag(subject.digest)}{artifact.suffix}" if artifact.suffix else None)
    described = replace(manifest.descriptor(), annotations=artifact.annotations)
    make_found(store, subject.digest, Referrer(described, artifact.type))
    return described.digest


def make_found(store: Repository, subject: Digest, referrer: Referrer) -> None:
    """Has a registry list a referrer that it holds: by itself, or by the fallback tag; raises RegistryFailed."""
    served = _api(store, subject)
    if served is None or all(one.descriptor.digest != referrer.descriptor.digest for one in served):
        _list_by_tag(store, subject, referrer.descriptor, referrer.type)


def listed(store: Repository, subject: Digest, type: str = "") -> list[Referrer]:
    """What refers to a digest, of one sort where ``type`` is given; raises RegistryFailed."""
    found = _api(store, subject) or []
    known = {one.descriptor.digest for one in found}
    by_tag = store.resolve(fallback_tag(subject))
    found += [one for one in _entries(by_tag) if one.descriptor.digest not in known] if by_tag else []
    return [one for one in found if type in ("", one.type)]


def content(store: Repository, referrer: Referrer) -> bytes:
    """The document of a referrer; raises RegistryFailed where it is not there or not what was named, InvalidInput where
    it is larger than any."""
    document = store.resolve(referrer.descriptor.digest)
    if document is None:
        raise RegistryFailed(f"{referrer.descriptor.digest} is listed and is not there")
    manifest = Manifest.read(document)
    if len(manifest.layers) != 1:
        raise RegistryFailed(f"{referrer.descriptor.digest} does not hold one document")
    return whole(store, manifest.layers[0], f"what {referrer.descriptor.digest} holds", _LARGEST_DOCUMENT)


def _manifest(subject: Descriptor, artifact: Artifact, layer: Descriptor) -> Document:
    """image-spec 1.1, manifest.md: an artifact with a subject."""
    bare = Descriptor(subject.media_type, subject.digest, subject.size)
    content: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": artifact.type,
        "config": EMPTY.document() | {"data": "e30="},
        "layers": [layer.document()],
        "subject": bare.document(),
    }
    if artifact.annotations:
        content["annotations"] = dict(artifact.annotations)
    return Document(OCI_MANIFEST, canonical(content))


def _api(store: Repository, subject: Digest) -> list[Referrer] | None:
    """What the referrers API answers; None where the registry has none."""
    document = store.referrers(subject)
    return None if document is None else _entries(document)


def _entries(document: Document) -> list[Referrer]:
    try:
        listed = parse_object(document.raw, "it").get("manifests")
        if not isinstance(listed, list):
            raise InvalidInput("it has no manifests")
        return [Referrer(Descriptor.read(one), str(one.get("artifactType") or "")) for one in listed]
    except InvalidInput as error:
        raise RegistryFailed(f"the registry's list of what refers to an image cannot be read: {error}") from None


def _list_by_tag(store: Repository, subject: Digest, described: Descriptor, type: str) -> None:
    """Adds an entry to the index under the fallback tag; what another put there in the meantime is kept."""
    tag = fallback_tag(subject)
    for _ in range(_TRIES):
        before = store.resolve(tag)
        entries = _entries(before) if before else []
        if any(one.descriptor.digest == described.digest for one in entries):
            return
        store.publish(_index([*entries, Referrer(described, type)]), tag)
        after = store.resolve(tag)
        if after and any(one.descriptor.digest == described.digest for one in _entries(after)):
            return
    raise RegistryFailed(f"{store.reference.name}:{tag} is written by others at the same time", hint="try again")


def _index(referrers: list[Referrer]) -> Document:
    manifests = [one.descriptor.document() | {"artifactType": one.type} for one in referrers]
    return Document(OCI_INDEX, canonical({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}))


def fallback_tag(subject: Digest) -> str:
    """distribution-spec 1.1, "Referrers Tag Schema"."""
    return f"sha256-{subject.hex}"
