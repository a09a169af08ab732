"""How a hub describes a repository: model info, tree entries and their pages, in JSON shapes."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from urllib.parse import urlencode, urlsplit

from tests.fakes.http_message import Incoming, Response, json_response
from tests.fakes.hub_repository import Commit, HubFile, Repository

Json = dict[str, object]


def model_info(repository: Repository, commit: Commit, blobs: bool, expand: Iterable[str]) -> Json:
    """What `/api/models/ID` says; with `expand`, those properties alone."""
    info: Json = {
        "_id": commit.sha[:24],
        "id": repository.repo_id,
        "modelId": repository.repo_id,
        "author": repository.repo_id.rpartition("/")[0],
        "sha": commit.sha,
        "lastModified": commit.date,
        "createdAt": "2026-01-01T00:00:00.000Z",
        "private": repository.private,
        "gated": repository.gated,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": [],
        "spaces": [],
        "usedStorage": sum(file.content.size for file in commit.files.values()),
        "siblings": [_sibling(file, blobs) for file in commit.files.values()],
    }
    if repository.card is not None:
        info["cardData"] = dict(repository.card)
    wanted = set(expand)
    return {key: value for key, value in info.items() if not wanted or key in wanted | {"_id", "id", "modelId"}}


def _sibling(file: HubFile, blobs: bool) -> Json:
    entry: Json = {"rfilename": file.path}
    if blobs:
        entry |= {"size": file.content.size, "blobId": file.blob_id}
        if file.lfs:
            lfs = {"sha256": file.content.sha256, "size": file.content.size, "pointerSize": file.pointer_size}
            entry["lfs"] = lfs
    return entry


def tree_entries(commit: Commit, folder: str, recursive: bool, expand: bool) -> list[Json]:
    """The entries below a folder ("" is the root), sorted by path."""
    start = folder + "/" if folder else ""
    paths = [path for path in (*commit.files, *commit.folders) if path.startswith(start)]
    if not recursive:
        paths = [path for path in paths if "/" not in path[len(start) :]]
    return [describe(commit, path, expand) for path in sorted(paths)]


def describe(commit: Commit, path: str, expand: bool) -> Json:
    """One file or folder of a commit."""
    if path in commit.folders:
        entry: Json = {"type": "directory", "oid": commit.folders[path], "size": 0, "path": path}
    else:
        entry = _file_entry(commit.files[path], expand)
    if expand:
        entry["lastCommit"] = {"id": commit.sha, "title": commit.title, "date": commit.date}
    return entry


def _file_entry(file: HubFile, expand: bool) -> Json:
    entry: Json = {"type": "file", "oid": file.blob_id, "size": file.content.size, "path": file.path}
    if file.lfs:
        lfs = {"oid": file.content.sha256, "size": file.content.size, "pointerSize": file.pointer_size}
        entry["lfs"] = lfs
    if expand:
        entry["securityFileStatus"] = {"status": "safe", "avScan": None, "pickleImportScan": None}
    return entry


def paged(request: Incoming, entries: list[Json], page_size: int, endpoint: str) -> Response:
    """One page of a listing, with a Link to the next (RFC 8288) whose cursor is opaque."""
    start = int(base64.urlsafe_b64decode(request.first("cursor") or "MA==").decode())
    size = min(page_size, int(request.first("limit") or page_size))
    page, left = entries[start : start + size], len(entries) - start - size
    if left <= 0:
        return json_response(200, page)
    cursor = base64.urlsafe_b64encode(str(start + size).encode()).decode()
    query = {name: values[0] for name, values in request.query.items()} | {
        "limit": str(size),
        "cursor": cursor,
    }
    link = f'<{endpoint}{urlsplit(request.target).path}?{urlencode(query)}>; rel="next"'
    return json_response(200, page, (("Link", link),))
