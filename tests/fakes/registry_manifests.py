"""Manifests, tags and referrers of a fake registry (distribution-spec 1.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from tests.fakes.content import Bytes
from tests.fakes.http_body import TooLargeError
from tests.fakes.http_message import Headers, Incoming, Response, json_response
from tests.fakes.registry_behaviour import OCI_INDEX, OCI_MANIFEST, Behaviour, oci_error
from tests.fakes.registry_storage import Held, Manifest, Storage
from tests.fakes.registry_uploads import DIGEST

TAG = r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}"
Json = Mapping[str, Any]


@dataclass
class Manifests:
    """The manifest, tag list and referrers endpoints."""

    storage: Storage
    behaviour: Behaviour

    def get(self, request: Incoming, name: str, reference: str) -> Response:
        """A manifest by tag or digest; also for HEAD."""
        manifest = self._held(name).find(reference)
        if manifest is None:
            raise oci_error(404, "MANIFEST_UNKNOWN", f"manifest unknown: {reference}", detail={"name": name})
        self._check_accept(request, manifest)
        headers: Headers = (("Content-Type", manifest.media_type), ("ETag", f'"{manifest.digest}"'))
        return Response(200, headers + self._digest(manifest), Bytes(manifest.data))

    def put(self, request: Incoming, name: str, reference: str) -> Response:
        """Record a manifest, after every check that a strict registry makes."""
        manifest = self._read(request)
        held = self.storage.create(name) if self.behaviour.create_on_push else self._held(name)
        by_digest = ":" in reference
        if by_digest and reference != manifest.digest:
            raise oci_error(400, "DIGEST_INVALID", f"the manifest is {manifest.digest}, not {reference}")
        if not by_digest and not re.fullmatch(TAG, reference):
            raise oci_error(400, "TAG_INVALID", f"not a tag: {reference}")
        problems = list(self._problems(held, manifest.document))
        if problems and self.behaviour.check_references:
            code, message, digest = problems[0]
            raise oci_error(400, code, message, detail=digest)
        with self.storage.lock:
            self._check_immutable(held, reference, manifest)
            held.manifests[manifest.digest] = manifest
            if not by_digest:
                held.tags[reference] = manifest.digest
        location = ("Location", f"/v2/{name}/manifests/{manifest.digest}")
        return Response(201, (location, *self._digest(manifest), *self._subject(manifest)))

    def delete(self, request: Incoming, name: str, reference: str) -> Response:
        """Forget a tag, or a manifest with every tag on it."""
        held = self._held(name)
        if not self.behaviour.deletes:
            raise oci_error(405, "UNSUPPORTED", "the operation is unsupported")
        with self.storage.lock:
            if held.tags.pop(reference, None) is None and held.manifests.pop(reference, None) is None:
                raise oci_error(404, "MANIFEST_UNKNOWN")
            held.tags = {tag: digest for tag, digest in held.tags.items() if digest in held.manifests}
        return Response(202)

    def tags(self, request: Incoming, name: str) -> Response:
        """A page of the tag list, in "ASCIIbetical" order."""
        page, headers = self.page(request, self._held(name).tags, f"/v2/{name}/tags/list")
        return json_response(200, {"name": name, "tags": page}, headers)

    def page(self, request: Incoming, names: Iterable[str], path: str) -> tuple[list[str], Headers]:
        """One page of names, and the Link to the next page."""
        last, asked = request.first("last"), request.first("n")
        left = [name for name in sorted(names) if last is None or name > last]
        size = min(self.behaviour.page_size, int(asked)) if asked else self.behaviour.page_size
        page = left[:size]
        more = len(left) > size > 0
        return page, ((("Link", f'<{path}?last={page[-1]}&n={size}>; rel="next"'),) if more else ())

    def referrers(self, request: Incoming, name: str, digest: str) -> Response:
        """The manifests whose subject is this one."""
        if not self.behaviour.referrers:
            return Response(404, (("Content-Type", "text/plain"),), Bytes(b"404 page not found\n"))
        if not re.fullmatch(DIGEST, digest):
            raise oci_error(400, "DIGEST_INVALID", f"not a digest: {digest}")
        held = self.storage.repositories.get(name, Held())
        found = [_descriptor(m) for m in held.manifests.values() if _subject(m.document) == digest]
        headers: Headers = (("Content-Type", OCI_INDEX),)
        if kind := request.first("artifactType"):
            found = [each for each in found if each.get("artifactType") == kind]
            headers += (("OCI-Filters-Applied", "artifactType"),)
        return json_response(200, {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found}, headers)

    def _held(self, name: str) -> Held:
        held = self.storage.repositories.get(name)
        if held is None:
            raise oci_error(404, "NAME_UNKNOWN", "repository name not known to registry", detail={"name": name})
        return held

    def _check_accept(self, request: Incoming, manifest: Manifest) -> None:
        accepted = request.headers.get("accept", "")
        understood = manifest.media_type in accepted or "*/*" in accepted
        oci = manifest.media_type in (OCI_MANIFEST, OCI_INDEX)
        if self.behaviour.strict_accept and oci and not understood:
            message = "OCI manifest found, but accept header does not support OCI manifests"
            raise oci_error(404, "MANIFEST_UNKNOWN", message)

    def _read(self, request: Incoming) -> Manifest:
        try:
            data = request.body.read(self.behaviour.max_manifest_bytes)
        except TooLargeError:
            raise oci_error(413, "MANIFEST_INVALID", "the manifest is too large") from None
        manifest = Manifest(request.headers.get("content-type", "").partition(";")[0].strip(), data)
        try:
            document = manifest.document
        except ValueError as error:
            raise oci_error(400, "MANIFEST_INVALID", f"not JSON: {error}") from None
        own = document.get("mediaType", manifest.media_type)
        if manifest.media_type not in self.behaviour.media_types or own != manifest.media_type:
            message = f"Content-Type {manifest.media_type!r}, mediaType {own!r}"
            raise oci_error(400, "MANIFEST_INVALID", message)
        if document.get("schemaVersion") != 2:
            raise oci_error(400, "MANIFEST_INVALID", "schemaVersion is not 2")
        return manifest

    def _problems(self, held: Held, document: Json) -> Iterator[tuple[str, str, str]]:
        """What the manifest names and the repository has not, or not so."""
        for child in document.get("manifests", []):
            manifest = held.manifests.get(child["digest"])
            yield from self._compare(child, None if manifest is None else len(manifest.data))
        config = [document["config"]] if "config" in document else []
        for blob in [*config, *document.get("layers", [])]:
            if blob.get("urls"):
                continue
            present = blob["digest"] in held.blobs
            yield from self._compare(blob, self.storage.blobs[blob["digest"]].size if present else None)

    def _compare(self, descriptor: Json, size: int | None) -> Iterator[tuple[str, str, str]]:
        digest = descriptor["digest"]
        if size is None:
            yield "MANIFEST_BLOB_UNKNOWN", "manifest references a blob unknown to the repository", digest
        elif self.behaviour.check_sizes and descriptor["size"] != size:
            yield "MANIFEST_INVALID", f"the descriptor says {descriptor['size']} bytes, it has {size}", digest

    def _check_immutable(self, held: Held, reference: str, manifest: Manifest) -> None:
        status, there = self.behaviour.immutable_tags, held.tags.get(reference)
        if status is not None and there not in (None, manifest.digest):
            message = f"The image tag '{reference}' already exists and cannot be overwritten: it is immutable."
            raise oci_error(status, "TAG_INVALID", message)

    def _digest(self, manifest: Manifest) -> Headers:
        how = self.behaviour.digest_header
        if how == "missing":
            return ()
        return (("Docker-Content-Digest", manifest.digest if how == "right" else "sha256:" + "0" * 64),)

    def _subject(self, manifest: Manifest) -> Headers:
        subject, sent = _subject(manifest.document), self.behaviour.subject_header
        told = self.behaviour.referrers if sent is None else sent
        return (("OCI-Subject", subject),) if subject and told else ()


def _subject(document: Json) -> str | None:
    return cast("str | None", (document.get("subject") or {}).get("digest"))


def _descriptor(manifest: Manifest) -> dict[str, Any]:
    """How a referrer is listed (distribution-spec, "Listing Referrers")."""
    document: Json = manifest.document
    listed: dict[str, Any] = {
        "mediaType": manifest.media_type,
        "digest": manifest.digest,
        "size": len(manifest.data),
    }
    kind = document.get("artifactType") or document.get("config", {}).get("mediaType")
    if kind:
        listed["artifactType"] = kind
    if document.get("annotations"):
        listed["annotations"] = document["annotations"]
    return listed
