"""Repositories of a fake hub: commits over files, with git's own ids so that they depend on content alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tests.fakes.content import Bytes, Content, as_content, git_blob_id

Gated = Literal["auto", "manual", False]


@dataclass(frozen=True)
class HubFile:
    """A file of a commit. `blob_id` is git's id of what git holds: for a large file that is its LFS
    pointer."""

    path: str
    content: Content
    lfs: bool
    blob_id: str
    pointer_size: int = 0

    @property
    def etag(self) -> str:
        """What identifies the bytes: the sha256 of a large file, git's blob id of a small one."""
        return self.content.sha256 if self.lfs else self.blob_id


@dataclass(frozen=True)
class Commit:
    """A state of a repository: its files, and its folders with their git tree ids, by path."""

    sha: str
    title: str
    number: int
    files: Mapping[str, HubFile]
    folders: Mapping[str, str]

    @property
    def date(self) -> str:
        """A made-up date, a minute after that of the commit before."""
        return f"2026-01-{1 + self.number // 1440:02}T{self.number // 60 % 24:02}:{self.number % 60:02}:00.000Z"


@dataclass
class Repository:
    """A model repository with all its commits; refs are branch and tag names to commits."""

    repo_id: str
    gated: Gated = False
    private: bool = False
    card: Mapping[str, object] | None = None
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def commit(self, files: Mapping[str, bytes | Path | Content], branch: str, lfs_over: int) -> Commit:
        """Record these files as the branch's new and only content."""
        parent = self.branches.get(branch)
        known = {path: _file(path, as_content(value), lfs_over) for path, value in sorted(files.items())}
        folders = _tree_ids(known)
        title = f"commit {len(self.commits)}"
        lines = [f"tree {folders['']}", *([f"parent {parent}"] if parent else []), "", title]
        sha = _git_id("commit", "\n".join(lines).encode())
        shown = {path: tree for path, tree in folders.items() if path}
        commit = Commit(sha, title, len(self.commits), known, shown)
        self.commits[sha] = commit
        self.branches[branch] = sha
        return commit

    def find(self, revision: str) -> Commit | None:
        """The commit of a branch, a tag or a full commit id."""
        sha = self.branches.get(revision) or self.tags.get(revision) or revision
        return self.commits.get(sha)


def _git_id(kind: str, data: bytes) -> str:
    return hashlib.sha1(f"{kind} {len(data)}\0".encode() + data).hexdigest()


def _file(path: str, content: Content, lfs_over: int) -> HubFile:
    if content.size <= lfs_over:
        return HubFile(path, content, False, git_blob_id(content))
    version, oid = "https://git-lfs.github.com/spec/v1", content.sha256
    pointer = Bytes(f"version {version}\noid sha256:{oid}\nsize {content.size}\n".encode())
    return HubFile(path, content, True, git_blob_id(pointer), pointer.size)


def _tree_ids(files: Mapping[str, HubFile]) -> dict[str, str]:
    """Git's id of every folder's tree, deepest first; "" is the root."""
    inside: dict[str, dict[str, tuple[bytes, str]]] = {"": {}}
    for path, file in files.items():
        folder, _, name = path.rpartition("/")
        inside.setdefault(folder, {})[name] = (b"100644", file.blob_id)
        while folder:
            folder = folder.rpartition("/")[0]
            inside.setdefault(folder, {})
    ids: dict[str, str] = {}
    for folder in sorted(inside, key=lambda each: (-each.count("/"), each == "", each)):
        entries = inside[folder]
        ids[folder] = _git_id("tree", b"".join(_entry(name, *entries[name]) for name in _git_order(entries)))
        if folder:
            above, _, name = folder.rpartition("/")
            inside[above][name] = (b"40000", ids[folder])
    return ids


def _git_order(entries: Mapping[str, tuple[bytes, str]]) -> list[str]:
    return sorted(entries, key=lambda name: name + "/" if entries[name][0] == b"40000" else name)


def _entry(name: str, mode: bytes, oid: str) -> bytes:
    return mode + b" " + name.encode() + b"\0" + bytes.fromhex(oid)
