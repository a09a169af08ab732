"""Layers whose files a program makes on this machine: made once, kept in the cache by what decides them, and streamed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from buildkit.build import Context
from buildkit.errors import EngineFailed
from buildkit.events import Said, Warned
from buildkit.machine.cache import cache_folder
from buildkit.oci import tar
from buildkit.oci.image import Blob, Layer, Pieces
from buildkit.oci.manifest import OCI_LAYER, canonical
from buildkit.oci.reference import Digest, Platform
from buildkit.plan import KEY, PACKING, TITLE, MadeLayer, parents

FILE_MODE, PROGRAM_MODE, DIRECTORY_MODE = 0o644, 0o755, 0o755
_BLOCK = 1024 * 1024


def made_layer(layer: MadeLayer, platform: Platform, base: Mapping[str, str], context: Context) -> Layer:
    """The layer for a platform above a base with these variables; made where this machine has not made it before.

    Raises what making it raises.
    """
    by = layer.by(base)
    key = Digest.of(canonical([tar.PACKING, str(layer.key), layer.root, str(platform), by.version]))
    if by.remark:
        context.emit(Warned(f"{by.remark.where} {by.remark.what}", hint=by.remark.hint))
    folder = _made(layer, key, f"{platform}, {by.version}" if by.version else str(platform), platform, base, context)
    places = {entry.name: place for entry, place in _found(folder, layer.root)}
    above = [tar.Entry(name, DIRECTORY_MODE, directory=True) for name in parents(f"{layer.root}/")]
    entries = sorted((*above, *(entry for entry, _ in _found(folder, layer.root))), key=lambda entry: entry.name)

    def stream() -> Pieces:
        return tar.stream(entries, lambda entry: tar.Content(_content(places[entry.name])))

    blob = Blob(key, OCI_LAYER, tar.length(entries), stream, title=layer.title)
    return Layer(blob, annotations={KEY: key, TITLE: layer.title, PACKING: tar.PACKING})


def _made(
    layer: MadeLayer, key: Digest, told: str, platform: Platform, base: Mapping[str, str], context: Context
) -> Path:
    kept = cache_folder() / "made"
    folder = kept / key.hex
    if folder.is_dir():
        return folder
    kept.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".making-", dir=kept, ignore_cleanup_errors=True) as temporary:
        fresh = Path(temporary) / "files"
        fresh.mkdir()
        context.emit(Said(f"making {layer.title} for {told}"))
        layer.make(fresh, platform, context.sources, base)
        try:
            fresh.rename(folder)
        except OSError:  # another run was quicker, and made the same
            if not folder.is_dir():
                raise
    return folder


def _found(folder: Path, root: str) -> Iterator[tuple[tar.Entry, Path]]:
    """Every file and directory with its place; of a file's mode only whether it is a program counts."""
    for place in sorted(folder.rglob("*")):
        name = f"{root}/{place.relative_to(folder).as_posix()}"
        status = place.lstat()
        if stat.S_ISDIR(status.st_mode):
            yield tar.Entry(name, DIRECTORY_MODE, directory=True), place
        elif stat.S_ISREG(status.st_mode):
            mode = PROGRAM_MODE if status.st_mode & 0o100 else FILE_MODE
            yield tar.Entry(name, mode, status.st_size), place
        else:
            raise EngineFailed(f"{name} is a link or a device, and a made layer holds only files")


def _content(place: Path) -> Iterator[bytes]:
    try:
        with open(os.fspath(place), "rb") as file:
            while block := file.read(_BLOCK):
                yield block
    except OSError as error:
        raise EngineFailed(
            f"{place} was made here, and cannot be read any more: {error.strerror or error}",
            hint=f"delete {cache_folder() / 'made'}, and build again: it is made anew",
        ) from None
