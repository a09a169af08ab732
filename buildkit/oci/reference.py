"""Digest, Platform, Reference: parsed once, then never strings again."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace

from buildkit.errors import InvalidInput, Problem

# distribution-spec 1.1, "Pulling manifests": the grammar of <name> and of a tag; the length of a name with its host
# follows distribution's reference package, which counts 255 bytes.
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HOST = re.compile(
    r"(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*)"
    r"(?::[0-9]{1,5})?"
)
_LONGEST_NAME = 255
_PLATFORM_PART = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_GO_NAMES = {
    **dict.fromkeys(("x86_64", "x86-64", "x64"), "amd64"),
    **dict.fromkeys(("x86", "i386", "i486", "i586", "i686"), "386"),
    **dict.fromkeys(("aarch64", "armv8", "arm64v8"), "arm64"),
    **dict.fromkeys(("armhf", "armv7", "armv7l", "arm32v7"), "arm/v7"),
    **dict.fromkeys(("armel", "armv6", "armv6l", "arm32v6"), "arm/v6"),
    **dict.fromkeys(("ppc64el", "powerpc64le"), "ppc64le"),
    "loongarch64": "loong64",
}
"""What uname, Debian and others call architectures, and how they are called in an image: by Go's GOARCH (image-spec, config.md)."""


class Digest(str):
    """``sha256:`` and 64 hexadecimal digits (image-spec, descriptor.md, "Digests"). Other algorithms are refused."""

    def __new__(cls, text: str) -> Digest:
        """Checks the text; raises InvalidInput."""
        if not _DIGEST.fullmatch(text):
            raise InvalidInput(
                f"{text[:100]!r} is not a digest", hint="a digest is sha256: and 64 lower-case hexadecimal digits"
            )
        return super().__new__(cls, text)

    @classmethod
    def of(cls, data: bytes) -> Digest:
        """The digest of bytes in memory."""
        return cls(f"sha256:{hashlib.sha256(data).hexdigest()}")

    @property
    def hex(self) -> str:
        """The 64 digits alone."""
        return self[7:]

    @property
    def short(self) -> str:
        """``sha256:`` and twelve digits: enough for a person to recognise it."""
        return self[:19]


@dataclass(frozen=True, order=True)
class Platform:
    """An operating system and a processor architecture, written ``linux/amd64`` or ``linux/arm64/v8``."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Reads ``os/architecture[/variant]``; raises InvalidInput, also for an architecture that images call by another name."""
        parts = text.split("/")
        if len(parts) not in (2, 3) or not all(_PLATFORM_PART.fullmatch(part) for part in parts):
            raise InvalidInput(f"{text!r} is not a platform", hint="write os/architecture, for example linux/amd64")
        system, architecture, *variant = parts
        if architecture in _GO_NAMES:
            named = "/".join([system, *_GO_NAMES[architecture].split("/"), *variant][:3])
            raise InvalidInput(f"{text!r} is not a platform", hint=f"write {named}: nothing looks for the other name")
        return cls(*parts)

    def accepts(self, other: Platform) -> bool:
        """Whether an image made for ``other`` runs here; a variant that neither side insists on is ignored."""
        same = (self.os, self.architecture) == (other.os, other.architecture)
        return same and (not self.variant or not other.variant or self.variant == other.variant)

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


@dataclass(frozen=True)
class Reference:
    """An image somewhere: ``host/repository[:tag][@digest]``. Always holds its host, docker.io included."""

    host: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Reads a reference as docker and podman do (``library/`` and docker.io implied); raises InvalidInput."""
        name, _, digest = text.partition("@")
        host, repository = _split_host(name)
        repository, colon, tag = repository.partition(":")
        problems = _problems(text, host, repository, tag if colon else None, digest if "@" in text else None)
        if problems:
            raise InvalidInput(f"{text[:200]!r} is not an image reference", problems, hint=_HINT)
        return cls(host, repository, tag or None, Digest(digest) if digest else None)

    @property
    def name(self) -> str:
        """``host/repository`` without tag and digest."""
        return f"{self.host}/{self.repository}"

    @property
    def tag_or_digest(self) -> str:
        """What is asked for in the repository: the digest where there is one, else the tag, ``latest`` where none is said."""
        return self.digest or self.tag or "latest"

    @property
    def moves(self) -> bool:
        """Whether it means another image tomorrow: ``latest``, said or implied, without a digest."""
        return self.digest is None and self.tag in (None, "latest")

    def at(self, digest: Digest) -> Reference:
        """The same name and tag, pinned to ``digest``."""
        return replace(self, digest=digest)

    def tagged(self, tag: str) -> Reference:
        """The same repository under another tag, unpinned; raises InvalidInput where the tag is malformed."""
        if not _TAG.fullmatch(tag):
            raise InvalidInput(f"{tag[:200]!r} is not a tag", hint=_TAG_HINT)
        return replace(self, tag=tag, digest=None)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"


_HINT = "write HOST/REPOSITORY:TAG, for example registry.access.redhat.com/ubi9/ubi-micro:latest"
_TAG_HINT = "a tag has letters, digits, '.', '_' and '-', at most 128 of them, and begins with a letter, digit or '_'"


def is_tag(text: str) -> bool:
    """Whether ``text`` may be a tag."""
    return bool(_TAG.fullmatch(text))


def is_digest(text: str) -> bool:
    """Whether ``text`` may be a digest."""
    return bool(_DIGEST.fullmatch(text))


def is_repository(text: str) -> bool:
    """Whether ``text`` may be a repository or a part of one: lower-case path components."""
    return bool(_REPOSITORY.fullmatch(text)) and len(text) <= _LONGEST_NAME


def is_host(text: str) -> bool:
    """Whether ``text`` may be a registry's host with an optional port."""
    return bool(_HOST.fullmatch(text))


def _split_host(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return ("docker.io" if first == "index.docker.io" else first), rest
    return "docker.io", name if slash else f"library/{name}"


def _problems(text: str, host: str, repository: str, tag: str | None, digest: str | None) -> list[Problem]:
    found = []
    if not is_host(host):
        found.append(Problem(text[:200], f"{host!r} is not a host name"))
    if not is_repository(repository):
        found.append(
            Problem(
                text[:200], f"{repository!r} is not a repository name", "lower-case letters, digits and . _ - / only"
            )
        )
    if tag is not None and not is_tag(tag):
        found.append(Problem(text[:200], f"{tag!r} is not a tag", _TAG_HINT))
    if digest is not None and not _DIGEST.fullmatch(digest):
        found.append(Problem(text[:200], f"{digest!r} is not a sha256 digest"))
    return found
