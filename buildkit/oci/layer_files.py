"""The files of an image, read from its layers where they lie.

Layers that are not compressed are read in spans, so that a model's bytes stay where they are. A compressed layer must be
read from its beginning; one that is too large for that is left unread, and everything that is said about files says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from buildkit.amounts import human
from buildkit.errors import InvalidInput
from buildkit.oci.files import SMALL, Files, Member, is_small_text
from buildkit.oci.headers import NoTar, inflated, members_in_spans, members_of_stream
from buildkit.oci.image import Pieces
from buildkit.oci.manifest import Descriptor, Manifest
from buildkit.oci.stored import NoSpans, Readable

STREAMED = 256 * 1024 * 1024
"""Bytes of a registry's compressed layers that are read without being asked to: a base with Python, not a model."""
INFLATED = 8
"""How many times these bytes all of the layers may become: four is usual, and deflate can make a thousand."""
MOST_MEMBERS = 1_000_000
"""Files of all the layers together: a large image has a third of them, and each takes half a kilobyte of memory."""
_LARGEST_INDEX = 32 * 1024 * 1024
_READ_FILES = 2 * 1024 * 1024
"""Bytes of small files that are read one by one from a layer that is not compressed."""


def read_files(store: Readable, manifest: Manifest, most: int, remedy: str = "") -> Files:
    """An image's files; what could not be read of its layers is told in ``unread``. Raises RegistryFailed.

    ``most`` bytes of compressed layers are read; ``remedy`` is told where they have more.
    """
    return _Reader(store, manifest, most, remedy).files()


@dataclass
class _Reader:
    """Reads the headers of one image's layers."""

    store: Readable
    manifest: Manifest
    most: int
    remedy: str = ""
    kept: dict[tuple[int, str], bytes] = field(default_factory=dict)
    left: int = _READ_FILES
    streamed: frozenset[int] = frozenset()
    inflated: int = 0
    members: int = 0

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
            raise InvalidInput(f"it is compressed, and more than {human(self.most)} would have to be read{self.remedy}")
        before, passing = self.inflated, self._counted(inflated(self.store.fetch(layer)))
        members = self._all_of(members_of_stream(passing, number, _is_wanted, self.kept))
        for _ in passing:
            continue
        return members, self.inflated - before

    def _counted(self, tar: Pieces) -> Pieces:
        """Counts what a layer becomes while it passes: a hostile one is small only where it lies."""
        for piece in tar:
            self.inflated += len(piece)
            if self.inflated > self.most * INFLATED:
                raise InvalidInput(
                    f"it is compressed, and with the layers below it becomes more than {human(self.most * INFLATED)}"
                    f"{self.remedy}"
                )
            yield piece

    def _all_of(self, members: Iterator[Member]) -> tuple[Member, ...]:
        """The members of a layer; raises InvalidInput where there are more than anybody has, and memory would end first."""
        left = MOST_MEMBERS - self.members
        found = tuple(islice(members, left + 1))
        self.members += len(found)
        if len(found) > left:
            raise InvalidInput(f"with the layers below it has more than {MOST_MEMBERS} files")
        return found

    def _in_spans(self, layer: Descriptor, number: int) -> tuple[Member, ...]:
        if layer.size == 0:
            return ()
        reading = members_in_spans(lambda start, length: self.store.span(layer, start, length), layer.size, number)
        return self._all_of(reading)

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
