"""Oracle's registry: where it is, as whom one logs in, and the login that was made to its other name.

A region has several hosts that serve the same repositories: KEY.ocir.io, REGION.ocir.io and
ocir.REGION.oci.oraclecloud.com. Credentials are kept by host, so that a login to one of them is none to another.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches

from buildkit.errors import InvalidInput, Problem
from buildkit.oci.reference import Reference
from buildkit.oracle_regions import REGIONS
from buildkit.registries.auth import find
from buildkit.registries.credentials import Credentials
from buildkit.registry_hosts import ocir_names

REGION_VARIABLE = "OCIR_REGION"
NAMESPACE_VARIABLE = "OCIR_NAMESPACE"
BEARER = "BEARER_TOKEN"
"""The user whose password is a token (Container Registry, "Getting a Bearer Token")."""


def key_of(region: str) -> str:
    """The key of a region that is written by its name or its key: ``ap-osaka-1`` and ``kix`` are ``kix``.

    Raises InvalidInput with the one that was probably meant.
    """
    text = region.strip().lower()
    key = REGIONS.get(text, text)
    if key in REGIONS.values():
        return key
    close = get_close_matches(text, [*REGIONS, *REGIONS.values()], 3, 0.5)
    raise InvalidInput(
        f"{region[:60]!r} is no region of OCI",
        hint=f"did you mean {' or '.join(close)}?" if close else "write its name or key, as ap-osaka-1 or kix",
    )


@dataclass(frozen=True)
class Place:
    """Where a tenancy's repositories are. ``missing`` are the keys that nobody has given."""

    host: str
    prefix: str
    missing: tuple[str, ...] = ()


def place(region: str, namespace: str, prefix: str, host: str, environment: Mapping[str, str]) -> Place:
    """The host and the prefix with the tenancy's namespace; what is empty is taken from the environment.

    A ``host`` that is written out needs no region, and its prefix no namespace. Raises InvalidInput for a wrong region.
    """
    if not host:
        region = region or environment.get(REGION_VARIABLE, "")
        namespace = namespace or environment.get(NAMESPACE_VARIABLE, "")
        missing = [key for key, value in (("region", region), ("namespace", namespace)) if not value]
        if missing:
            return Place("", prefix, tuple(missing))
        host = f"{key_of(region)}.ocir.io"
    return Place(host, "/".join(part for part in (namespace, prefix) if part))


def incomplete(name: str, missing: tuple[str, ...]) -> InvalidInput:
    """The error for a registry that nobody has said enough about."""
    variables = {"region": REGION_VARIABLE, "namespace": NAMESPACE_VARIABLE}
    problems = [
        Problem(key, f"is neither in modelpack.yaml nor in {variables[key]}", _MEANINGS[key]) for key in missing
    ]
    return InvalidInput(
        f"the registry {name} is not complete",
        problems,
        hint=f"in modelpack.yaml: registries: {{{name}: {{type: ocir, region: kix, namespace: NAMESPACE}}}}",
    )


_MEANINGS = {
    "region": "the region's name or key, such as ap-osaka-1 or kix",
    "namespace": "the tenancy's Object Storage namespace (console: Tenancy details; or 'oci os ns get')",
}


def full_user(credentials: Credentials, namespace: str) -> Credentials:
    """Credentials with the user as the registry wants it: NAMESPACE/USER, whatever of it was left out.

    ``oracleidentitycloudservice/USER`` is a user of a federated tenancy and gets its namespace likewise.
    """
    user = credentials.username
    if not user or not namespace or user == BEARER or user.startswith(f"{namespace}/"):
        return credentials
    return replace(credentials, username=f"{namespace}/{user}")


def refuse_other_login(reference: Reference, environment: Mapping[str, str] = os.environ) -> None:
    """Raises InvalidInput where one logged in to another host of the region than the one that is pushed to.

    For a repository that there are no credentials for.
    """
    for other in ocir_names(reference.host):
        found = find(other, reference.repository, environment) if other != reference.host else None
        if found:
            raise InvalidInput(
                f"you are logged in to {other} ({found.found}), but push to {reference.host}: a login is kept by host,"
                " and this would be a push by nobody",
                hint=f"run: modelpack login {reference.host}; or push to {other}/{reference.repository}",
            )
