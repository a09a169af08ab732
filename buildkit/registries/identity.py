"""As whom a repository is read and written: what was logged in, in every tool's way, and what a platform's identity gives."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from buildkit.oci.reference import Reference
from buildkit.registries.auth import search, variable_stem
from buildkit.registries.credential_helper import HelperFailed
from buildkit.registries.credentials import Credentials
from buildkit.registries.ocir import full_user, refuse_other_login
from buildkit.registries.ocir_token import bearer
from buildkit.registries.profile import Profile


def credentials_of(
    reference: Reference,
    profile: Profile,
    origin: str,
    names: Sequence[str] = (),
    environment: Mapping[str, str] = os.environ,
    namespace: str = "",
) -> Credentials | None:
    """The credentials for a repository; ``names`` are those of its registry in ``modelpack.yaml``.

    ``namespace`` is one's own tenancy's, by default the one that the repository is in.

    Raises InvalidInput for what is damaged, HelperFailed where a helper alone could have had them, and what an identity
    raises that cannot be used.
    """
    try:
        found = search(reference.host, reference.repository, environment, names)
    except HelperFailed:
        token = bearer(origin, environment) if profile.name == "ocir" else None
        if token is None:
            raise
        return token
    if profile.name != "ocir":
        return found
    if found is None:
        return bearer(origin, environment)
    stems = {f"MODELPACK_{variable_stem(name)}_USERNAME" for name in (*names, reference.host)}
    return full_user(found, namespace or reference.repository.partition("/")[0]) if found.found in stems else found


def check_login(
    reference: Reference,
    profile: Profile,
    origin: str,
    names: Sequence[str] = (),
    environment: Mapping[str, str] = os.environ,
) -> None:
    """Raises InvalidInput where the login was made to another host of the same registry; for who is about to push."""
    if profile.name != "ocir":
        return
    try:
        found = credentials_of(reference, profile, origin, names, environment)
    except HelperFailed:
        found = None
    if found is None:
        refuse_other_login(reference, environment)
