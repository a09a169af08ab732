"""What lies beside an image, copied with it: bills of materials, provenance, signatures, and what signs those.

They are found as every tool leaves them: listed as referrers (distribution-spec 1.1, "Listing Referrers"), and under the tags
that cosign makes of a digest (sigstore/cosign, "Signature Specification", "Storage").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from buildkit.errors import InvalidInput, RegistryFailed
from buildkit.oci.image import Blob
from buildkit.oci.manifest import INDEXES, Descriptor, Document, Manifest
from buildkit.oci.reference import Digest
from buildkit.registries.client import Repository
from buildkit.trust.referrers import Referrer, fallback_tag, listed, make_found

SUFFIXES = (".sig", ".att", ".sbom")
"""What cosign adds to a digest's tag: signatures, attestations, bills of materials."""
_MOST = 1000
"""Artifacts beside one image: more are a fault, or somebody who wants us to be busy."""


@dataclass(frozen=True)
class Beside:
    """An artifact beside ``subject``: its manifest, how it is listed, and its tag, "" where it has none."""

    subject: Digest
    document: Document
    listed: Referrer | None = None
    tag: str = ""

    @property
    def manifest(self) -> Manifest:
        """The manifest, read."""
        return Manifest.read(self.document)


def found_beside(store: Repository, subjects: Sequence[Digest]) -> list[Beside]:
    """Everything that refers to some digests, and what refers to that; raises RegistryFailed."""
    found: list[Beside] = []
    waiting, asked = list(subjects), set(subjects)
    while waiting:
        for one in _beside(store, waiting.pop(0)):
            found.append(one)
            if one.document.digest not in asked:
                asked.add(one.document.digest)
                waiting.append(one.document.digest)
        if len(found) > _MOST:
            raise RegistryFailed(f"more than {_MOST} artifacts refer to the image", hint="copy it with --no-referrers")
    return found


def copy_beside(found: Sequence[Beside], source: Repository, target: Repository) -> list[Beside]:
    """Puts artifacts beside the copy; returns those that were left out, since the copy has others of its own there.

    A signature under cosign's tag is only written over one whose every signature it has. Raises RegistryFailed.
    """
    left = []
    for one in found:
        if one.tag and not _may_replace(one, target):
            left.append(one)
            continue
        for descriptor in (one.manifest.config, *one.manifest.layers):
            target.put(_blob(source, descriptor), lambda amount: None)
        target.publish(one.document, one.tag or None)
        if one.listed:
            make_found(target, one.subject, one.listed)
    return left


def _beside(store: Repository, subject: Digest) -> Iterator[Beside]:
    for referrer in listed(store, subject):
        document = store.resolve(referrer.descriptor.digest)
        if document is None or document.media_type in INDEXES:
            continue  # Listed and gone, as clean-ups leave it; or an index, of which no tool makes a referrer.
        yield Beside(subject, document, referrer)
    for suffix in SUFFIXES:
        tag = f"{fallback_tag(subject)}{suffix}"
        document = store.resolve(tag)
        if document and document.media_type not in INDEXES:
            yield Beside(subject, document, tag=tag)


def _may_replace(one: Beside, target: Repository) -> bool:
    there = target.resolve(one.tag)
    if there is None or there.digest == one.document.digest:
        return True
    if there.media_type in INDEXES:
        return False
    ours = {layer.digest for layer in one.manifest.layers}
    try:
        return {layer.digest for layer in Manifest.read(there).layers} <= ours
    except InvalidInput:
        return False  # Whatever it is, it is not ours.


def _blob(source: Repository, descriptor: Descriptor) -> Blob:
    return Blob(
        descriptor.digest,
        descriptor.media_type,
        descriptor.size,
        lambda: source.fetch(descriptor),
        descriptor.digest,
        origin=source.reference,
    )
