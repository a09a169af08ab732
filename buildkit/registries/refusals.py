"""What a registry's refusal means, in words: its own, and what a person can do about it there."""

from __future__ import annotations

import re

import urllib3
from urllib3.exceptions import HTTPError, NameResolutionError

from buildkit.errors import ModelpackError, RegistryFailed
from buildkit.oci.manifest import parse_object
from buildkit.registries.credentials import Credentials
from buildkit.registries.profile import Profile

_LARGEST_ERROR = 64 * 1024


def unexpected(host: str, profile: Profile, status: int, body: bytes, doing: str) -> RegistryFailed:
    """The failure for an answer that was not expected while ``doing`` something."""
    said = explained(body)
    hints = {
        404: profile.create or "check the repository's name; some registries want it to be created first",
        409: "the registry does not let this tag be moved: use another tag",
        413: "it is too large for this registry: use 'layers: per-file' or max_layer_size",
        507: "the registry has no room left: delete images there, or ask who runs it",
    }
    return RegistryFailed(
        f"{doing} failed: {host} answered {status}" + (f" ({said})" if said else ""),
        hint=hints.get(status, "the registry refused it: its log, or who runs it, can tell why"),
    )


def not_allowed(
    host: str, profile: Profile, credentials: Credentials | None, status: int, what: str, body: bytes
) -> RegistryFailed:
    """Tells apart: nobody is logged in, the login is wrong, or it is right and not enough for ``what``."""
    login = f"log in with 'modelpack login {host}', 'docker login {host}' or 'podman login {host}'"
    how = f"; {profile.login}" if profile.login else ""
    if credentials is None:
        return RegistryFailed(f"not logged in to {host}, which does not let anyone use {what}", hint=login + how)
    if status == 401:
        return RegistryFailed(
            f"{host} does not accept the credentials from {credentials.found}", hint=f"{login} again{how}"
        )
    said = explained(body)
    create = profile.create or "create the repository first where the registry wants that"
    return RegistryFailed(
        f"logged in to {host} (credentials from {credentials.found}), but not allowed to use {what}"
        + (f": {said}" if said else ""),
        hint=f"ask for the permission to push there; or: {create}",
    )


def error_body(answer: urllib3.BaseHTTPResponse) -> bytes:
    """What an answer says of an error, bounded."""
    try:
        return answer.read(_LARGEST_ERROR)
    except HTTPError:
        return b""


def explained(body: bytes) -> str:
    """The registry's own words for an error (distribution-spec, "Error Codes"), made safe for a terminal."""
    try:
        errors = parse_object(body, "error").get("errors")
        said = "; ".join(f"{error.get('code', '')} {error.get('message', '')}".strip() for error in errors or [])
    except (ModelpackError, AttributeError, TypeError):
        return ""
    return "".join(character if character.isprintable() else " " for character in said)[:300]


def reason(error: BaseException) -> str:
    """What went wrong with a connection, without what a library says around it."""
    inner = getattr(error, "reason", None) or error
    text = str(inner.args[-1] if isinstance(inner, Exception) and inner.args else inner)
    if isinstance(inner, NameResolutionError):
        return "the name cannot be resolved"
    text = re.sub(r"^.*(?:new connection|>|\)): ", "", text)
    return re.sub(r"\[Errno -?\d+\] ", "", text)[:300]
