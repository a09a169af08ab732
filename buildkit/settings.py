"""``modelpack.yaml``: registries, mirrors and the hub, found upward from a recipe."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from buildkit.card import LicensePolicy
from buildkit.errors import InvalidInput, Problem
from buildkit.machine.connections import is_loopback
from buildkit.oci.reference import Reference
from buildkit.reading.checked import check, choice
from buildkit.reading.plain import shown
from buildkit.reading.written import read
from buildkit.registries import ocir
from buildkit.registry_hosts import ocir_names
from buildkit.settings_file import (
    ENDPOINT,
    PORT,
    AttestEntry,
    RegistryEntry,
    SettingsFile,
    hub_endpoint,
    location,
    names_host,
)

FILE = "modelpack.yaml"


@dataclass(frozen=True)
class Registry:
    """Where images are pushed: a host with a prefix for repositories. ``insecure`` allows plain HTTP beyond loopback.

    ``immutable``: a tag that exists is never moved. ``missing`` are keys that nobody has given.
    """

    name: str
    host: str
    prefix: str = ""
    type: str = "distribution"
    insecure: bool = False
    immutable: bool = False
    missing: tuple[str, ...] = ()

    def repository(self, name: str) -> Reference:
        """The repository of an image: the prefix, a slash, the recipe's name; raises InvalidInput where that is no name."""
        return Reference.parse(f"{self.host}/{self.prefix}/{name}" if self.prefix else f"{self.host}/{name}")


@dataclass(frozen=True)
class Settings:
    """What ``modelpack.yaml`` says; an absent file says nothing and everything has its default."""

    path: Path | None = None
    registries: Mapping[str, Registry] = field(default_factory=dict)
    mirrors: Mapping[str, str] = field(default_factory=dict)
    endpoint: str = ENDPOINT
    licenses: LicensePolicy = field(default_factory=LicensePolicy)
    attest: AttestEntry | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False, compare=False)

    def registry(self, text: str) -> Registry:
        """The registry of that name, else the literal ``HOST[:PORT][/PREFIX]``; raises InvalidInput with the known names.

        A literal with the host of a registry in the file is of that registry's type, and immutable within it. ``ocir`` is known without a file,
        from ``OCIR_REGION`` and ``OCIR_NAMESPACE``.
        """
        named = self.registries.get(text)
        if text == "ocir" and named is None:
            named = _ocir(text, RegistryEntry(host="", type="ocir"), self.environment)
        if named:
            if named.missing:
                raise ocir.incomplete(text, named.missing)
            return named
        if "://" not in text and not names_host(text.partition("/")[0]):
            hint = (
                choice(text, self.registries, "the registries are") if self.registries else f"or describe it in {FILE}"
            )
            raise InvalidInput(f"there is no registry {shown(text)}", hint=f"{hint}; else write HOST/PREFIX")
        try:
            host, _, prefix = location(text).partition("/")
        except ValueError as error:
            raise InvalidInput(
                f"{shown(text)} {error}", hint=getattr(error, "hint", "") or "write HOST/PREFIX"
            ) from None
        alike = next((registry for registry in self.registries.values() if registry.host == host), None)
        if alike:
            return Registry(text, host, prefix, alike.type, alike.insecure, self._immutable(host, prefix))
        return Registry(text, host, prefix)

    def _immutable(self, host: str, prefix: str) -> bool:
        """Whether a place lies within a registry of the file whose tags never move."""
        within = (one for one in self.registries.values() if one.host == host and one.immutable)
        return any(not one.prefix or f"{prefix}/".startswith(f"{one.prefix}/") for one in within)

    def type_of(self, host: str) -> str:
        """What the file says a host is; "" where it says nothing."""
        return next((one.type for one in self.registries.values() if one.host == host), "")

    def namespace_of(self, host: str) -> str:
        """The tenancy's namespace in the registry at a host of OCIR's, as the settings say it; "" where they do not."""
        named = (one for one in self.registries.values() if one.host == host and one.type == "ocir")
        return next((one.prefix.partition("/")[0] for one in named), "") or self.environment.get(
            ocir.NAMESPACE_VARIABLE, ""
        )

    def names_of(self, reference: Reference) -> tuple[str, ...]:
        """What the file calls the registries at a host: those whose prefix the repository has first, the longest first."""

        def particular(one: Registry) -> int:
            within = f"{reference.repository}/".startswith(f"{one.prefix}/" if one.prefix else "")
            return len(one.prefix) if within else -1

        at_host = [one for one in self.registries.values() if one.host == reference.host]
        named = tuple(one.name for one in sorted(at_host, key=particular, reverse=True))
        return named or (("ocir",) if ocir_names(reference.host) else ())

    def located(self, reference: Reference) -> Reference:
        """Where an image really is fetched from: through the longest mirror that matches its host and path."""
        name = reference.name
        matching = [mirror for mirror in self.mirrors if name == mirror or name.startswith(f"{mirror}/")]
        if not matching:
            return reference
        longest = max(matching, key=len)
        host, _, repository = (self.mirrors[longest] + name.removeprefix(longest)).partition("/")
        if not repository:
            raise InvalidInput(
                f"the mirror of {longest} names a host and no repository for {name}",
                hint=f"write the repository too: {longest}: {host}/REPOSITORY",
            )
        return Reference(host, repository, reference.tag, reference.digest)

    def plain_http(self, host: str) -> bool:
        """Whether a registry's ``HOST[:PORT]`` may be spoken to without TLS: loopback, and what the file calls insecure."""
        name = PORT.fullmatch(host)
        insecure = {registry.host for registry in self.registries.values() if registry.insecure}
        return is_loopback(name["host"] if name else host) or host in insecure


def find(start: Path, environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings for recipes in the folder ``start``: the nearest ``modelpack.yaml`` from there upward.

    The hub is what the file says, else ``HF_ENDPOINT`` of the environment, else huggingface.co. Raises InvalidInput with
    every problem of the file.
    """
    folder = start.absolute()
    path = next((one / FILE for one in (folder, *folder.parents) if (one / FILE).is_file()), None)
    if path is None:
        return Settings(endpoint=_endpoint_of(environment), environment=environment)
    file = check(read(path, empty_hint="write something, or delete it"), SettingsFile)
    registries = {name: _registry(name, one, environment) for name, one in file.registries.items()}
    endpoint = file.hub.endpoint or _endpoint_of(environment)
    mirrors = {key.rstrip("/"): place for key, place in file.mirrors.items()}
    policy = LicensePolicy(file.licenses.forbid, file.licenses.allow)
    attest = file.attest.beside(path.parent) if file.attest else None
    return Settings(path, registries, mirrors, endpoint, policy, attest, environment)


def _registry(name: str, entry: RegistryEntry, environment: Mapping[str, str]) -> Registry:
    if entry.type == "ocir":
        return _ocir(name, entry, environment)
    return Registry(name, entry.host, entry.prefix, entry.type, entry.insecure, entry.immutable)


def _ocir(name: str, entry: RegistryEntry, environment: Mapping[str, str]) -> Registry:
    place = ocir.place(entry.region, entry.namespace, entry.prefix, entry.host, environment)
    return Registry(name, place.host, place.prefix, entry.type, entry.insecure, entry.immutable, place.missing)


def _endpoint_of(environment: Mapping[str, str]) -> str:
    text = environment.get("HF_ENDPOINT", "")
    if not text:
        return ENDPOINT
    try:
        return hub_endpoint(text)
    except ValueError as error:
        problem = Problem("HF_ENDPOINT", str(error), getattr(error, "hint", ""))
        raise InvalidInput("the environment cannot be used", [problem]) from None
