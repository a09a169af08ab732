"""A model on a hub that is read through the cache of the hub's own library: downloaded once, kept, read from there."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from buildkit.errors import SourceFailed
from buildkit.events import Began, Emit, Ended, Moved, silent
from buildkit.pin import File, Inventory
from buildkit.sources import local
from buildkit.sources.huggingface import HuggingFace
from buildkit.sources.refusals import refusal, refuse_offline
from buildkit.sources.selection import printable

_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


class CachedHuggingFace:
    """Like :class:`HuggingFace`, for builds whose image is pushed later: what is read stays in the hub library's cache."""

    distant = True

    def __init__(self, hub: HuggingFace, emit: Emit = silent) -> None:
        self._hub = hub
        self._emit = emit

    def vouches(self, file: File) -> bool:
        """Never: what comes over a line, or lies where others write, is proven."""
        return False

    def remedy(self, file: File) -> str:
        """What to do where the file turned out not to be the pinned one."""
        return self._hub.remedy(file)

    def inventory(self) -> Inventory:
        """What the repository holds; see :meth:`HuggingFace.inventory`."""
        return self._hub.inventory()

    def open(self, file: File, start: int = 0) -> Iterator[bytes]:
        """Yields a file's bytes from ``start`` on, after the hub's library has put it into its cache; raises SourceFailed."""
        path = self._hub.cached(file) or self._downloaded(file)
        yield from local.blocks(path, file, start, f"{file.path} in the hub's cache")

    def _downloaded(self, file: File) -> Path:
        key = f"download {file.path}"
        self._emit(Began(key, file.path, file.size))
        try:
            path = self._download(file, key)
        except BaseException:
            self._emit(Ended(key, "failed"))
            raise
        self._emit(Ended(key, "read"))
        return path

    def _download(self, file: File, key: str) -> Path:
        import httpx2
        from huggingface_hub import constants, hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

        from buildkit.sources.hub_client import asking

        refuse_offline(f"{file.path} of {self._hub.ref.hf} is not in the hub's cache")
        name, commit = self._hub.place()
        place = Path(constants.HF_HUB_CACHE)
        _check_room(file, place)
        token = self._hub.token()
        what = f"{file.path} of {name}"
        try:
            with asking(self._hub.endpoint):
                return Path(
                    hf_hub_download(
                        name,
                        file.path,
                        revision=commit,
                        endpoint=self._hub.endpoint,
                        token=token.reveal() if token else False,
                        tqdm_class=_bar(self._emit, key),
                    )
                )
        except HfHubHTTPError as error:
            raise refusal(self._hub.asked(), error.response.status_code, error.response.headers) from None
        except LocalEntryNotFoundError as error:
            raise self._unlocated(what, error.__cause__) from None
        except httpx2.HTTPError:
            raise _cut_off(what) from None
        except ValueError as error:
            # Among others: a file of more than 50 GB without the hf_xet package.
            raise SourceFailed(f"{what} could not be downloaded: {printable(str(error))}") from None
        except OSError as error:
            raise _disk(file, place, error) from None

    def _unlocated(self, what: str, cause: BaseException | None) -> SourceFailed:
        from huggingface_hub.errors import HfHubHTTPError

        if isinstance(cause, HfHubHTTPError):
            return refusal(self._hub.asked(), cause.response.status_code, cause.response.headers)
        return _cut_off(what)


def _bar(emit: Emit, key: str) -> type[Any]:
    """A progress bar for the hub's library, which asks for a class: it draws nothing and tells ``emit``."""

    class Bar:
        def __init__(self, *args: object, total: float | None = None, initial: float = 0, **options: object) -> None:
            self.total, self.n = total, initial
            self.format_dict: dict[str, object] = {"rate": None}

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *failure: object) -> None: ...

        def update(self, n: float | None = 1) -> None:
            self.n += n or 0
            emit(Moved(key, int(n or 0)))

        # The library counts bytes on the wire besides those of the file where a bar can take the two apart.
        def update_transfer(self, n: float | None = 1) -> None: ...

        def set_transfer_postfix_str(self, *text: object, **options: object) -> None: ...

        def set_postfix_str(self, *text: object, **options: object) -> None: ...

        def refresh(self, *options: object, **more: object) -> None: ...

        def close(self) -> None: ...

    return Bar


def _check_room(file: File, place: Path) -> None:
    there = next((folder for folder in (place, *place.parents) if folder.is_dir()), None)
    if there is not None and shutil.disk_usage(there).free < file.size:
        raise _no_room(file, place)


def _disk(file: File, place: Path, error: OSError) -> SourceFailed:
    if error.errno in _FULL:
        return _no_room(file, place)
    if isinstance(error, PermissionError):
        return SourceFailed(f"the hub's cache {place} may not be written", hint="set HF_HOME to a folder that may be")
    if error.errno is None:
        return SourceFailed(
            f"{file.path}: the hub gave something else than the {file.size:,} bytes that it promised", hint=_AGAIN
        )
    return local.unreadable(f"{file.path} in the hub's cache {place}", error)


def _no_room(file: File, place: Path) -> SourceFailed:
    return SourceFailed(
        f"the disk has no room for {file.path}: {file.size:,} bytes are needed in {place}",
        hint="free some, set HF_HOME to another disk, or build with --push, which keeps nothing on disk",
    )


def _cut_off(what: str) -> SourceFailed:
    return SourceFailed(
        f"{what} could not be downloaded: the hub does not answer, or cuts the connection off", hint=_AGAIN
    )


_AGAIN = "run it again; if it goes on, check the network between here and the hub"
