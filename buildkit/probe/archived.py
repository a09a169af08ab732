"""An image on this disk in the forms that engines load: a layout with nothing but it, or a docker-archive."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from buildkit.oci.archive import Archive
from buildkit.oci.image import Blob
from buildkit.oci.layout import LAYOUT_FILE, index_of, named
from buildkit.oci.manifest import Descriptor
from buildkit.probe.containers import Served

ONE = "verify"
"""The tag of the one image."""


@contextmanager
def view_of(served: Served) -> Iterator[Path | None]:
    """A layout folder whose index names this image alone, over the blobs of the real one; None where it lies in no layout.

    podman pulls from a layout only where it has to choose nothing, and makes the image's name of the path (measured with
    4.3): hence a folder with a plain name.
    """
    if served.layout is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="modelpack-") as folder:
        view = Path(folder).with_name(f"modelpack{secrets.token_hex(6)}")
        Path(folder, "oci-layout").write_bytes(LAYOUT_FILE)
        Path(folder, "index.json").write_bytes(index_of([named(served.manifest.document, ONE)]))
        Path(folder, "blobs").symlink_to((served.layout / "blobs").resolve(), target_is_directory=True)
        view.symlink_to(folder, target_is_directory=True)
        try:
            yield view
        finally:
            view.unlink()


@contextmanager
def docker_archive(served: Served) -> Iterator[tuple[Path, str]]:
    """A docker-archive of the image, and the name that it has in there."""
    name = f"modelpack-{secrets.token_hex(6)}"
    with tempfile.TemporaryDirectory(prefix="modelpack-") as folder:
        archive = Archive(Path(folder) / "image.tar", "docker-archive", name)
        try:
            for descriptor in (served.manifest.config, *served.manifest.layers):
                archive.put(_blob(served, descriptor), lambda amount: None)
            archive.publish(served.manifest.document, ONE)
            archive.close()
        finally:
            archive.discard()
        yield archive.path, f"{name}:{ONE}"


def _blob(served: Served, descriptor: Descriptor) -> Blob:
    read = partial(served.store.fetch, descriptor)
    return Blob(str(descriptor.digest), descriptor.media_type, descriptor.size, read, descriptor.digest)
