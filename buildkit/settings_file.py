"""What ``modelpack.yaml`` may say: its keys, and what is refused in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StrictBool, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from buildkit import hub_page
from buildkit.errors import InvalidInput
from buildkit.inputs import Part, Patterns, Plain
from buildkit.machine.connections import is_loopback
from buildkit.oci.reference import is_host, is_repository
from buildkit.reading.checked import choice
from buildkit.reading.plain import Refusal, plain, shown
from buildkit.registries.ocir import key_of
from buildkit.registries.profiles import TYPES

ENDPOINT = hub_page.PUBLIC
DOCKER_HUB = {"index.docker.io": "docker.io", "registry-1.docker.io": "docker.io"}
"""Other names of a registry's host, by which nothing can be matched."""
PORT = re.compile(r"(?P<host>.*?)(?::(?P<port>[0-9]+))?")


def hub_endpoint(text: str) -> str:
    """A hub's URL without its closing slash; https, or http on loopback."""
    plain(text)
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise Refusal(f"{shown(text)} is not a URL", f"write one like {ENDPOINT}") from None
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise Refusal(f"{shown(text)} is not an https URL", f"write one like {ENDPOINT}")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise Refusal("must be https: a token would travel in clear text", "http is for loopback alone")
    if parts.username is not None or parts.query or parts.fragment:
        raise Refusal("must not hold a user name, '?' or '#'", "tokens come from 'hf auth login' or HF_TOKEN")
    return text.rstrip("/")


def _host(text: str) -> str:
    if "://" in text:
        raise Refusal("must not begin with a scheme", f"write {shown(text.partition('://')[2])}")
    if "/" in text:
        raise Refusal("is a host with a path", "write what follows the first '/' as 'prefix'")
    return _checked_host(text)


def _checked_host(host: str) -> str:
    port = PORT.fullmatch(host)
    if not is_host(host) or (port and port["port"] and not 0 < int(port["port"]) < 65536):
        raise Refusal(f"{shown(host)} is not a host", "write HOST or HOST:PORT, for example quay.io")
    if not names_host(host):
        raise Refusal(
            f"{shown(host)} would be taken for a part of docker.io", f"write its domain or port too, as {host}:443"
        )
    return DOCKER_HUB.get(host, host)


def _prefix(text: str) -> str:
    if text and not is_repository(text):
        raise Refusal(f"{shown(text)} is not a prefix", "lower-case words with '/' between them, none at the ends")
    return text


def location(text: str) -> str:
    """``HOST[:PORT][/PATH]`` of a registry."""
    if "://" in text:
        raise Refusal("must not begin with a scheme", f"write {shown(text.partition('://')[2])}")
    host, slash, path = text.rstrip("/").partition("/")
    host = _checked_host(host)
    if path and not is_repository(path):
        raise Refusal(
            f"has the path {shown(path)}, which no repository may have", "lower-case, and without tag or digest"
        )
    return f"{host}{slash}{path}"


def _mirrored(text: str) -> str:
    if "://" not in text and not names_host(text.partition("/")[0]):
        raise Refusal(
            f"{shown(text)} does not begin with a registry's host", "write it in full, for example docker.io/library"
        )
    return location(text)


def names_host(text: str) -> bool:
    """Whether the first part of an image's name is a host, as docker and podman tell it."""
    return "." in text or ":" in text or text == "localhost"


def _registry_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", text):
        raise Refusal(
            f"{shown(text)} is not a name for a registry", "letters, digits, '_' and '-'; the address is its 'host'"
        )
    return text


def _word(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9-]*", text):
        raise Refusal(f"{shown(text)} is not a registry's type", "a word such as distribution, quay or harbor")
    if text not in TYPES:
        raise Refusal(f"there is no registry type {shown(text)}", choice(text, TYPES, "the types are"))
    return text


def _region(text: str) -> str:
    try:
        key_of(text)
    except InvalidInput as error:
        raise Refusal(error.what, error.hint) from None
    return text


def _namespace(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9_]+(-[a-z0-9_]+)*", text):
        raise Refusal(f"{shown(text)} is not a tenancy's namespace", "'oci os ns get' prints it")
    return text


class RegistryEntry(Part):
    """A registry that images are pushed to."""

    type: Annotated[str, AfterValidator(_word)] = Field(
        default="distribution", description="What sort of registry it is."
    )
    host: str = Field(
        default="",
        validate_default=True,
        description="Its host, with the port if it has one; of ocir the region tells.",
    )
    prefix: Annotated[str, AfterValidator(_prefix)] = Field(
        default="", description="What comes before an image's name."
    )
    region: Annotated[str, AfterValidator(_region)] = Field(
        default="", description="Of ocir: the region's name or key; else OCIR_REGION says it."
    )
    namespace: Annotated[str, AfterValidator(_namespace)] = Field(
        default="", description="Of ocir: the tenancy's namespace; else OCIR_NAMESPACE says it."
    )
    insecure: StrictBool = Field(default=False, description="Speak plain HTTP to it.")
    immutable: StrictBool = Field(default=False, description="Never move a tag that exists with another digest.")

    @field_validator("host")
    @classmethod
    def _has_host(cls, text: str, info: ValidationInfo) -> str:
        if not text and info.data.get("type") == "ocir":
            return ""
        if not text:
            raise PydanticCustomError("missing", "Field required")
        return _host(text)


class HubEntry(Part):
    """The hub that models come from."""

    endpoint: Annotated[str, AfterValidator(hub_endpoint)] | None = Field(
        default=None, description="Its URL; else HF_ENDPOINT, else huggingface.co."
    )


class LicensesEntry(Part):
    """Which licenses models may have."""

    forbid: Patterns = Field(
        default=(),
        description="Licenses that stop a build, * for anything; also non-commercial, gated and unknown (no license on the card).",
    )
    allow: Patterns = Field(
        default=(),
        description="Where any are named, only these are allowed: of a model with several licenses each must be.",
    )


def is_key_file(key: str) -> bool:
    """Whether a key is a file, and no address of a KMS, a secret or a token (sigstore/cosign, "KMS Support", "PKCS11 Tokens")."""
    return bool(key) and "://" not in key and not key.startswith("pkcs11:")


class AttestEntry(Part):
    """What is attached to every image that is pushed: a bill of materials and provenance; signed where it says so."""

    sign: StrictBool = Field(default=False, description="Sign the image with cosign, too.")
    key: Plain = Field(
        default="",
        description="The key to sign with: a file, from this file's folder, or a KMS address; without one an identity.",
    )
    transparency_log: StrictBool = Field(default=True, description="Note signatures in the public log.")

    def beside(self, folder: Path) -> AttestEntry:
        """The same with the key's file found from a folder, whatever the current one is."""
        return self.model_copy(update={"key": str(folder / self.key)}) if is_key_file(self.key) else self


_Name = Annotated[str, AfterValidator(_registry_name)]
_Mirrored = Annotated[str, AfterValidator(_mirrored)]
_Location = Annotated[str, AfterValidator(location)]


class SettingsFile(Part):
    """What ``modelpack.yaml`` may say."""

    registries: dict[_Name, RegistryEntry] = Field(
        default_factory=dict, description="Where images are pushed, by name."
    )
    mirrors: dict[_Mirrored, _Location] = Field(
        default_factory=dict, description="Host or prefix -> where it really is."
    )
    hub: HubEntry = Field(default=HubEntry(), description="The hub that models come from.")
    licenses: LicensesEntry = Field(default=LicensesEntry(), description="Which licenses models may have.")
    attest: AttestEntry | None = Field(default=None, description="Attach what is known of an image after every push.")
