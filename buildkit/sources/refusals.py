"""Why a hub does not give what it is asked for, told apart so that a person knows what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from buildkit.errors import SourceFailed
from buildkit.sources.addresses import shown
from buildkit.sources.selection import printable


@dataclass(frozen=True)
class Asked:
    """What a hub was asked for, as an error names it. ``commit``: what the revision was pinned to, where that was asked for."""

    endpoint: str
    repository: str
    revision: str
    with_token: bool
    commit: str = ""

    @property
    def page(self) -> str:
        """The model's page, for a browser."""
        return f"{shown(self.endpoint)}/{self.repository}"


def refuse_offline(what: str) -> None:
    """Raises SourceFailed, about ``what`` would need the network, where the user said that there is none."""
    from huggingface_hub import constants

    if constants.is_offline_mode():
        raise SourceFailed(
            f"{what}: HF_HUB_OFFLINE says that there is no network",
            hint="unset HF_HUB_OFFLINE; with a lock, files that are in the hub's cache are read without network",
        )


def refusal(asked: Asked, status: int, headers: Mapping[str, str]) -> SourceFailed:
    """The failure that a hub's answer means, by its ``X-Error-Code`` where it has one, else by its status.

    Why somebody is not let in is said in the hub's own words as well.
    """
    code = headers.get("X-Error-Code", "")
    message = headers.get("X-Error-Message", "").strip()
    failure = _refusal(asked, status, code, message)
    # A visitor without a token hears of a password, whatever is missing.
    if status not in (401, 403) or not message or (code == "RepoNotFound" and not asked.with_token):
        return failure
    return SourceFailed(f"{failure.what}; the hub says: {printable(message)}", hint=failure.hint)


def _refusal(asked: Asked, status: int, code: str, message: str) -> SourceFailed:
    name = asked.repository
    if code == "GatedRepo":
        return SourceFailed(f"access to {name} is gated, and {_who(asked)} was not let in", hint=_gated_hint(asked))
    if code == "RevisionNotFound":
        return _no_revision(asked)
    if code == "EntryNotFound":
        where = f"commit {asked.commit}" if asked.commit else f"revision {asked.revision}"
        return SourceFailed(f"{name} has no such file in {where}", hint="run: modelpack lock --upgrade")
    if "disabled" in message.lower():
        return SourceFailed(f"the hub has disabled {name}", hint=f"{asked.page} may say why")
    if status == 401 and asked.with_token and code != "RepoNotFound":
        return SourceFailed(
            "the hub does not accept the token it was given", hint="set HF_TOKEN anew, or run: hf auth login"
        )
    if code == "RepoNotFound" or status in (401, 404):
        return _missing(asked, told=bool(code) or status == 401)
    if status == 403:
        return SourceFailed(
            f"{_who(asked)} may not read {name}",
            hint="the token needs read access to this repository's content: check its permissions in the hub's settings",
        )
    return SourceFailed(
        f"{shown(asked.endpoint)} answers {status} for {name}", hint="check the hub's address and its status page"
    )


def _no_revision(asked: Asked) -> SourceFailed:
    """A pinned commit goes when its branch is written anew, as by a squash: then the branch itself is still there."""
    if asked.commit and asked.commit != asked.revision:
        return SourceFailed(
            f"{asked.repository} does not have the pinned commit {asked.commit} any more",
            hint=f"its history was written anew; take what {printable(asked.revision)!r} is now: modelpack lock --upgrade",
        )
    return SourceFailed(
        f"{asked.repository} has no revision {printable(asked.revision)!r}",
        hint=f"see {asked.page}/tree/main for its branches",
    )


def _missing(asked: Asked, told: bool) -> SourceFailed:
    if not told:
        return SourceFailed(
            f"{shown(asked.endpoint)} has nothing for {asked.repository}, and does not answer like a hub",
            hint="check the repository's name, and 'hub: {endpoint: ...}' in modelpack.yaml",
        )
    if asked.with_token:
        return SourceFailed(
            f"{asked.repository} is not on {shown(asked.endpoint)}, or it is private and this token may not see it",
            hint="check the name, written ORG/NAME, and that the token has access to it",
        )
    return SourceFailed(
        f"{asked.repository} is not on {shown(asked.endpoint)}, or it is private and no token was sent",
        hint="check the name, written ORG/NAME; for a private model set HF_TOKEN or run: hf auth login",
    )


def _who(asked: Asked) -> str:
    return "this token" if asked.with_token else "a visitor without a token"


def _gated_hint(asked: Asked) -> str:
    accept = f"accept the terms at {asked.page}"
    return f"{accept} with the account the token is of" if asked.with_token else f"{accept}, and set HF_TOKEN"
