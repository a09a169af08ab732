"""What the layers of an image above its base hold, read entry by entry."""

from __future__ import annotations

import hashlib
import io
import tarfile
from typing import Any

from buildkit.oci.image import Store
from buildkit.oci.manifest import Manifest


def entries_above(manifest: Manifest, store: Store, base: int) -> dict[str, tuple[Any, ...]]:
    """By name: mode, owner, group, and the digest of the content or what else it is; ``base`` layers are left out."""
    found: dict[str, tuple[Any, ...]] = {}
    for layer in manifest.layers[base:]:
        with tarfile.open(fileobj=io.BytesIO(b"".join(store.fetch(layer)))) as tar:
            for member in tar:
                found[member.name.rstrip("/")] = (member.mode & 0o7777, member.uid, member.gid, _content(tar, member))
    return found


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    if not member.isfile():
        return "directory" if member.isdir() else member.linkname
    file = tar.extractfile(member)
    assert file is not None
    return hashlib.sha256(file.read()).hexdigest()
