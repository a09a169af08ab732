"""Where a login is kept: as ``docker login`` keeps it, so that docker, podman and every other tool find it as well.

The file is ``$REGISTRY_AUTH_FILE`` where that is set, as for podman and skopeo, else ``$DOCKER_CONFIG/config.json``
(``~/.docker``). A helper that the file names for the registry keeps the secret in its place.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from buildkit.errors import InvalidInput, ModelpackError
from buildkit.machine.answers import drain
from buildkit.machine.atomic import AtomicFile
from buildkit.oci.parsing import parse
from buildkit.registries.auth import server_key
from buildkit.registries.connection import Connection
from buildkit.registries.credential_helper import CredentialHelper
from buildkit.registries.credentials import Credentials

_PRIVATE = 0o600
_ROOM = "make room on the disk, and log in again"
_PERMISSIONS = "mend its permissions"
_HINTS = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: _ROOM,
    errno.EACCES: _PERMISSIONS,
    errno.EPERM: _PERMISSIONS,
}


def login_file(environment: Mapping[str, str] = os.environ) -> Path:
    """The file that a login is written to."""
    if environment.get("REGISTRY_AUTH_FILE"):
        return Path(environment["REGISTRY_AUTH_FILE"])
    return Path(environment.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"


def verify(connection: Connection) -> bool:
    """Asks the registry whether it takes the connection's credentials: False where it does not ask for any.

    Raises RegistryFailed where it does not take them (distribution-spec, "Determining Support": GET /v2/).
    """
    answer = connection.request("GET", "/v2/", ())
    drain(answer)
    connection.expect(answer, (200,), f"logging in to {connection.host}")
    return connection.authority.asked


def store(host: str, credentials: Credentials, environment: Mapping[str, str] = os.environ) -> str:
    """Keeps credentials for a host and says where: in a helper, else in the file, which nobody else may read."""
    path = login_file(environment)
    content = _read(path)
    key = server_key(host)
    helper = _helper(content, host, path)
    if helper:
        helper.store(key, credentials)
        entry: dict[str, str] = {}
    else:
        secret = f"{credentials.username}:{credentials.password}"
        entry = {"auth": base64.b64encode(secret.encode()).decode()}
    _write(path, {**content, "auths": {**_entries(content), key: entry}})
    return helper.program if helper else str(path)


def forget(host: str, environment: Mapping[str, str] = os.environ) -> list[str]:
    """Removes a host's credentials from the file and the helper; says from where, nothing where there were none.

    Raises InvalidInput where the helper does not forget them.
    """
    path = login_file(environment)
    content = _read(path)
    key = server_key(host)
    helper = _helper(content, host, path)
    entries = _entries(content)
    meant = {key, host, f"https://{host}", f"https://{host}/v1/", f"https://{host}/v2/"}
    kept = {name: entry for name, entry in entries.items() if name not in meant}
    removed = []
    if len(kept) < len(entries):
        _write(path, {**content, "auths": kept})
        # Beside a helper an entry is empty, and there only to be listed, unless it was written before the helper was named.
        if not helper or any(_holds_secret(entries[name]) for name in meant & set(entries)):
            removed.append(str(path))
    if helper and helper.erase(key):
        removed.append(helper.program)
    return removed


def _helper(content: Mapping[str, Any], host: str, path: Path) -> CredentialHelper | None:
    helpers = content.get("credHelpers")
    for key in (host, server_key(host)):
        if isinstance(helpers, dict) and key in helpers:
            return CredentialHelper(str(helpers[key]), path) if helpers[key] else None
    return CredentialHelper(str(content["credsStore"]), path) if content.get("credsStore") else None


def _entries(content: Mapping[str, Any]) -> dict[str, Any]:
    entries = content.get("auths")
    return dict(entries) if isinstance(entries, dict) else {}


def _holds_secret(entry: object) -> bool:
    return isinstance(entry, dict) and any(entry.get(key) for key in ("auth", "password", "identitytoken"))


def _read(path: Path) -> dict[str, Any]:
    hint = "mend it by hand: it may hold other logins, so that it is not replaced"
    try:
        content = parse(path.read_text(encoding="utf-8") or "{}")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read ({error})", hint="mend its permissions") from None
    except ValueError:
        raise InvalidInput(f"{path} is not JSON", hint=hint) from None
    if not isinstance(content, dict):
        raise InvalidInput(f"{path} is not a JSON object", hint=hint)
    return content


def _write(path: Path, content: Mapping[str, Any]) -> None:
    # A link, as dotfile managers make them, is written through and never replaced.
    place = path.resolve()
    made = [folder for folder in place.parents if not folder.exists()]
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with AtomicFile(place.parent) as atomic:
            atomic.file.write(json.dumps(content, indent="\t").encode() + b"\n")
            atomic.flush()
            atomic.keep(place, _PRIVATE)
    except OSError as error:
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        hint = _HINTS.get(error.errno or 0, "say with DOCKER_CONFIG or REGISTRY_AUTH_FILE where else")
        raise ModelpackError(f"{path} cannot be written: {error.strerror}", hint=hint) from None
