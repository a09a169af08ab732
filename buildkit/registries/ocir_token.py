"""A token for Oracle's registry, signed for with the identity that a machine or person has in OCI.

Needs the extra ``oci`` (``pip install modelpack-build[oci]``); without it there is no such token, and no error either.
Source: Container Registry, "Getting a Bearer Token": GET https://HOST/20180419/docker/token, signed as any request to OCI.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from urllib3.exceptions import HTTPError

from buildkit.errors import InvalidInput, RegistryFailed, RegistryUnreachable
from buildkit.machine import connections
from buildkit.oci.manifest import parse_object
from buildkit.registries.credentials import Credentials
from buildkit.registries.ocir import BEARER

PATH = "/20180419/docker/token"
IDENTITY_VARIABLE = "OCI_CLI_AUTH"
"""Which identity signs, as OCI's own command line calls them: api_key, instance_principal, resource_principal."""
_LARGEST = 64 * 1024

Signer = Callable[[Any], Any]


@dataclass
class _Request:
    """What a signer of the ``oci`` package looks at: a request as the requests library has it."""

    url: str
    path_url: str = PATH
    method: str = "GET"
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)


def bearer(origin: str, environment: Mapping[str, str] = os.environ) -> Credentials | None:
    """Credentials that this machine's OCI identity gives at ``origin``; None where there is none, or no ``oci`` package.

    Raises InvalidInput where the identity cannot sign, RegistryFailed where the registry gives no token for it.
    """
    identity = _identity(environment)
    if identity is None or find_spec("oci") is None:
        return None
    try:
        signer = _SIGNERS[identity](environment)
    except Exception as error:  # the package raises a dozen sorts; some of their texts hold what a key file holds
        raise InvalidInput(
            f"the OCI identity ({identity}) cannot be used: {type(error).__name__}",
            hint=f"check ~/.oci/config with 'oci iam region list', or choose another identity in {IDENTITY_VARIABLE}",
        ) from None
    return Credentials(BEARER, _token(origin, signer, identity), found=f"a token for the OCI identity ({identity})")


def _identity(environment: Mapping[str, str]) -> str | None:
    named = environment.get(IDENTITY_VARIABLE, "")
    if named:
        if named not in _SIGNERS:
            raise InvalidInput(
                f"{IDENTITY_VARIABLE} is {named[:60]!r}, which is no identity", hint=f"one of: {', '.join(_SIGNERS)}"
            )
        return named
    if environment.get("OCI_RESOURCE_PRINCIPAL_VERSION"):
        return "resource_principal"
    return "api_key" if _config_file(environment).is_file() else None


def _config_file(environment: Mapping[str, str]) -> Path:
    named = environment.get("OCI_CLI_CONFIG_FILE") or environment.get("OCI_CONFIG_FILE")
    return Path(named).expanduser() if named else Path.home() / ".oci" / "config"


def _api_key(environment: Mapping[str, str]) -> Signer:
    import oci

    profile = environment.get("OCI_CLI_PROFILE") or oci.config.DEFAULT_PROFILE
    config = oci.config.from_file(str(_config_file(environment)), profile)
    oci.config.validate_config(config)
    signer: Signer = oci.signer.Signer(
        config["tenancy"], config["user"], config["fingerprint"], config["key_file"], config.get("pass_phrase")
    )
    return signer


def _instance_principal(environment: Mapping[str, str]) -> Signer:
    import oci

    signer: Signer = oci.auth.signers.InstancePrincipalsSecurityTokenSigner()
    return signer


def _resource_principal(environment: Mapping[str, str]) -> Signer:
    import oci

    signer: Signer = oci.auth.signers.get_resource_principals_signer()
    return signer


_SIGNERS: Mapping[str, Callable[[Mapping[str, str]], Signer]] = {
    "api_key": _api_key,
    "instance_principal": _instance_principal,
    "resource_principal": _resource_principal,
}


def _token(origin: str, signer: Signer, identity: str) -> str:
    request = _Request(origin + PATH)
    signer(request)
    pool = connections.pool(origin)
    try:
        answer = pool.request(
            "GET", request.url, headers={**pool.headers, **request.headers}, redirect=False, preload_content=False
        )
        raw = answer.read(_LARGEST)
        answer.close()
    except (HTTPError, OSError) as error:
        raise RegistryUnreachable(
            f"{origin} cannot be reached for a token ({type(error).__name__})", hint=_HINT
        ) from None
    if answer.status != 200:
        raise RegistryFailed(
            f"{origin} gave no token for the OCI identity ({identity}): it answered {answer.status}", hint=_HINT
        )
    try:
        token = parse_object(raw, "its answer").get("token")
    except InvalidInput as error:
        raise RegistryFailed(f"{origin} gave no token: {error}", hint=_HINT) from None
    if not isinstance(token, str) or not token.isprintable() or not token:
        raise RegistryFailed(f"{origin} answered without a token", hint=_HINT)
    return token


_HINT = "the identity needs a policy such as 'allow group G to manage repos in tenancy'; or log in with an auth token"
