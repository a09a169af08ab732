"""What a registry's refusal means, in words: its own, and what a person can do about it there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError

from buildkit.errors import ModelpackError, Problem, RegistryFailed
from buildkit.oci.manifest import parse_object
from buildkit.registries.credentials import Credentials
from buildkit.registries.profile import Profile

_LARGEST_ERROR = 64 * 1024
_LONGEST_WORDS = 300
_WORDS = ("message", "error_description", "details", "detail", "error")


def unexpected(host: str, profile: Profile, status: int, body: bytes, doing: str, peer: str = "") -> RegistryFailed:
    """The failure for an answer that was not expected while ``doing`` something; ``peer`` gave it, where not the registry."""
    said = explained(body)
    hints = {
        404: profile.create or "check the repository's name; some registries want it to be created first",
        409: "the registry does not let this tag be moved: use another tag",
        413: "it is too large for this registry: use 'layers: per-file' or max_layer_size",
        507: "the registry has no room left: delete images there, or ask who runs it",
    }
    hint = hints.get(status, "the registry refused it: its log, or who runs it, can tell why")
    return RegistryFailed(
        f"{doing} failed: {peer or host} answered {status}" + (f" ({said})" if said else ""),
        hint=f"{host} sent us there: run the same command again, or ask who runs that registry" if peer else hint,
    )


class Refused(Exception):
    """A 401 or 403: ``by`` whom, in its own words. ``known``: it knew who asked, and does not let them."""

    def __init__(self, by: str, status: int, said: str, *, known: bool) -> None:
        super().__init__(f"{by} answered {status}" + (f" ({said})" if said else ""))
        self.by = by
        self.status = status
        self.said = said
        self.known = known


def not_allowed(
    host: str, profile: Profile, credentials: Credentials | None, refused: Refused, what: str, helper_failed: str = ""
) -> RegistryFailed:
    """Tells apart: nobody is logged in, the login is wrong, or it is right and not enough for ``what``.

    ``helper_failed`` is why a helper gave no credentials.
    """
    login = f"log in with 'modelpack login {host}', 'docker login {host}' or 'podman login {host}'"
    how = f"; {profile.login}" if profile.login else ""
    said = f": {refused.said}" if refused.said else ""
    if credentials is not None and not refused.known:
        return RegistryFailed(
            f"{refused.by} does not accept the credentials from {credentials.found}{said}", hint=f"{login} again{how}"
        )
    said = said if refused.by == host else f": {refused}"
    if credentials is None:
        why = [Problem("", helper_failed)] if helper_failed else []
        return RegistryFailed(
            f"not logged in to {host}, which does not let anyone use {what}{said}",
            why,
            hint=("mend what the helper says, or " if helper_failed else "") + login + how,
        )
    create = profile.create or "create the repository first where the registry wants that"
    return RegistryFailed(
        f"logged in to {host} (credentials from {credentials.found}), but not allowed to use {what}{said}",
        hint=f"ask for the permission to push there; or: {create}",
    )


def error_body(answer: urllib3.BaseHTTPResponse) -> bytes:
    """What an answer says of an error, bounded."""
    try:
        return answer.read(_LARGEST_ERROR)
    except HTTPError:
        return b""


def explained(body: bytes) -> str:
    """A server's own words for an error, made safe for a terminal; "" where there are none for a person.

    Those of the specification (distribution-spec, "Error Codes"), of token services (RFC 6749, 5.2, and what they say
    beside it), or the first line of a plain text.
    """
    try:
        said = _told(parse_object(body, "error"))
    except ModelpackError:
        lines = body.decode(errors="replace").strip().splitlines()
        said = lines[0] if lines and not lines[0].startswith(("<", "{", "[")) and "\ufffd" not in lines[0] else ""
    return "".join(character if character.isprintable() else " " for character in said)[:_LONGEST_WORDS]


def _told(content: Mapping[str, Any]) -> str:
    errors = content.get("errors")
    listed = [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
    if listed:
        return "; ".join(f"{error.get('code', '')} {error.get('message', '')}".strip() for error in listed)
    return next((content[key] for key in _WORDS if isinstance(content.get(key), str)), "")
