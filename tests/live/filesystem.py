"""What is in a pushed image, read from its layers as a runtime lays them over each other (image-spec, layer.md)."""

from __future__ import annotations

import hashlib
import io
import tarfile
from typing import Any

from buildkit.events import silent
from buildkit.oci.manifest import ImageConfig, Manifest
from buildkit.oci.reference import Reference
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
        raw = b"".join(store.fetch(layer))
        with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
            members = tar.getmembers()
            for member in members:
                _remove(found, _name(member))
            for member in members:
                _add(found, tar, member)
    return found


def _name(member: tarfile.TarInfo) -> str:
    return member.name.removeprefix("./").strip("/")


def _remove(found: dict[str, Entry], name: str) -> None:
    """What a whiteout takes away of the layers below: an opaque one what is in its directory, and not the directory."""
    parent, _, last = name.rpartition("/")
    if last.startswith(".wh."):
        gone = parent if last == OPAQUE else f"{parent}/{last.removeprefix('.wh.')}".strip("/")
        for other in [one for one in found if one.startswith(f"{gone}/") or (one == gone and last != OPAQUE)]:
            del found[other]


def _add(found: dict[str, Entry], tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    name = _name(member)
    if name.rpartition("/")[2].startswith(".wh."):
        return
    if member.islnk():
        found[name] = found[member.linkname.removeprefix("./").strip("/")]
    elif name:
        file = tar.extractfile(member) if member.isfile() else None
        content = hashlib.sha256(file.read()).hexdigest() if file else member.linkname
        kind = "file" if file else "link" if member.issym() else "directory" if member.isdir() else "device"
        found[name] = (kind, member.mode & 0o7777 if kind != "link" else 0, member.uid, member.gid, content)
