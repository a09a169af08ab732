"""Descriptor, Manifest, Index, ImageConfig: read from bytes and written to bytes. The bytes are the truth.

Sources: image-spec 1.1 manifest.md, image-index.md, config.md; Docker's image manifest version 2, schema 2.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from buildkit.errors import InvalidInput
from buildkit.oci.config_form import malformed
from buildkit.oci.parsing import parse
from buildkit.oci.reference import Digest, Platform

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"

CONFIGS = (OCI_CONFIG, DOCKER_CONFIG)
"""Media types of an image's config; a manifest with another one is an artifact's."""
MANIFESTS = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEXES = (OCI_INDEX, DOCKER_INDEX)
LARGEST_MANIFEST = 4 * 1024 * 1024
"""Bytes. distribution-spec 1.1, "Pushing manifests": registries SHOULD take at least 4 MiB; many take no more."""
LARGEST_FILE = 1 << 60
"""Bytes. No file system holds a file that is larger."""

# The blobs under these Docker names are the same bytes as under the OCI ones, so a manifest may name them either way.
_AS_OCI = {
    DOCKER_LAYER_GZIP: OCI_LAYER_GZIP,
    DOCKER_LAYER: OCI_LAYER,
    "application/vnd.docker.image.rootfs.diff.tar.zstd": OCI_LAYER_ZSTD,
}
LAYERS = frozenset((*_AS_OCI, *_AS_OCI.values()))
"""Media types of an image's layers."""


def canonical(document: object) -> bytes:
    """JSON with sorted keys, no spaces, as UTF-8: the same document is always the same bytes."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def as_oci(media_type: str) -> str:
    """The OCI name of a layer's media type."""
    return _AS_OCI.get(media_type, media_type)


@dataclass(frozen=True)
class Descriptor:
    """What a manifest says of a blob or manifest: media type, digest, size in bytes."""

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: Platform | None = None

    @classmethod
    def read(cls, document: Any) -> Descriptor:
        """Reads a descriptor of a manifest; raises InvalidInput where it is malformed."""
        try:
            size = document["size"]
            if type(size) is not int or not 0 <= size <= LARGEST_FILE:
                raise InvalidInput(f"the size {str(size)[:40]} of a descriptor is not a blob's number of bytes")
            return cls(
                str(document["mediaType"]),
                Digest(str(document["digest"])),
                size,
                {str(key): str(value) for key, value in (document.get("annotations") or {}).items()},
                _platform(document.get("platform")),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise InvalidInput("a descriptor lacks its media type, digest or size") from error

    def document(self) -> dict[str, Any]:
        """The descriptor as it stands in a manifest."""
        written: dict[str, Any] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if self.annotations:
            written["annotations"] = dict(self.annotations)
        if self.platform:
            platform = {"os": self.platform.os, "architecture": self.platform.architecture}
            written["platform"] = platform | ({"variant": self.platform.variant} if self.platform.variant else {})
        return written


@dataclass(frozen=True)
class Document:
    """A manifest or index as a registry serves it: raw bytes with their media type."""

    media_type: str
    raw: bytes

    @property
    def digest(self) -> Digest:
        """What these bytes hash to."""
        return Digest.of(self.raw)

    def descriptor(self, platform: Platform | None = None) -> Descriptor:
        """How an index would name this document."""
        return Descriptor(self.media_type, self.digest, len(self.raw), platform=platform)


@dataclass(frozen=True)
class Manifest:
    """An image manifest: its config, its layers from the base upward, its annotations."""

    document: Document
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str]

    @classmethod
    def read(cls, document: Document) -> Manifest:
        """Reads raw bytes as an image manifest; raises InvalidInput."""
        content = parse_object(document.raw, "the manifest")
        if "config" not in content or not isinstance(content.get("layers"), list):
            raise InvalidInput(
                "the manifest has no config or no layers", hint="it may be an index or an artifact, not an image"
            )
        layers = tuple(Descriptor.read(layer) for layer in content["layers"])
        annotations = content.get("annotations") or {}
        if not isinstance(annotations, dict):
            raise InvalidInput("the annotations of the manifest are not a mapping")
        return cls(document, Descriptor.read(content["config"]), layers, annotations)

    @classmethod
    def write(cls, config: Descriptor, layers: Iterable[Descriptor], annotations: Mapping[str, str]) -> Manifest:
        """Writes an OCI image manifest in canonical JSON."""
        layers = tuple(layers)
        content: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": config.document(),
            "layers": [layer.document() for layer in layers],
        }
        if annotations:
            content["annotations"] = dict(annotations)
        return cls(Document(OCI_MANIFEST, canonical(content)), config, layers, dict(annotations))

    @property
    def type(self) -> str:
        """What the manifest is of: its artifactType, else its config's media type (image-spec manifest.md)."""
        return str(parse_object(self.document.raw, "the manifest").get("artifactType") or self.config.media_type)


@dataclass(frozen=True)
class Index:
    """An image index (Docker: manifest list): one manifest for each platform."""

    document: Document
    manifests: tuple[Descriptor, ...]

    @classmethod
    def read(cls, document: Document) -> Index:
        """Reads raw bytes as an index; raises InvalidInput."""
        content = parse_object(document.raw, "the index")
        if not isinstance(content.get("manifests"), list):
            raise InvalidInput("the index lists no manifests")
        return cls(document, tuple(Descriptor.read(manifest) for manifest in content["manifests"]))

    @classmethod
    def write(cls, manifests: Iterable[Descriptor]) -> Index:
        """Writes an OCI image index in canonical JSON."""
        manifests = tuple(manifests)
        content: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [manifest.document() for manifest in manifests],
        }
        return cls(Document(OCI_INDEX, canonical(content)), manifests)

    @property
    def images(self) -> tuple[Descriptor, ...]:
        """What the index names but for attestations, which are for the platform ``unknown``."""
        return tuple(entry for entry in self.manifests if not entry.platform or entry.platform.os != "unknown")


def manifests_of(document: Document, resolve: Callable[[str], Document | None]) -> list[Manifest]:
    """The manifests of an image: it is one itself, or its index names them; those that ``resolve`` does not find are left out."""
    if document.media_type not in INDEXES:
        return [Manifest.read(document)]
    found = [resolve(entry.digest) for entry in Index.read(document).manifests]
    return [Manifest.read(one) for one in found if one]


@dataclass(frozen=True)
class ImageConfig:
    """An image's configuration (image-spec config.md): platform, what runs and how, the layers' diff ids, history."""

    content: Mapping[str, Any]

    @classmethod
    def read(cls, raw: bytes) -> ImageConfig:
        """Reads raw bytes as a config; raises InvalidInput."""
        content = parse_object(raw, "the image config")
        rootfs = content.get("rootfs")
        diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
        if not isinstance(diff_ids, list):
            raise InvalidInput("the image config names no layers (rootfs.diff_ids)")
        config = content.get("config") or {}
        if not isinstance(config, dict):
            raise InvalidInput("the image config's 'config' is no mapping")
        if wrong := malformed(content, config):
            raise InvalidInput(f"the image config has no valid {', '.join(wrong)} (image-spec config.md)")
        return cls(content)

    @classmethod
    def empty(cls, platform: Platform) -> ImageConfig:
        """The config of ``FROM scratch``."""
        named = {"os": platform.os, "architecture": platform.architecture}
        if platform.variant:
            named["variant"] = platform.variant
        return cls({**named, "config": {}, "rootfs": {"type": "layers", "diff_ids": []}, "history": []})

    @property
    def raw(self) -> bytes:
        """The config in canonical JSON: what an image that is assembled here pushes."""
        return canonical(self.content)

    @property
    def diff_ids(self) -> tuple[Digest, ...]:
        """The digests of the layers' uncompressed tars, from the base upward."""
        return tuple(Digest(str(diff_id)) for diff_id in self.content["rootfs"]["diff_ids"])

    @property
    def platform(self) -> Platform:
        """What the image runs on."""
        content = self.content
        return Platform(
            str(content.get("os", "")), str(content.get("architecture", "")), str(content.get("variant", ""))
        )

    @property
    def process(self) -> Mapping[str, Any]:
        """What runs: User, Env, Entrypoint, Cmd, Labels, WorkingDir and the like."""
        return self.content.get("config") or {}


def parse_object(raw: bytes, what: str) -> dict[str, Any]:
    """Reads a JSON object that can be written again; raises InvalidInput that says ``what`` it should have been."""
    try:
        content = parse(raw)
    except ValueError as error:
        raise InvalidInput(f"{what} is not JSON") from error
    if not isinstance(content, dict):
        raise InvalidInput(f"{what} is not a JSON object")
    # Python reads more than JSON may hold, and what is built upon this would be refused after all of it was sent.
    try:
        canonical(content)
    except UnicodeEncodeError:
        raise InvalidInput(f"{what} has text that is not Unicode") from None
    except ValueError:
        raise InvalidInput(f"{what} has a number that JSON cannot hold") from None
    return content


def _platform(document: Any) -> Platform | None:
    if not isinstance(document, dict):
        return None
    return Platform(
        str(document.get("os", "")), str(document.get("architecture", "")), str(document.get("variant") or "")
    )
