"""An OCI image layout folder as a Store (image-spec image-layout.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from buildkit.errors import InvalidInput
from buildkit.machine.atomic import PARTIAL, AtomicFile, sweep, write
from buildkit.oci.hashed import hashed
from buildkit.oci.image import Blob, Pieces, Placed
from buildkit.oci.manifest import OCI_INDEX, Descriptor, Document, Index, parse_object
from buildkit.oci.named import meant
from buildkit.oci.reference import Digest

BLOCK = 1024 * 1024
REFERENCE_NAME = "org.opencontainers.image.ref.name"
LAYOUT_FILE = b'{"imageLayoutVersion":"1.0.0"}'


class Layout:
    """A folder with ``oci-layout``, ``index.json`` and ``blobs/sha256``. Every file in it appears whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def resolve(self, name: str) -> Document | None:
        """The document under a name or digest; with the name "" the only one there is, else None.

        Raises InvalidInput where several can be meant, or where the document is damaged.
        """
        entries = self.entries()
        named = list(zip(self.names, (entry.digest for entry in entries), strict=True))
        digest = Digest(name) if name.startswith("sha256:") else meant(name, named, self.folder)
        if digest is None or (digest == name and not self.path(digest).is_file()):
            return None
        media_type = next((entry.media_type for entry in entries if entry.digest == digest), "")
        return self._document(digest, media_type)

    def fetch(self, descriptor: Descriptor) -> Pieces:
        """Yields a blob; raises InvalidInput where it cannot be read, and at its end where it is not what its name says."""
        with self.reading(descriptor.digest) as file:
            opened = hashed(iter(lambda: file.read(BLOCK), b""))
            yield from opened
        if opened.digest != descriptor.digest:
            what = f"{self.path(descriptor.digest)} is damaged: it hashes to {opened.digest}"
            raise InvalidInput(what, hint="copy the folder again from where it was written, or write it again")

    def span(self, descriptor: Descriptor, start: int, length: int) -> bytes:
        """Some bytes of a blob: they are not proven by its digest."""
        with self.reading(descriptor.digest) as file:
            file.seek(start)
            return file.read(length)

    def put(self, blob: Blob, moved: Callable[[int], None]) -> Placed:
        """Writes the blob, unless it is there; raises what its stream raises, and then leaves nothing behind."""
        if blob.digest and self.path(blob.digest).is_file():
            return Placed(blob.digest, "exists")
        with AtomicFile(self._blobs) as atomic:
            opened = hashed(blob.open())
            for piece in opened:
                atomic.file.write(piece)
                moved(len(piece))
            digest = opened.digest
            blob.prove(digest)
            atomic.keep(self.path(digest))
        return Placed(digest, "sent")

    def publish(self, document: Document, tag: str | None = None) -> None:
        """Writes the document as a blob; with a tag also names it in ``index.json``."""
        self.put(Blob.of(document.raw, document.media_type), lambda amount: None)
        if tag is None:
            return
        kept = [entry for entry in self.entries() if entry.annotations.get(REFERENCE_NAME) != tag]
        write(self.folder / "index.json", index_of([*kept, named(document, tag)]))

    @contextmanager
    def reading(self, digest: Digest) -> Iterator[BinaryIO]:
        """A blob, open; raises InvalidInput where it is not there or cannot be read."""
        path = self.path(digest)
        try:
            with path.open("rb") as file:
                yield file
        except FileNotFoundError:
            hint = "copy the folder again from where it was written"
            raise InvalidInput(f"{path} is missing: the layout was not copied whole", hint=hint) from None
        except OSError as error:
            hint = "check who may read it, and the disk"
            raise InvalidInput(f"{path} cannot be read: {error.strerror or error}", hint=hint) from None

    def path(self, digest: Digest) -> Path:
        """Where a blob is kept."""
        return self.folder / "blobs" / "sha256" / digest.hex

    @cached_property
    def _blobs(self) -> Path:
        """The folder of the blobs, ready to be written to, without what killed runs left there."""
        folder = self.folder / "blobs" / "sha256"
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder, PARTIAL)
        if not (self.folder / "oci-layout").exists():
            write(self.folder / "oci-layout", LAYOUT_FILE)
        return folder

    def entries(self) -> tuple[Descriptor, ...]:
        """What ``index.json`` names."""
        path = self.folder / "index.json"
        if not path.is_file():
            return ()
        return Index.read(Document(OCI_INDEX, path.read_bytes())).manifests

    @property
    def names(self) -> tuple[str, ...]:
        """What the entries of ``index.json`` are called, "" for those without a name."""
        return tuple(entry.annotations.get(REFERENCE_NAME, "") for entry in self.entries())

    def _document(self, digest: Digest, media_type: str) -> Document:
        with self.reading(digest) as file:
            raw = file.read()
        path = self.path(digest)
        if Digest.of(raw) != digest:
            raise InvalidInput(
                f"{path} is damaged: it does not hash to its name", hint="delete the folder, and write it again"
            )
        return Document(media_type or str(parse_object(raw, str(path)).get("mediaType", "")), raw)


def named(document: Document, tag: str) -> Descriptor:
    """How ``index.json`` names a document."""
    return Descriptor(document.media_type, document.digest, len(document.raw), {REFERENCE_NAME: tag})


def index_of(descriptors: Iterable[Descriptor]) -> bytes:
    """The bytes of ``index.json``."""
    return Index.write(descriptors).document.raw
