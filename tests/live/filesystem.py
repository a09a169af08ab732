"""What is in a pushed image, read from its layers as a runtime lays them over each other (image-spec, layer.md)."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from typing import Any

from buildkit.events import silent
from buildkit.oci.manifest import ImageConfig, Manifest
from buildkit.oci.reference import Digest, Reference
from buildkit.settings import Settings
from buildkit.world import World

Entry = tuple[str, int, int, int, str]
OPAQUE = ".wh..wh..opq"
MOUNTED = {"etc", "etc/hosts", "etc/resolv.conf", "run", "proc", "sys", "dev"}
"""Where podman mounts something of its own while a command runs; it leaves an empty place where a base has none."""


def _manifest(settings: Settings, reference: str) -> tuple[Any, Manifest]:
    named = Reference.parse(reference)
    store = World(settings, silent).repository(named)
    document = store.resolve(named.digest or named.tag or "latest")
    assert document is not None
    return store, Manifest.read(document)


def process_of(settings: Settings, reference: str) -> dict[str, Any]:
    """The ``config`` of an image's configuration."""
    store, manifest = _manifest(settings, reference)
    return dict(ImageConfig.read(b"".join(store.fetch(manifest.config))).process)


def tree(settings: Settings, reference: str, *, skip: int = 0) -> dict[str, Entry]:
    """Every file by name: its type, mode, owner, group, and the digest of its content or where it leads.

    ``skip`` layers from below are left out. Hard links are what they link to; whiteouts remove what they name.
    """
    store, manifest = _manifest(settings, reference)
    found: dict[str, Entry] = {}
    for layer in manifest.layers[skip:]:
        if layer.digest not in _READ:
            _READ[layer.digest] = list(_members(b"".join(store.fetch(layer))))
        for name, _, _ in _READ[layer.digest]:
            _remove(found, name)
        for name, entry, link in _READ[layer.digest]:
            if link:
                found[name] = found[link]
            elif not name.rpartition("/")[2].startswith(".wh."):
                found[name] = entry
    return found


_READ: dict[Digest, list[tuple[str, Entry, str]]] = {}
"""Layers that were read already: many images stand on one base."""


def _members(raw: bytes) -> Iterator[tuple[str, Entry, str]]:
    """Every entry of a layer: its name, what it is, and for a hard link what it links to."""
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        for member in tar:
            name = _name(member.name)
            if name:
                file = tar.extractfile(member) if member.isfile() else None
                content = hashlib.sha256(file.read()).hexdigest() if file else member.linkname
                kind = "file" if file else "link" if member.issym() else "directory" if member.isdir() else "device"
                mode = member.mode & 0o7777 if kind != "link" else 0
                yield (
                    name,
                    (kind, mode, member.uid, member.gid, content),
                    _name(member.linkname) if member.islnk() else "",
                )


def _name(written: str) -> str:
    return written.removeprefix("./").strip("/")


def _remove(found: dict[str, Entry], name: str) -> None:
    """What a whiteout takes away of the layers below: an opaque one what is in its directory, and not the directory."""
    parent, _, last = name.rpartition("/")
    if last.startswith(".wh."):
        gone = parent if last == OPAQUE else f"{parent}/{last.removeprefix('.wh.')}".strip("/")
        for other in [one for one in found if one.startswith(f"{gone}/") or (one == gone and last != OPAQUE)]:
            del found[other]
