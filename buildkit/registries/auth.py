"""Credentials for a registry, from where docker and podman keep them.

The order: ``MODELPACK_<REGISTRY>_USERNAME`` and ``_PASSWORD``, where REGISTRY is a name in ``modelpack.yaml`` or the host,
then ``$REGISTRY_AUTH_FILE``, then ``$DOCKER_CONFIG/config.json`` (``~/.docker``), then podman's ``auth.json``. In a file the
entry with the longest path that matches wins (containers-auth.json(5)); ``credHelpers`` and ``credsStore`` are asked.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from buildkit.errors import InvalidInput, Problem
from buildkit.oci.parsing import parse
from buildkit.registries.credential_helper import CredentialHelper, HelperFailed
from buildkit.registries.credentials import Credentials

__all__ = ["Credentials", "find", "search", "server_key", "variable_stem"]

_DOCKER_HUB_KEYS = ("https://index.docker.io/v1/", "index.docker.io", "registry-1.docker.io")


def find(
    host: str,
    repository: str = "",
    environment: Mapping[str, str] = os.environ,
    names: Sequence[str] = (),
) -> Credentials | None:
    """The credentials for a repository on a registry's host, or None; raises InvalidInput for a damaged file.

    ``names`` are what ``modelpack.yaml`` calls the registry: variables by those names go before those by the host.
    A helper that fails is passed over; :func:`search` tells of it.
    """
    try:
        return search(host, repository, environment, names)
    except HelperFailed:
        return None


def search(
    host: str,
    repository: str = "",
    environment: Mapping[str, str] = os.environ,
    names: Sequence[str] = (),
) -> Credentials | None:
    """As :func:`find`, but raises HelperFailed where there are no credentials and a helper that was asked has failed."""
    for name in (*names, host):
        named = _from_environment(name, environment)
        if named:
            return named
    failed: HelperFailed | None = None
    for ask in _ways(host, repository, environment):
        try:
            found = ask()
        except HelperFailed as error:
            failed = failed or error
            continue
        if found:
            return found
    if failed:
        raise failed
    return None


def variable_stem(name: str) -> str:
    """How a name or host is written in the names of environment variables: upper case, all but A-Z0-9 as ``_``."""
    return re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_")


def server_key(host: str) -> str:
    """The name under which docker keeps a host's credentials."""
    return _DOCKER_HUB_KEYS[0] if host == "docker.io" else host


def _from_environment(name: str, environment: Mapping[str, str]) -> Credentials | None:
    stem = f"MODELPACK_{variable_stem(name)}"
    username, password = environment.get(f"{stem}_USERNAME"), environment.get(f"{stem}_PASSWORD")
    if username and password:
        return Credentials(username, password, found=f"{stem}_USERNAME")
    if username or password:
        lacking = "PASSWORD" if username else "USERNAME"
        problem = Problem(f"{stem}_{lacking}", "is not set, or empty", f"set it, or unset {stem}_* altogether")
        raise InvalidInput("the environment has half of a registry's credentials", [problem])
    return None


def _files(environment: Mapping[str, str]) -> Iterator[Path]:
    if environment.get("REGISTRY_AUTH_FILE"):
        yield Path(environment["REGISTRY_AUTH_FILE"])
    yield Path(environment.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    if environment.get("XDG_RUNTIME_DIR"):
        yield Path(environment["XDG_RUNTIME_DIR"]) / "containers" / "auth.json"
    elif hasattr(os, "getuid"):
        yield Path(f"/run/containers/{os.getuid()}/auth.json")
    yield Path(environment.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "containers" / "auth.json"


def _ways(host: str, repository: str, environment: Mapping[str, str]) -> Iterator[Callable[[], Credentials | None]]:
    """What is asked one after the other: of each file its helper, then its entries."""
    for path in _files(environment):
        content = _content(path)
        yield from _helpers(content, host, path)
        yield partial(_from_entries, content, host, repository, path)


def _content(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read ({error})", hint="mend its permissions, or log in again") from None
    try:
        content = parse(text or "{}")
    except ValueError:
        raise InvalidInput(f"{path} is not JSON", hint="log in again to write it anew") from None
    if not isinstance(content, dict):
        raise InvalidInput(f"{path} is not a JSON object", hint="log in again to write it anew")
    return content


def _keys(host: str, repository: str) -> Iterator[str]:
    """The names under which a repository's credentials may stand, the most particular first."""
    parts = [part for part in repository.split("/") if part]
    for depth in range(len(parts), 0, -1):
        yield "/".join((host, *parts[:depth]))
    yield host
    if host == "docker.io":
        yield from _DOCKER_HUB_KEYS


def _normal(key: str) -> str:
    """An entry's key as host/path: old docker versions wrote whole URLs."""
    if key in _DOCKER_HUB_KEYS:
        return key
    return re.sub(r"^https?://", "", key).removesuffix("/").removesuffix("/v1").removesuffix("/v2")


def _from_entries(content: dict[str, Any], host: str, repository: str, path: Path) -> Credentials | None:
    entries = content.get("auths")
    if not isinstance(entries, dict):
        return None
    by_key = {_normal(str(key)): entry for key, entry in entries.items() if isinstance(entry, dict)}
    for key in _keys(host, repository):
        if key in by_key:
            found = _entry(by_key[key], f"{path} ({key})")
            if found:
                return found
    return None


def _entry(entry: dict[str, Any], where: str) -> Credentials | None:
    username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if entry.get("auth"):
        try:
            username, _, password = base64.b64decode(str(entry["auth"]), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise InvalidInput(f"the credentials in {where} are damaged", hint="log in again") from None
    token = str(entry.get("identitytoken") or "")
    if not token and not password:
        return None
    return Credentials(username, password.rstrip("\0"), token, where)


def _helpers(content: dict[str, Any], host: str, path: Path) -> Iterator[Callable[[], Credentials | None]]:
    keys = (server_key(host), host) if host == "docker.io" else (host, f"https://{host}")
    helpers = content.get("credHelpers")
    for key in dict.fromkeys((host, *keys)):
        if isinstance(helpers, dict) and key in helpers:
            # An empty name says: for this registry no helper, whatever the store is.
            if helpers[key]:
                yield partial(CredentialHelper(str(helpers[key]), path).get, key)
            return
    if content.get("credsStore"):
        helper = CredentialHelper(str(content["credsStore"]), path)
        yield from (partial(helper.get, key) for key in keys)
