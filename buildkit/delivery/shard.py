"""Many machines for one image: each pushes its share of the layers, one of them writes the manifest.

What a machine pushed is remembered in the registry itself, under a tag that is made of what decided the layer: no machine
has to know another, none has to keep anything, and the registry does not collect a layer that no image names yet.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from buildkit.errors import InvalidInput, ModelpackError
from buildkit.oci.image import Blob, Layer
from buildkit.oci.manifest import OCI_CONFIG, Descriptor, Manifest, canonical
from buildkit.oci.reference import Digest
from buildkit.plan import KEY
from buildkit.registries.client import Repository

INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
"""Where a Kubernetes Indexed Job tells each of its pods which one it is (kubernetes.io, "Indexed Job")."""

_SHARD = re.compile(r"(?:(\d{1,6})/)?(\d{1,6})", re.ASCII)

MARK = "modelpack-layer-"
"""How every tag begins under which a layer is remembered."""


@dataclass(frozen=True)
class Shard:
    """One machine's part: ``index`` counts from 0 up to, not including, ``count``."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str, environment: Mapping[str, str]) -> Shard:
        """Reads ``I/N``, or ``N`` where the environment tells I; raises InvalidInput."""
        found = _SHARD.fullmatch(text)
        index = (found[1] or environment.get(INDEX_VARIABLE, "")) if found else ""
        if not found or not index.isdigit():
            hint = f"write --shard I/N with I from 0 to N-1, or --shard N where {INDEX_VARIABLE} is set"
            raise InvalidInput(f"{text[:50]!r} is not a shard", hint=hint)
        if not int(index) < int(found[2]):
            raise InvalidInput(f"there is no shard {index} of {found[2]}", hint="shards count from 0")
        return cls(int(index), int(found[2]))


def share(layers: Sequence[Layer], shard: Shard) -> list[Layer]:
    """The layers that a shard pushes: the same on every machine, and about as many bytes for each."""
    loads = [0] * shard.count
    mine = []
    distinct = {layer.blob.key: layer for layer in layers}
    for layer in sorted(distinct.values(), key=lambda one: (-one.blob.size, one.blob.key)):
        lightest = min(range(shard.count), key=lambda number: (loads[number], number))
        loads[lightest] += layer.blob.size
        if lightest == shard.index:
            mine.append(layer)
    return mine


def mark(store: Repository, layer: Layer, digest: Digest) -> None:
    """Remembers in the registry which digest a layer has, as an image of that one layer.

    Its config is the layer's own: a blob that many machines put at once is briefly unreadable in distribution 2.8, whose
    links are not written atomically (measured), and the manifest of one of them would be refused.
    """
    rootfs = {"type": "layers", "diff_ids": [digest]}
    content = canonical({"architecture": "unknown", "os": "unknown", "rootfs": rootfs, KEY: layer.blob.key})
    blob = Blob.of(content, OCI_CONFIG, "mark")
    store.put(blob, lambda amount: None)
    described = Descriptor(layer.blob.media_type, digest, layer.blob.size, {KEY: layer.blob.key})
    config = Descriptor(OCI_CONFIG, Digest(blob.key), blob.size)
    store.publish(Manifest.write(config, [described], {KEY: layer.blob.key}).document, tag_of(layer))


def marked(store: Repository, layers: Sequence[Layer]) -> dict[str, Digest]:
    """The digests of the layers that some machine pushed, by key."""
    found = {}
    for layer in layers:
        document = store.resolve(tag_of(layer))
        # What cannot be read under its tag is no mark.
        with contextlib.suppress(InvalidInput):
            manifest = Manifest.read(document) if document else None
            if manifest and manifest.layers and manifest.annotations.get(KEY) == layer.blob.key:
                found[layer.blob.key] = manifest.layers[0].digest
    return found


def forget(store: Repository, layers: Sequence[Layer]) -> None:
    """Takes the marks away, where the registry lets one delete; where it does not they do no harm.

    The list of tags tells whose marks are there. A registry that gives none is asked for each.
    """
    listed: tuple[str, ...] = ()
    with contextlib.suppress(ModelpackError):
        listed = store.tags()
    for layer in [layer for layer in layers if not listed or tag_of(layer) in listed]:
        with contextlib.suppress(ModelpackError):
            document = store.resolve(tag_of(layer))
            if document:
                store.delete(document.digest)


def tag_of(layer: Layer) -> str:
    """The tag under which a layer is remembered."""
    return f"{MARK}{Digest.of(layer.blob.key.encode()).hex[:40]}"
