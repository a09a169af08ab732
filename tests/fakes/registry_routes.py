"""What a fake registry answers to which path, and what its visitor must be allowed for it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from tests.fakes.content import Content
from tests.fakes.http_message import Headers, Incoming, RefusedError, Response, json_response, ranged_response
from tests.fakes.registry_auth import Guard, Scope
from tests.fakes.registry_behaviour import Behaviour, oci_error
from tests.fakes.registry_manifests import Manifests
from tests.fakes.registry_storage import Discarded, Storage
from tests.fakes.registry_uploads import Uploads

_WORD = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
NAME = rf"{_WORD}(?:/{_WORD})*"
"""A repository's name (distribution-spec, "Pulling manifests")."""

Route = Callable[..., Response]


@dataclass
class Routes:
    """Answers a registry's own origin, and the upload and blob paths of its other one."""

    storage: Storage
    behaviour: Behaviour
    guard: Guard
    upload_base: Callable[[], str]
    other_url: Callable[[], str]

    def __post_init__(self) -> None:
        uploads = Uploads(self.storage, self.behaviour, self.upload_base)
        manifests = Manifests(self.storage, self.behaviour)
        self._manifests = manifests
        push, pull, session = "pull,push", "pull", r"/blobs/uploads/(?P<identity>[^/]+)"
        self._table: list[tuple[str, str, str, Route]] = [
            ("POST", r"/blobs/uploads/?", push, uploads.post),
            ("PATCH", session, push, uploads.patch),
            ("PUT", session, push, uploads.put),
            ("GET", session, push, uploads.get),
            ("DELETE", session, push, uploads.delete),
            ("GET HEAD", r"/blobs/(?P<digest>[^/]+)", pull, self._blob),
            ("DELETE", r"/blobs/(?P<digest>[^/]+)", "delete", self._delete_blob),
            ("GET HEAD", r"/manifests/(?P<reference>[^/]+)", pull, self._elsewhere(manifests.get)),
            ("PUT", r"/manifests/(?P<reference>[^/]+)", push, manifests.put),
            ("DELETE", r"/manifests/(?P<reference>[^/]+)", "delete", manifests.delete),
            ("GET", r"/tags/list", pull, self._elsewhere(manifests.tags)),
            ("GET", r"/referrers/(?P<digest>[^/]+)", pull, manifests.referrers),
        ]

    def answer(self, request: Incoming) -> Response:
        """The response to any request to the registry's own origin."""
        try:
            response = self._route(request, guarded=True)
        except RefusedError as refusal:
            response = refusal.response
        return Response(response.status, self.behaviour.extra_headers + response.headers, response.body)

    def answer_elsewhere(self, request: Incoming) -> Response:
        """The response of the other origin: a storage behind signed URLs that wants no credentials."""
        if "authorization" in request.headers:
            return Response(400)
        try:
            return self._route(request, guarded=False)
        except RefusedError as refusal:
            return refusal.response

    def _route(self, request: Incoming, guarded: bool) -> Response:
        if guarded and request.path in ("/v2", "/v2/"):
            self.guard.check(request, ())
            return json_response(200, {})
        if guarded and request.path == "/v2/_catalog" and self.behaviour.catalog:
            self.guard.check(request, [("", "catalog")])
            names, headers = self._manifests.page(request, self.storage.repositories, "/v2/_catalog")
            return json_response(200, {"repositories": names}, headers)
        for methods, pattern, actions, route in self._table:
            found = re.fullmatch(r"/v2/(?P<name>.+?)" + pattern, request.path)
            if found and request.method in methods.split():
                if guarded:
                    self.guard.check(request, _scopes(request, found["name"], actions))
                if not re.fullmatch(NAME, found["name"]):
                    raise oci_error(400, "NAME_INVALID", f"invalid repository name: {found['name']}")
                return route(request, **found.groupdict())
        raise oci_error(404, "UNSUPPORTED", f"{request.method} {request.path} is not an endpoint")

    def _elsewhere(self, route: Route) -> Route:
        def answer(request: Incoming, **named: str) -> Response:
            if self.behaviour.redirect_manifests and request.origin == "registry":
                return Response(307, (("Location", self.other_url() + request.target),))
            return route(request, **named)

        return answer

    def _blob(self, request: Incoming, name: str, digest: str) -> Response:
        content = self._linked(name, digest)
        if request.method == "HEAD" and not self.behaviour.head_blobs:
            raise oci_error(405, "UNSUPPORTED", "HEAD is not supported on blobs")
        if isinstance(content, Discarded) and request.method == "GET":
            raise oci_error(410, "BLOB_UNKNOWN", "this registry keeps no more than the sizes of blobs")
        if self.behaviour.redirect_blobs and request.method == "GET" and request.origin == "registry":
            return Response(307, (("Location", f"{self.other_url()}/v2/{name}/blobs/{digest}?signature=fake"),))
        headers: Headers = (
            ("Content-Type", "application/octet-stream"),
            ("Docker-Content-Digest", digest),
            ("ETag", f'"{digest}"'),
        )
        if not self.behaviour.ranges:
            return Response(200, headers, content)
        return ranged_response(request, content, headers)

    def _delete_blob(self, request: Incoming, name: str, digest: str) -> Response:
        self._linked(name, digest)
        if not self.behaviour.deletes:
            raise oci_error(405, "UNSUPPORTED", "the operation is unsupported")
        self.storage.repositories[name].blobs.discard(digest)
        return Response(202)

    def _linked(self, name: str, digest: str) -> Content:
        held = self.storage.repositories.get(name)
        if held is None or digest not in held.blobs:
            raise oci_error(404, "BLOB_UNKNOWN", "blob unknown to registry", detail={"digest": digest})
        return self.storage.blobs[digest]


def _scopes(request: Incoming, name: str, actions: str) -> list[Scope]:
    """What a request needs; a mount also needs to read where it mounts from."""
    scopes = [(name, action) for action in actions.split(",")]
    source = request.first("from")
    if request.first("mount") and source:
        scopes.append((source, "pull"))
    return scopes
