"""Credentials for a registry, from where docker and podman keep them.

The order: ``MODELPACK_<HOST>_USERNAME`` and ``_PASSWORD``, then ``$REGISTRY_AUTH_FILE``, then
``$DOCKER_CONFIG/config.json`` (``~/.docker``), then podman's ``auth.json``. In a file the entry with the longest path that
matches wins (containers-auth.json(5)); ``credHelpers`` and ``credsStore`` are asked through their documented protocol
(docker-credential-helpers): the only place outside the engines where another program is started.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from buildkit.errors import InvalidInput

_HELPER_SECONDS = 60
_HELPER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_DOCKER_HUB_KEYS = ("https://index.docker.io/v1/", "index.docker.io", "registry-1.docker.io")
_TOKEN_USER = "<token>"


@dataclass(frozen=True)
class Credentials:
    """A user name with a password, or an identity token; never shown. ``found`` says where they came from."""

    username: str = field(repr=False)
    password: str = field(repr=False)
    identity_token: str = field(default="", repr=False)
    found: str = ""

    @property
    def basic(self) -> str:
        """The value of an ``Authorization: Basic`` header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


def find(host: str, repository: str = "", environment: Mapping[str, str] = os.environ) -> Credentials | None:
    """The credentials for a repository on a registry's host, or None; raises InvalidInput for a damaged file."""
    named = _from_environment(host, environment)
    if named:
        return named
    for path in _files(environment):
        found = _from_file(path, host, repository)
        if found:
            return found
    return None


def variable_stem(host: str) -> str:
    """How a host is written in the names of environment variables: upper case, everything else than A-Z0-9 as ``_``."""
    return re.sub(r"[^A-Z0-9]+", "_", host.upper()).strip("_")


def _from_environment(host: str, environment: Mapping[str, str]) -> Credentials | None:
    stem = f"MODELPACK_{variable_stem(host)}"
    username, password = environment.get(f"{stem}_USERNAME"), environment.get(f"{stem}_PASSWORD")
    if username and password:
        return Credentials(username, password, found=f"{stem}_USERNAME")
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


def _from_file(path: Path, host: str, repository: str) -> Credentials | None:
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read ({error})", hint="mend its permissions, or log in again") from None
    try:
        content = json.loads(text or "{}")
    except ValueError:
        raise InvalidInput(f"{path} is not JSON", hint="log in again to write it anew") from None
    if not isinstance(content, dict):
        raise InvalidInput(f"{path} is not a JSON object", hint="log in again to write it anew")
    return _from_helper(content, host, path) or _from_entries(content, host, repository, path)


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


def _from_helper(content: dict[str, Any], host: str, path: Path) -> Credentials | None:
    helpers = content.get("credHelpers")
    chosen = helpers.get(host) if isinstance(helpers, dict) else None
    if chosen:
        return _ask(str(chosen), host, path)
    if content.get("credsStore"):
        keys = (_DOCKER_HUB_KEYS[0], host) if host == "docker.io" else (host, f"https://{host}")
        return next((found for key in keys if (found := _ask(str(content["credsStore"]), key, path))), None)
    return None


def _ask(helper: str, server: str, path: Path) -> Credentials | None:
    if not _HELPER_NAME.fullmatch(helper):
        raise InvalidInput(f"{path} names the credential helper {helper!r}, which is not a program's name")
    program = f"docker-credential-{helper}"
    try:
        answer = subprocess.run(
            [program, "get"], input=server.encode(), capture_output=True, timeout=_HELPER_SECONDS, check=False
        )
    except FileNotFoundError:
        raise InvalidInput(f"{path} names the credential helper {program}, which is not installed") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InvalidInput(f"the credential helper {program} does not answer ({type(error).__name__})") from None
    if answer.returncode:
        return None
    try:
        content = json.loads(answer.stdout)
        username, secret = str(content["Username"]), str(content["Secret"])
    except (ValueError, KeyError, TypeError):
        raise InvalidInput(f"the credential helper {program} gave an answer that is not credentials") from None
    if username == _TOKEN_USER:
        return Credentials("", "", secret, program)
    return Credentials(username, secret, found=program) if secret else None
