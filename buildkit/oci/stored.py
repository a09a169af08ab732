"""Reads images where they lie: what every place can do, and an OCI layout or what ``docker save`` and ``podman save`` write in a tar."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from buildkit.errors import InvalidInput, RegistryFailed
from buildkit.oci.image import Pieces
from buildkit.oci.layout import REFERENCE_NAME
from buildkit.oci.manifest import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    OCI_INDEX,
    Descriptor,
    Document,
    ImageConfig,
    Index,
    canonical,
    parse_object,
)
from buildkit.oci.named import meant
from buildkit.oci.platforms import Legible
from buildkit.oci.reference import Digest
from buildkit.oci.saved import ANEW, Saved, saved

BLOCK = 1024 * 1024
_LARGEST_DOCUMENT = 64 * 1024 * 1024


class NoSpans(RegistryFailed):
    """A registry sends a whole blob where a part was asked for."""


class Readable(Legible, Protocol):
    """Where an image can be read from, also in parts."""

    def span(self, descriptor: Descriptor, start: int, length: int) -> bytes:
        """Some bytes of a blob: they are not proven by its digest. Raises NoSpans where a registry would send all."""


@dataclass(frozen=True)
class _Place:
    offset: int
    size: int


class Archived:
    """An image in a tar: ``oci-archive`` or ``docker-archive``, told by what is in it. Nothing is unpacked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with tarfile.open(path, "r:") as tar:
                self._places = {
                    info.name.removeprefix("./"): _Place(info.offset_data, info.size) for info in tar if info.isfile()
                } | {
                    info.name.removeprefix("./"): _Place(there.offset_data, there.size)
                    for info in tar.getmembers()
                    if info.issym() or info.islnk()
                    if (there := _target(tar, info)) is not None
                }
        except FileNotFoundError:
            raise InvalidInput(
                f"there is no {path}", hint="'modelpack build RECIPE --output oci-archive:FILE' writes one"
            ) from None
        except (tarfile.TarError, OSError) as error:
            raise InvalidInput(
                f"{path} is not an image's archive: {error}", hint="unpack it first if it is compressed"
            ) from None
        self._by_digest: dict[str, _Place] = {}
        self._named: list[tuple[str, Document]] = []
        if "index.json" in self._places:
            self._open_layout()
        elif "manifest.json" in self._places:
            self._open_docker()
        else:
            raise InvalidInput(
                f"{path} holds no image: it has neither index.json nor manifest.json",
                hint="it is written by 'modelpack build --output', 'podman save' or 'docker save'",
            )

    @property
    def names(self) -> tuple[str, ...]:
        """What the images are called, "" for those without a name."""
        return tuple(name for name, _ in self._named)

    @property
    def is_exact(self) -> bool:
        """Whether manifests and layers are as they would be pushed: what ``docker save`` wrote before 25 is not."""
        return "index.json" in self._places

    def resolve(self, name: str) -> Document | None:
        """The document under a name or digest; with the name "" the only one there is. Raises InvalidInput as a layout does."""
        named = [(own, document.digest) for own, document in self._named]
        digest = name if name.startswith("sha256:") else meant(name, named, self.path)
        found = next((document for _, document in self._named if document.digest == digest), None)
        place = self._by_digest.get(digest or "")
        return found or (self._document(name, place) if place else None)

    def fetch(self, descriptor: Descriptor) -> Pieces:
        """Yields a blob's bytes."""
        place = self._place(descriptor)
        with self.path.open("rb") as file:
            file.seek(place.offset)
            left = place.size
            while left and (piece := file.read(min(BLOCK, left))):
                left -= len(piece)
                yield piece

    def span(self, descriptor: Descriptor, start: int, length: int) -> bytes:
        """Some bytes of a blob."""
        place = self._place(descriptor)
        with self.path.open("rb") as file:
            file.seek(place.offset + start)
            return file.read(max(0, min(length, place.size - start)))

    def _place(self, descriptor: Descriptor) -> _Place:
        place = self._by_digest.get(descriptor.digest)
        if place is None:
            raise InvalidInput(f"{self.path} does not hold {descriptor.digest}")
        return place

    def _open_layout(self) -> None:
        self._by_digest = {
            f"sha256:{name.rpartition('/')[2]}": place
            for name, place in self._places.items()
            if name.startswith("blobs/sha256/")
        }
        index = Index.read(Document(OCI_INDEX, self._bytes("index.json")))
        for entry in index.manifests:
            place = self._by_digest.get(entry.digest)
            if place:
                name = entry.annotations.get(REFERENCE_NAME, "")
                self._named.append((name, Document(entry.media_type, self._read(place))))

    def _document(self, digest: str, place: _Place) -> Document:
        raw = self._read(place)
        return Document(str(parse_object(raw, digest).get("mediaType", "")), raw)

    def _open_docker(self) -> None:
        """``manifest.json`` of docker save: a config, and layers by their names in the tar."""
        for one in saved(self._bytes("manifest.json"), f"{self.path}: manifest.json"):
            document = self._docker_document(one)
            self._named += [(tag, document) for tag in one.tags or [""]]

    def _docker_document(self, one: Saved) -> Document:
        config = self._bytes(one.config)
        diff_ids = self._diff_ids(config, one)
        layers = [self._docker_layer(name, diff_id) for name, diff_id in zip(one.layers, diff_ids, strict=True)]
        described = self._known(DOCKER_CONFIG, Digest.of(config), self._places[one.config])
        content = {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": described.document(),
            "layers": [layer.document() for layer in layers],
        }
        return Document(DOCKER_MANIFEST, canonical(content))

    def _diff_ids(self, config: bytes, one: Saved) -> tuple[Digest, ...]:
        """The digests of an image's tars as its config tells them, which must be as many as it has layers."""
        try:
            found = ImageConfig.read(config).diff_ids
        except InvalidInput as error:
            raise InvalidInput(f"{self.path}: {one.config} is no config of an image: {error}", hint=ANEW) from None
        if len(found) != len(one.layers):
            what = f"names {len(found)} layers, and manifest.json {len(one.layers)}"
            raise InvalidInput(f"{self.path}: {one.config} {what}", hint=ANEW)
        return found

    def _docker_layer(self, name: str, diff_id: Digest) -> Descriptor:
        place = self._places.get(name)
        if place is None:
            raise InvalidInput(f"{self.path} lacks the layer {name}")
        zipped = self._read(_Place(place.offset, min(2, place.size))) == b"\x1f\x8b"
        return self._known(DOCKER_LAYER_GZIP if zipped else DOCKER_LAYER, diff_id, place)

    def _known(self, media_type: str, digest: Digest, place: _Place) -> Descriptor:
        self._by_digest[digest] = place
        return Descriptor(media_type, digest, place.size)

    def _bytes(self, name: str) -> bytes:
        place = self._places.get(name)
        if place is None:
            raise InvalidInput(f"{self.path} lacks {name}")
        return self._read(place)

    def _read(self, place: _Place) -> bytes:
        if place.size > _LARGEST_DOCUMENT:
            raise InvalidInput(f"{self.path} has a manifest of {place.size} bytes")
        with self.path.open("rb") as file:
            file.seek(place.offset)
            return file.read(place.size)


def _target(tar: tarfile.TarFile, info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """The file behind a link: older ``docker save`` links a layer that two images share."""
    import posixpath

    where = (
        info.linkname
        if info.islnk()
        else posixpath.normpath(posixpath.join(posixpath.dirname(info.name), info.linkname))
    )
    try:
        found = tar.getmember(where)
    except KeyError:
        return None
    return found if found.isfile() else None
