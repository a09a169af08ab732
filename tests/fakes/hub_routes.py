"""What a hub answers to which path."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from typing import Protocol
from urllib.parse import parse_qs, quote, unquote, urlsplit

from tests.fakes.content import Bytes
from tests.fakes.http_message import Headers, Incoming, RefusedError, Response, json_response, ranged_response
from tests.fakes.hub_errors import gated_repo, moved, refused, repo_not_found
from tests.fakes.hub_links import Links
from tests.fakes.hub_listing import describe, model_info, paged, tree_entries
from tests.fakes.hub_repository import Commit, HubFile, Repository


class HubState(Protocol):
    """The part of a `Hub` that its routes look at."""

    repositories: dict[str, Repository]
    renamed: dict[str, str]
    links: Links
    token: str
    other_token: str
    page_size: int
    resolve_cache: bool
    gzip_text: bool

    @property
    def endpoint(self) -> str: ...


_ID = r"(?P<id>[^/]+(?:/[^/]+)?)"
_REV = r"(?P<rev>refs/(?:pr|convert)/[^/]+|[^/]+)"


class Routes:
    """Answers the hub's own origin."""

    def __init__(self, hub: HubState) -> None:
        self._hub = hub
        self._table: list[tuple[str, str, Callable[[Visit], Response]]] = [
            ("GET", r"/api/whoami-v2", self._whoami),
            ("GET", rf"/api/models/{_ID}/revision/{_REV}", self._info),
            ("GET", rf"/api/models/{_ID}/tree/{_REV}(?:/(?P<path>.*))?", self._tree),
            ("POST", rf"/api/models/{_ID}/paths-info/{_REV}", self._paths_info),
            ("GET", rf"/api/models/{_ID}/refs", self._refs),
            ("GET", rf"/api/models/{_ID}/auth-check", self._auth_check),
            ("GET", rf"/api/models/{_ID}", self._info),
            (
                "GET HEAD",
                rf"/api/resolve-cache/models/{_ID}/(?P<rev>[0-9a-f]{{40}})/(?P<path>.+)",
                self._cached,
            ),
            ("GET HEAD", rf"/{_ID}/resolve/{_REV}/(?P<path>.+)", self._resolve),
        ]

    def answer(self, request: Incoming) -> Response:
        """The response to any request; 404 as JSON for a path that no route knows."""
        try:
            for methods, pattern, route in self._table:
                found = re.fullmatch(pattern, request.path)
                if found and request.method in methods.split():
                    return route(Visit(self._hub, request, found))
            return json_response(404, {"error": "Sorry, we can't find the page you are looking for."})
        except RefusedError as refusal:
            return refusal.response

    def _whoami(self, visit: Visit) -> Response:
        if visit.token is None:
            raise refused(401, "Invalid username or password.")
        name = "owner" if visit.may_all else "other"
        access = {"accessToken": {"displayName": name, "role": "read"}}
        return json_response(200, {"type": "user", "id": name, "name": name, "orgs": [], "auth": access})

    def _info(self, visit: Visit) -> Response:
        repository, commit = visit.repository(), visit.commit()
        blobs = visit.flag("blobs")
        return json_response(200, model_info(repository, commit, blobs, visit.request.query.get("expand", [])))

    def _tree(self, visit: Visit) -> Response:
        commit, folder = visit.commit(), visit.part("path").rstrip("/")
        if folder and folder not in commit.folders:
            raise visit.no_entry(folder)
        expand = visit.flag("expand")
        entries = tree_entries(commit, folder, visit.flag("recursive"), expand)
        size = min(self._hub.page_size, 50) if expand else self._hub.page_size
        return paged(visit.request, entries, size, self._hub.endpoint)

    def _paths_info(self, visit: Visit) -> Response:
        commit = visit.commit()
        paths, expand = _paths_asked(visit.request)
        known = [path.strip("/") for path in paths if path.strip("/") in {*commit.files, *commit.folders}]
        return json_response(200, [describe(commit, path, expand) for path in known])

    def _refs(self, visit: Visit) -> Response:
        repository = visit.repository()
        branches = [_ref("heads", name, sha) for name, sha in sorted(repository.branches.items())]
        tags = [_ref("tags", name, sha) for name, sha in sorted(repository.tags.items())]
        return json_response(200, {"branches": branches, "tags": tags, "converts": [], "pullRequests": []})

    def _auth_check(self, visit: Visit) -> Response:
        visit.check_gate()
        return json_response(200, {})

    def _resolve(self, visit: Visit) -> Response:
        file, commit = visit.file(), visit.commit()
        headers: Headers = (
            ("X-Repo-Commit", commit.sha),
            ("ETag", f'"{file.etag}"'),
            ("Accept-Ranges", "bytes"),
        )
        if file.lfs:
            size = str(file.content.size)
            linked: Headers = (("X-Linked-Size", size), ("X-Linked-Etag", f'"{file.etag}"'))
            location = self._hub.links.sign(file.content)
            body = Bytes(f"Found. Redirecting to {location}".encode())
            return Response(302, (("Location", location), *headers, *linked), body)
        if self._hub.resolve_cache:
            where = f"/api/resolve-cache/models/{visit.part('id')}/{commit.sha}/{quote(file.path)}"
            return Response(307, (("Location", f"{where}?etag={quote(file.etag)}"), *headers))
        return self._small(visit, file, headers[:2])

    def _cached(self, visit: Visit) -> Response:
        file = visit.file()
        return self._small(visit, file, (("X-Repo-Commit", visit.commit().sha), ("ETag", f'"{file.etag}"')))

    def _small(self, visit: Visit, file: HubFile, headers: Headers) -> Response:
        accepted = visit.request.headers.get("accept-encoding", "")
        kind: Headers = (("Content-Type", "text/plain; charset=utf-8"), *headers)
        if not self._hub.gzip_text or "gzip" not in accepted:
            return ranged_response(visit.request, file.content, kind)
        packed = gzip.compress(file.content.read(0, file.content.size), mtime=0)
        chunked = Bytes(b"%x\r\n%b\r\n0\r\n\r\n" % (len(packed), packed))
        coded: Headers = (("Content-Encoding", "gzip"), ("Transfer-Encoding", "chunked"))
        weak = ("ETag", f'W/"{file.etag}"')
        return Response(200, (*kind, *coded), chunked).with_header(*weak)


class Visit:
    """A request to a hub with what its path names and what its visitor may do."""

    def __init__(self, hub: HubState, request: Incoming, found: re.Match[str]) -> None:
        self._hub, self.request, self._found = hub, request, found
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        self.token = token if scheme.lower() == "bearer" else None
        if self.token not in (None, hub.token, hub.other_token):
            raise refused(401, "Invalid credentials in Authorization header")

    @property
    def may_all(self) -> bool:
        return self.token == self._hub.token

    def part(self, name: str) -> str:
        """A part of the path, decoded; "" where the path has none."""
        return unquote(self._found.groupdict().get(name) or "")

    def flag(self, name: str) -> bool:
        return (self.request.first(name) or "").lower() in ("true", "1")

    def repository(self) -> Repository:
        repo_id = self.part("id")
        if new := self._hub.renamed.get(repo_id):
            start, end = self._found.span("id")
            path, query = self.request.path, urlsplit(self.request.target).query
            raise moved(path[:start] + new + path[end:] + ("?" + query if query else ""))
        repository = self._hub.repositories.get(repo_id)
        if repository is None or (repository.private and not self.may_all):
            raise repo_not_found(self.token is None)
        return repository

    def commit(self) -> Commit:
        revision = self.part("rev") or "main"
        commit = self.repository().find(revision)
        if commit is None:
            raise refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit

    def check_gate(self) -> None:
        repository = self.repository()
        if repository.gated and not self.may_all:
            raise gated_repo(repository.repo_id, self._hub.endpoint, self.token is None)

    def file(self) -> HubFile:
        commit = self.commit()
        self.check_gate()
        file = commit.files.get(self.part("path"))
        if file is None:
            raise self.no_entry(self.part("path"))
        return file

    def no_entry(self, path: str) -> RefusedError:
        where: Headers = (("X-Repo-Commit", self.commit().sha),)
        return refused(404, f"Entry not found: {path}", "EntryNotFound", where)


def _paths_asked(request: Incoming) -> tuple[list[str], bool]:
    body = request.body.read(1 << 20).decode()
    if "json" in request.headers.get("content-type", ""):
        document = json.loads(body)
        return list(document["paths"]), bool(document.get("expand"))
    form = parse_qs(body)
    return form.get("paths", []), form.get("expand", [""])[0].lower() == "true"


def _ref(kind: str, name: str, sha: str) -> dict[str, str]:
    return {"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": sha}
