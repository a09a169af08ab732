"""An image as one tar file: an OCI layout in a tar (``oci-archive``), or what ``docker load`` reads (``docker-archive``).

The tar is written in one pass and holds each blob once; a layer's name is its digest, which is known only after its bytes,
so its header is written then, in the place that was kept for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from buildkit.machine.atomic import AtomicFile, beside, sweep
from buildkit.oci import tar
from buildkit.oci.hashed import hashed
from buildkit.oci.image import Blob, Pieces, Placed
from buildkit.oci.layout import LAYOUT_FILE, index_of, named
from buildkit.oci.manifest import Descriptor, Document, Manifest, canonical
from buildkit.oci.reference import Digest

Form = Literal["oci-archive", "docker-archive"]


class Archive:
    """A Store that is only written to: put, publish, then :meth:`close`, which makes the file appear."""

    def __init__(self, path: Path, form: Form, name: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.form = form
        self.name = name
        sweep(path.parent, beside(path))
        self._atomic = AtomicFile(path.parent, beside(path))
        self._blobs: set[Digest] = set()
        self._named: list[tuple[Document, str]] = []
        self._documents: dict[Digest, Document] = {}

    def resolve(self, name: str) -> Document | None:
        """The documents that were published under a tag or digest."""
        named = {tag: document for document, tag in self._named}
        return named.get(name) or self._documents.get(Digest(name) if name.startswith("sha256:") else Digest.of(b""))

    def fetch(self, descriptor: Descriptor) -> Pieces:
        """Never possible: the archive is being written."""
        raise NotImplementedError("an archive that is being written cannot be read")

    def put(self, blob: Blob, moved: Callable[[int], None]) -> Placed:
        """Appends the blob, unless it is there already."""
        if blob.digest in self._blobs and blob.digest:
            return Placed(blob.digest, "exists")
        file, opened = self._atomic.file, hashed(blob.open())
        start = file.tell()
        file.write(bytes(tar.BLOCK))
        try:
            for piece in opened:
                file.write(piece)
                moved(len(piece))
        except BaseException:
            file.seek(start)
            raise
        digest = opened.digest
        end = file.tell()
        if digest in self._blobs:
            file.seek(start)
            file.truncate()
            return Placed(digest, "exists")
        entry = tar.Entry(f"blobs/sha256/{digest.hex}", 0o644, end - start - tar.BLOCK)
        file.write(bytes(entry.padding))
        file.seek(start)
        file.write(tar.header(entry))
        file.seek(0, os.SEEK_END)
        self._blobs.add(digest)
        return Placed(digest, "sent")

    def publish(self, document: Document, tag: str | None = None) -> None:
        """Keeps the document; with a tag, names it."""
        self._documents[document.digest] = document
        if self.form == "oci-archive":
            self.put(Blob.of(document.raw, document.media_type), lambda amount: None)
        if tag is not None:
            self._named.append((document, tag))

    def close(self) -> None:
        """Writes the table of contents and moves the file to its place."""
        if self.form == "oci-archive":
            # One name alone: podman refuses to load an archive with two ("choose an image"), were they one image or not.
            self._add("index.json", index_of(named(*one) for one in self._named[:1]))
            self._add("oci-layout", LAYOUT_FILE)
        else:
            self._add("manifest.json", canonical(self._docker_contents()))
        self._atomic.file.write(bytes(2 * tar.BLOCK))
        self._atomic.keep(self.path)

    def discard(self) -> None:
        """Gives up: nothing is left on disk."""
        self._atomic.discard()

    def _add(self, name: str, content: bytes) -> None:
        entry = tar.Entry(name, 0o644, len(content))
        self._atomic.file.write(tar.header(entry) + content + bytes(entry.padding))

    def _docker_contents(self) -> list[dict[str, Any]]:
        tags: Sequence[str] = [tag for _, tag in self._named]
        manifest = Manifest.read(self._named[0][0])
        return [
            {
                "Config": f"blobs/sha256/{manifest.config.digest.hex}",
                "RepoTags": [f"{self.name}:{tag}" for tag in tags],
                "Layers": [f"blobs/sha256/{layer.digest.hex}" for layer in manifest.layers],
            }
        ]
