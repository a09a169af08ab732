"""What a hub says of a repository, believed only as far as it makes sense."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from buildkit.card import Card
from buildkit.errors import InvalidInput, Problem, SourceFailed
from buildkit.inputs import HUB_REPOSITORY
from buildkit.oci.manifest import LARGEST_FILE
from buildkit.pin import File
from buildkit.sources import cards
from buildkit.sources.addresses import shown
from buildkit.sources.hub_api import HubApi
from buildkit.sources.refusals import Asked
from buildkit.sources.selection import clashes, name_problem, printable

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Located:
    """A repository under the name that the hub gives it now, the commit that a revision means, and its card there."""

    name: str
    commit: str
    card: Card = field(default_factory=Card)


@dataclass(frozen=True)
class Listed:
    """A file as the hub lists it: its size in bytes, its git object, and for a large one the size and sha256 that LFS knows.

    Nothing but the type of ``path`` is believed yet.
    """

    path: str
    size: object
    git_oid: object
    large: Mapping[str, object] | None = None


@dataclass(frozen=True)
class Hub:
    """What is asked of a hub about one repository."""

    asked: Asked
    api: HubApi

    def locate(self) -> Located:
        """Asks what the revision means; raises SourceFailed or InvalidInput."""
        info = self._info()
        name, commit = str(info.get("id") or ""), str(info.get("sha") or "")
        if not HUB_REPOSITORY.fullmatch(name) or not _COMMIT.fullmatch(commit):
            raise SourceFailed(
                f"{shown(self.asked.endpoint)} answers with a name or commit that none can be: "
                f"{printable(name)} at {printable(commit)}"
            )
        return Located(name, commit, cards.read(info))

    def card(self) -> Card:
        """Asks for the model's card; raises SourceFailed or InvalidInput."""
        return cards.read(self._info())

    def files(self, located: Located) -> list[Listed]:
        """Asks for every file of a commit; raises SourceFailed."""
        path = f"/api/models/{located.name}/tree/{located.commit}?recursive=true&expand=false"
        return [listed for page in self._pages(path) for entry in page for listed in _files(entry)]

    def _info(self) -> Mapping[str, object]:
        repository = self.asked.repository
        if not HUB_REPOSITORY.fullmatch(repository):
            raise InvalidInput(f"{repository!r} is not a repository of a hub", hint="write ORG/NAME")
        info = self.api.document(f"/api/models/{repository}/revision/{quote(self.asked.revision, safe='')}")
        if not isinstance(info, dict):
            raise self.api.unlike_a_hub()
        return info

    def _pages(self, path: str) -> Iterator[list[Mapping[str, object]]]:
        for page in self.api.pages(path):
            if not isinstance(page, list) or not all(isinstance(entry, dict) for entry in page):
                raise self.api.unlike_a_hub()
            yield page


def _files(entry: Mapping[str, object]) -> Iterator[Listed]:
    path, large = entry.get("path"), entry.get("lfs")
    if entry.get("type") == "file" and isinstance(path, str):
        yield Listed(path, entry.get("size"), entry.get("oid"), large if isinstance(large, dict) else None)


def pinned(entries: Sequence[Listed], name: str) -> tuple[File, ...]:
    """The entries as files, sorted by path; raises SourceFailed with every one that cannot be taken."""
    problems = [problem for entry in entries for problem in _problems(entry)]
    problems += clashes(entry.path for entry in entries)
    if problems:
        raise SourceFailed(f"{name} has files that cannot be taken", problems, hint="leave them out with 'exclude'")
    return tuple(sorted((_file(entry) for entry in entries), key=lambda file: file.path))


def _problems(entry: Listed) -> Iterator[Problem]:
    named = name_problem(entry.path, "")
    if named:
        yield named
    path, size = printable(entry.path), entry.size
    if type(size) is not int or not 0 <= size <= LARGEST_FILE:
        yield Problem(path, f"the hub says its size is {printable(repr(size))}, which is not a number of bytes")
    elif entry.large and entry.large.get("size") != size:
        told = printable(repr(entry.large.get("size")))
        yield Problem(path, f"the hub tells two sizes of it, {told} and {size}")
    proof = entry.large.get("oid") if entry.large else entry.git_oid
    if not isinstance(proof, str) or not (_SHA256 if entry.large else _COMMIT).fullmatch(proof):
        yield Problem(path, f"the hub says it hashes to {printable(repr(proof))}, which is no digest")


def _file(entry: Listed) -> File:
    assert isinstance(entry.size, int)
    # The git object of a large file is its pointer, which does not prove the content; its sha256 does.
    if entry.large:
        return File(entry.path, entry.size, sha256=str(entry.large["oid"]))
    return File(entry.path, entry.size, git_oid=str(entry.git_oid))
