"""What registries do differently, as switches; and the errors all of them give alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tests.fakes.http_message import Headers, RefusedError, json_response

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"


@dataclass
class Behaviour:
    """How a registry behaves; every field may be changed while it serves. The defaults are those of a strict
    registry that implements the whole of distribution-spec 1.1."""

    location: str = "absolute"
    """Where uploads go on: "relative" (to the registry), "to the path" (of the request), "absolute", "other"
    (a listener on another port, which asks for no credentials), or a URL's beginning such as "http://10.0.0.1" to tempt a client into a private network."""
    mounts: bool | Literal["error"] = True
    """Cross-repository mounts: 201, always 202, or `mount_error`."""
    mount_error: int = 403
    mount_location: bool = True
    """False: a mount is answered 201 with no Location."""
    single_post: bool = False
    """True: POST with ?digest= and a body is an upload. False: it is answered 202, as the specification
    allows."""
    patches: Literal["many", "first-only", "none"] = "many"
    """"first-only": later ones are answered 201 and their bytes dropped, as seen of ECR; "none": 405."""
    patch_status: int = 202
    max_patch_bytes: int | None = None
    """A PATCH with a Content-Length above this is answered 416, as seen of GHCR (4 MiB)."""
    chunked_encoding: bool = True
    """False: a body without Content-Length is answered 411."""
    chunk_min_bytes: int | None = None
    """Sent as OCI-Chunk-Min-Length."""
    max_layer_bytes: int | None = None
    """Anything larger is answered 413, before its body is read where the length is known."""
    resumable: bool = False
    """True: what arrived before a connection broke counts. False: the session is dead, as in distribution
    2.8."""
    head_blobs: bool = True
    """False: HEAD on a blob is answered 405."""
    redirect_blobs: bool = False
    """True: GET on a blob redirects (307) to a storage on another port that wants no Authorization."""
    redirect_manifests: bool = False
    """True: GET and HEAD on a manifest, and GET on the tags, redirect (307) to that other port too, as registry.k8s.io does."""
    ranges: bool = True
    """False: GET on a blob sends all of it, whatever Range asks for."""
    digest_header: Literal["right", "wrong", "missing"] = "right"
    """Docker-Content-Digest on manifests, on GET, HEAD and PUT."""
    max_manifest_bytes: int = 4 << 20
    check_references: bool = True
    check_sizes: bool = True
    """False: a descriptor's size may differ from its blob's."""
    media_types: frozenset[str] = frozenset({OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST})
    """Manifests of another type are answered 400 MANIFEST_INVALID."""
    strict_accept: bool = True
    """True: an OCI manifest that the Accept header does not name is answered 404, as distribution does."""
    immutable_tags: int | None = None
    """The status (409, 400 ...) for putting another manifest under a tag that exists."""
    deletes: bool = True
    referrers: bool = True
    """False: no referrers API (404) and no OCI-Subject header."""
    subject_header: bool | None = None
    """OCI-Subject whatever `referrers` says; some send it without having the API."""
    create_on_push: bool = True
    """False: pushing to a repository that was not created first is answered 404 NAME_UNKNOWN."""
    catalog: bool = True
    page_size: int = 100
    extra_headers: Headers = field(default=(("Docker-Distribution-Api-Version", "registry/2.0"),))


def oci_error(
    status: int, code: str, message: str = "", *, detail: object = None, headers: Headers = ()
) -> RefusedError:
    """An error in the specification's JSON shape (distribution-spec, "Error Codes")."""
    error = {"code": code, "message": message or code.replace("_", " ").lower(), "detail": detail}
    return RefusedError(json_response(status, {"errors": [error]}, headers))
