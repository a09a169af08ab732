"""Where a model comes from: a hub, a folder, URLs. One file each, and this one match."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from buildkit.errors import InvalidInput
from buildkit.events import Emit
from buildkit.inputs import FilesRef, refuse_page
from buildkit.pin import Inventory, Source
from buildkit.reading.plain import Refusal
from buildkit.settings import Settings
from buildkit.sources.patience import Wait, sleep
from buildkit.spec import FileRef, FolderRef, HuggingFaceRef, ProjectRef, SourceRef, UrlsRef


def open_source(
    ref: SourceRef,
    folder: Path,
    settings: Settings,
    emit: Emit,
    *,
    keep: bool = False,
    listing: bool = False,
    pinned: Inventory | None = None,
    wait: Wait = sleep,
) -> Source:
    """The source that a recipe in ``folder`` names; nothing is asked or read before it is used.

    Raises InvalidInput where a URL leads to a page of the hub.
    ``keep`` lets the hub's own library keep what is read in its cache; ``listing`` leaves a folder's large files unread
    that were never read here, until they are sent. ``pinned`` is what an earlier run found: the files of that commit are
    opened, whatever the revision means by now. ``wait`` sleeps that many seconds, or raises to stop.
    """
    match ref:
        case HuggingFaceRef():
            from buildkit.sources.cached import CachedHuggingFace
            from buildkit.sources.huggingface import HuggingFace

            hub = HuggingFace(ref, settings.endpoint, pinned=pinned, wait=wait, emit=emit)
            return CachedHuggingFace(hub, emit) if keep else hub
        case FilesRef():
            from buildkit.sources.folder import Folder

            return Folder(folder, name=ref.path, emit=emit, leave_out=_all_but(ref.files))
        case ProjectRef():
            from buildkit.sources.folder import Folder
            from buildkit.sources.ignored import Ignored

            path = folder / ref.path
            return Folder(
                path, ref.include, ref.exclude, name=ref.path, emit=emit, leave_out=Ignored.of(path), program=True
            )
        case FileRef():
            from buildkit.sources.folder import Folder

            parent, _, name = ref.path.rpartition("/")
            return Folder(folder / parent, name=parent or ".", emit=emit, leave_out=lambda path, _: path != name)
        case FolderRef():
            from buildkit.sources.folder import Folder

            return Folder(folder / ref.path, ref.include, ref.exclude, name=ref.path, emit=emit, listing=listing)
        case UrlsRef():
            from buildkit.sources.http import Http

            _refuse_pages(ref, settings.endpoint)
            return Http(ref.urls, wait=wait, emit=emit)


def _refuse_pages(ref: UrlsRef, hub: str) -> None:
    """The public hub's pages were refused when the recipe was read; those of the settings' own hub are known only here."""
    for download in ref.urls:
        try:
            refuse_page(download.url, hub)
        except Refusal as refusal:
            raise InvalidInput(str(refusal), hint=refusal.hint) from None


def _all_but(files: tuple[str, ...]) -> Callable[[str, bool], bool]:
    """Leaves out everything but these files and the folders on the way to them."""
    return lambda path, is_directory: (
        not any(file.startswith(f"{path}/") for file in files) if is_directory else path not in files
    )
