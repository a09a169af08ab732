"""Reads an image as it was pushed: its manifests, its config, and the names, modes and sizes of its files.

Layers that are not compressed are read in spans, so that a model's bytes stay where they are. A compressed layer must be
read from its beginning; one that is too large for that is left unread, and everything that is said about files says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from buildkit.amounts import human
from buildkit.checks.subject import Pushed
from buildkit.errors import InvalidInput
from buildkit.oci.files import SMALL, Files, Member, is_small_text
from buildkit.oci.headers import NoTar, inflated, members_in_spans, members_of_stream
from buildkit.oci.image import Pieces
from buildkit.oci.manifest import INDEXES, Descriptor, Document, ImageConfig, Index, Manifest, NotAnImage, config_of
from buildkit.oci.reference import Platform, Reference
from buildkit.oci.stored import Archived, LocalLayout, NoSpans, Readable
from buildkit.world import World

STREAMED = 256 * 1024 * 1024
"""Bytes of a registry's compressed layers that are read without being asked to: a base with Python, not a model."""
STREAMED_HERE = 4 * 1024**3
"""The same for an image on this disk."""
INFLATED = 8
"""How many times these bytes all of the layers may become: four is usual, and deflate can make a thousand."""
_LARGEST_INDEX = 32 * 1024 * 1024
_READ_FILES = 2 * 1024 * 1024
"""Bytes of small files that are read one by one from a layer that is not compressed."""
AMD64 = Platform("linux", "amd64")


@dataclass(frozen=True)
class Examined:
    """An image as it was pushed. ``reference`` is None for one on this disk; ``read`` tells the bytes that were moved.

    ``artifact`` says of a manifest that it is no image's: then config and files are empty, and nothing is known of them.
    """

    name: str
    reference: Reference | None
    pushed: Pushed
    config: ImageConfig
    files: Files
    read: Callable[[], int]
    artifact: NotAnImage | None = None

    @property
    def size(self) -> int:
        """Bytes of the layers as they are stored."""
        return sum(layer.size for layer in self.pushed.manifest.layers)


def examine(image: str, world: World, *, platform: Platform | None = None, whole: bool = False) -> Examined:
    """Reads an image: a reference, ``oci:DIR[:TAG]``, ``oci-archive:FILE`` or ``docker-archive:FILE``.

    Of an index the image for ``platform`` is taken, by default linux/amd64, else the only one. ``whole`` reads compressed
    layers however large they are. Raises InvalidInput or RegistryFailed.
    """
    store, name, reference = opened(image, world)
    counted = _Counted(store)
    top = counted.resolve(name)
    if top is None:
        raise InvalidInput(f"there is no image {image}", hint="check the name and the tag, and that you may pull it")
    document = chosen(top, counted, platform, image)
    manifest = Manifest.read(document)
    pushed = Pushed(top, manifest, exact=not isinstance(store, Archived) or store.is_exact)
    try:
        config = config_of(manifest, b"".join(counted.fetch(manifest.config)), image)
    except NotAnImage as artifact:
        return Examined(image, reference, pushed, ImageConfig({}), Files(()), lambda: counted.moved, artifact)
    most = STREAMED if reference else STREAMED_HERE
    files = _Reader(counted, manifest, most=1 << 62 if whole else most).files()
    return Examined(image, reference, pushed, config, files, lambda: counted.moved)


def opened(image: str, world: World) -> tuple[Readable, str, Reference | None]:
    """Where an image can be read, by which name in there, and its reference if it is not on this disk."""
    form, _, rest = image.partition(":")
    if form == "oci":
        folder, _, tag = rest.rpartition(":")
        path, tag = (Path(folder), tag) if folder and Path(folder).is_dir() else (Path(rest), "")
        if not (path / "index.json").is_file():
            raise InvalidInput(
                f"{path} is not an OCI layout: it has no index.json",
                hint="'modelpack build RECIPE --output oci:DIR' writes one",
            )
        return LocalLayout(path), tag, None
    if form in ("oci-archive", "docker-archive"):
        file, _, tag = rest.partition(":")
        path, tag = (Path(rest), "") if Path(rest).is_file() or not tag else (Path(file), tag)
        return Archived(path), tag, None
    reference = Reference.parse(image)
    return world.base(reference), reference.digest or reference.tag or "latest", reference


def chosen(top: Document, store: Readable, platform: Platform | None, image: str) -> Document:
    """The one manifest that is looked at: of an index that for the platform, by default linux/amd64, else the first."""
    if top.media_type not in INDEXES:
        return top
    index = Index.read(top)
    images = index.images
    entry = index.manifest_for(platform or AMD64) or (images[0] if images and platform is None else None)
    found = store.resolve(entry.digest) if entry else None
    if found is None:
        there = ", ".join(sorted({str(entry.platform) for entry in images if entry.platform})) or "none"
        raise InvalidInput(f"{image} has no image for {platform or AMD64}", hint=f"it has {there}")
    return found


class _Counted:
    """A store that counts what is read from it."""

    def __init__(self, store: Readable) -> None:
        self._store = store
        self.moved = 0

    def resolve(self, name: str) -> Document | None:
        document = self._store.resolve(name)
        self.moved += len(document.raw) if document else 0
        return document

    def fetch(self, descriptor: Descriptor) -> Pieces:
        for piece in self._store.fetch(descriptor):
            self.moved += len(piece)
            yield piece

    def span(self, descriptor: Descriptor, start: int, length: int) -> bytes:
        found = self._store.span(descriptor, start, length)
        self.moved += len(found)
        return found


@dataclass
class _Reader:
    """Reads the headers of one image's layers."""

    store: _Counted
    manifest: Manifest
    most: int
    kept: dict[tuple[int, str], bytes] = field(default_factory=dict)
    left: int = _READ_FILES
    streamed: frozenset[int] = frozenset()
    inflated: int = 0

    def files(self) -> Files:
        """The image's files; what could not be read is told in ``unread``."""
        self.streamed = self._affordable()
        layers: list[tuple[Member, ...]] = []
        sizes: list[int | None] = []
        unread: list[str] = []
        damaged: dict[int, str] = {}
        for number, layer in enumerate(self.manifest.layers):
            try:
                members, size = self._layer(layer, number)
            except (InvalidInput, NoSpans) as error:
                members, size = (), None
                unread.append(f"layer {number + 1} ({human(layer.size)}): {error}")
                if isinstance(error, NoTar):
                    damaged[number + 1] = error.what
            layers.append(members)
            sizes.append(size)
        return Files(tuple(layers), "; ".join(unread), tuple(sizes), self.content, damaged=damaged)

    def _affordable(self) -> frozenset[int]:
        """The compressed layers that are read: the smallest, as long as all of them together keep within the bound."""
        compressed = [number for number, layer in enumerate(self.manifest.layers) if _is_compressed(layer)]
        chosen, left = [], self.most
        for number in sorted(compressed, key=lambda number: self.manifest.layers[number].size):
            left -= self.manifest.layers[number].size
            if left < 0:
                break
            chosen.append(number)
        return frozenset(chosen)

    def _layer(self, layer: Descriptor, number: int) -> tuple[tuple[Member, ...], int | None]:
        """A layer's members, and the bytes of its tar."""
        if not _is_compressed(layer):
            begin = self.store.span(layer, 0, min(4, layer.size)) if layer.size else b""
            if not begin.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
                return self._in_spans(layer, number), layer.size
        if layer.size > self.most or (_is_compressed(layer) and number not in self.streamed):
            raise InvalidInput(
                f"it is compressed, and more than {human(self.most)} would have to be read (--whole reads it all the same)"
            )
        before, passing = self.inflated, self._counted(inflated(self.store.fetch(layer)))
        members = tuple(members_of_stream(passing, number, _is_wanted, self.kept))
        for _ in passing:
            continue
        return members, self.inflated - before

    def _counted(self, tar: Pieces) -> Pieces:
        """Counts what a layer becomes while it passes: a hostile one is small only where it lies."""
        for piece in tar:
            self.inflated += len(piece)
            if self.inflated > self.most * INFLATED:
                raise InvalidInput(
                    f"it is compressed, and with the layers below it becomes more than {human(self.most * INFLATED)} "
                    "(--whole reads it all the same)"
                )
            yield piece

    def _in_spans(self, layer: Descriptor, number: int) -> tuple[Member, ...]:
        if layer.size == 0:
            return ()
        return tuple(members_in_spans(lambda start, length: self.store.span(layer, start, length), layer.size, number))

    def content(self, member: Member) -> bytes | None:
        """What a small file says; None where it is large, was not kept while it passed, or enough was read already."""
        known = self.kept.get((member.layer, member.path))
        if known is not None or member.type != "file":
            return known
        layer = self.manifest.layers[member.layer]
        index = member.path.endswith(_INDEX)
        if _is_compressed(layer) or member.size > (_LARGEST_INDEX if index else SMALL):
            return None
        if not index and member.size > self.left:
            return None
        self.left -= 0 if index else member.size
        found = self.store.span(layer, member.offset, member.size) if member.size else b""
        self.kept[member.layer, member.path] = found
        return found


def _is_compressed(layer: Descriptor) -> bool:
    return layer.media_type.endswith(("gzip", "zstd"))


_INDEX = ".safetensors.index.json"


def _is_wanted(member: Member) -> bool:
    if member.path.endswith(_INDEX):
        return member.size <= _LARGEST_INDEX
    return member.size <= SMALL and (is_small_text(member) or member.path in _READ_ALWAYS)


_READ_ALWAYS = ("etc/passwd", "etc/group", "etc/os-release", "usr/lib/os-release", "home/run.sh")
