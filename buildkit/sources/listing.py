"""What a hub says of a repository, asked by the hub's own library and believed only as far as it makes sense."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx2
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.hf_api import ModelInfo, RepoFile

from buildkit import __version__
from buildkit.card import Card
from buildkit.errors import InvalidInput, Problem, SourceFailed
from buildkit.inputs import HUB_REPOSITORY
from buildkit.pin import File
from buildkit.sources import cards
from buildkit.sources.addresses import shown
from buildkit.sources.hub_client import asking
from buildkit.sources.patience import Wait
from buildkit.sources.refusals import Asked, refusal
from buildkit.sources.selection import clashes, name_problem, printable
from buildkit.sources.token import Token

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LARGEST = 1 << 60
"""Bytes. No file system holds a file that is larger."""


@dataclass(frozen=True)
class Located:
    """A repository under the name that the hub gives it now, the commit that a revision means, and its card there."""

    name: str
    commit: str
    card: Card = field(default_factory=Card)


@dataclass(frozen=True)
class Hub:
    """A hub as its own library asks it, with the waits and rules of this project."""

    asked: Asked
    token: Token | None
    wait: Wait

    def locate(self) -> Located:
        """Asks what the revision means; raises SourceFailed or InvalidInput."""
        with self._explained():
            info = self._api().model_info(self.asked.repository, revision=self.asked.revision)
            name, commit, card = str(info.id), str(info.sha), _card(info)
        if not HUB_REPOSITORY.fullmatch(name) or not _COMMIT.fullmatch(commit):
            raise SourceFailed(
                f"{shown(self.asked.endpoint)} answers with a name or commit that none can be: "
                f"{printable(name)} at {printable(commit)}"
            )
        return Located(name, commit, card)

    def card(self) -> Card:
        """Asks for the model's card; raises SourceFailed or InvalidInput."""
        with self._explained():
            return _card(self._api().model_info(self.asked.repository, revision=self.asked.revision))

    def files(self, located: Located) -> list[RepoFile]:
        """Asks for every file of a commit; raises SourceFailed."""
        with self._explained():
            entries = self._api().list_repo_tree(located.name, recursive=True, revision=located.commit)
            return [entry for entry in entries if isinstance(entry, RepoFile) and isinstance(entry.path, str)]

    def _api(self) -> HfApi:
        token = self.token.reveal() if self.token else False
        return HfApi(self.asked.endpoint, token=token, library_name="modelpack", library_version=__version__)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        if constants.is_offline_mode():
            raise offline(f"{self.asked.repository} cannot be asked for")
        try:
            with asking(self.asked.endpoint, self.wait):
                yield
        except HfHubHTTPError as error:
            raise refusal(self.asked, error.response.status_code, error.response.headers) from None
        except HFValidationError:
            raise InvalidInput(
                f"{self.asked.repository!r} is not a repository of a hub", hint="write ORG/NAME"
            ) from None
        except httpx2.TooManyRedirects:
            raise SourceFailed(f"{shown(self.asked.endpoint)} redirects in circles") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise SourceFailed(
                f"{shown(self.asked.endpoint)} does not answer like a Hugging Face hub",
                hint="check 'hub: {endpoint: ...}' in modelpack.yaml, and that no login page of a network is in between",
            ) from None


def _card(info: ModelInfo) -> Card:
    data = vars(info.card_data) if info.card_data else {}
    return cards.read(data, info.gated, info.pipeline_tag, info.library_name)


def offline(what: str) -> SourceFailed:
    """The failure of whatever would need the network while the user said that there is none."""
    return SourceFailed(
        f"{what}: HF_HUB_OFFLINE says that there is no network",
        hint="unset HF_HUB_OFFLINE; with a lock, files that are in the hub's cache are read without network",
    )


def pinned(entries: Sequence[RepoFile], name: str) -> tuple[File, ...]:
    """The entries as files, sorted by path; raises SourceFailed with every one that cannot be taken."""
    problems = [problem for entry in entries for problem in _problems(entry)]
    problems += clashes(entry.path for entry in entries)
    if problems:
        raise SourceFailed(f"{name} has files that cannot be taken", problems, hint="leave them out with 'exclude'")
    return tuple(sorted((_file(entry) for entry in entries), key=lambda file: file.path))


def _problems(entry: RepoFile) -> Iterator[Problem]:
    named = name_problem(entry.path, "")
    if named:
        yield named
    path = printable(entry.path)
    size: object = entry.size
    if type(size) is not int or not 0 <= size <= _LARGEST:
        yield Problem(path, f"the hub says its size is {printable(repr(size))}, which is not a number of bytes")
    elif entry.lfs and entry.lfs.size != size:
        yield Problem(path, f"the hub tells two sizes of it, {printable(repr(entry.lfs.size))} and {size}")
    proof: object = entry.lfs.sha256 if entry.lfs else entry.blob_id
    if not isinstance(proof, str) or not (_SHA256 if entry.lfs else _COMMIT).fullmatch(proof):
        yield Problem(path, f"the hub says it hashes to {printable(repr(proof))}, which is no digest")


def _file(entry: RepoFile) -> File:
    # The git object of a large file is its pointer, which does not prove the content; its sha256 does.
    if entry.lfs:
        return File(entry.path, entry.size, sha256=entry.lfs.sha256)
    return File(entry.path, entry.size, git_oid=entry.blob_id)
