"""The files of an image: the members of its layers as their tar headers say, and what they are together.

image-spec 1.1, layer.md: layers are laid over one another from the base upward; ``.wh.NAME`` takes NAME away, ``.wh..wh..opq``
everything that lower layers have in its directory.
"""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
SMALL = 64 * 1024
"""Bytes up to which a file may be read for what it says."""
_MOST_LINKS = 40
"""Links that are followed one after another: as many as Linux does (path_resolution(7), ELOOP)."""


@dataclass(frozen=True)
class Member:
    """A member of a layer's tar. ``path`` is ``name`` without what means nothing: ``./models/a`` is ``models/a``.

    ``type`` is file, directory, symlink, hardlink, device or fifo; ``link`` is where a link points; ``size`` in bytes;
    ``layer`` counts from the base upward, ``offset`` is where the content begins in the layer's uncompressed tar. ``proof``
    is a digest of the content where somebody knows one: no tar header has it.
    """

    path: str
    name: str
    type: str
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    link: str = ""
    layer: int = 0
    offset: int = 0
    proof: str = ""

    @classmethod
    def of(cls, info: tarfile.TarInfo, layer: int) -> Member:
        """A member as the standard library read its header."""
        return cls(
            plain_path(info.name),
            info.name,
            _TYPES.get(info.type, "file"),
            info.mode & 0o7777,
            info.uid,
            info.gid,
            info.size,
            info.linkname,
            layer,
            info.offset_data,
        )


_TYPES = {
    tarfile.DIRTYPE: "directory",
    tarfile.SYMTYPE: "symlink",
    tarfile.LNKTYPE: "hardlink",
    tarfile.CHRTYPE: "device",
    tarfile.BLKTYPE: "device",
    tarfile.FIFOTYPE: "fifo",
}


def plain_path(name: str) -> str:
    """A member's name as the path below ``/`` that it means; "" for the root itself."""
    path = posixpath.normpath("/" + name).lstrip("/")
    return "" if path == "." else path


@dataclass(frozen=True)
class Files:
    """An image's files. ``unread`` says which part could not be read, "" where all could.

    ``sizes`` are the bytes of each layer's uncompressed tar where they are known; ``content`` reads a small file; ``whole``
    are folders of which every file is known all the same; ``damaged`` says of layers, from 1, why nobody can unpack them.
    """

    layers: tuple[tuple[Member, ...], ...]
    unread: str = ""
    sizes: tuple[int | None, ...] = ()
    content: Callable[[Member], bytes | None] = field(default=lambda member: None, compare=False)
    whole: tuple[str, ...] = ()
    damaged: Mapping[int, str] = field(default_factory=dict)

    @cached_property
    def merged(self) -> Mapping[str, Member]:
        """What a container sees: path -> member. Directories that only a path implies are there as well."""
        seen: dict[str, Member] = {}
        for layer in self.layers:
            _uncover(seen, layer)
            for member in layer:
                if posixpath.basename(member.path).startswith(WHITEOUT) or not member.path:
                    continue
                old = seen.get(member.path)
                if old and old.type == "directory" and member.type != "directory":
                    _remove(seen, member.path)
                seen[member.path] = member
        for path in list(seen):
            for parent in _parents(path):
                seen.setdefault(parent, Member(parent, parent, "directory", 0o755))
        return seen

    def find(self, path: str) -> Member | None:
        """The member that a path leads to, links followed; None where it leads nowhere."""
        resolved = self.resolve(path)
        return None if resolved is None else self.merged.get(resolved)

    def resolve(self, path: str, links: int = 0) -> str | None:
        """Where a path leads when all links in it are followed; None for a link without end or to nothing."""
        walked = ""
        parts = plain_path(path).split("/")
        for index, part in enumerate(parts):
            here = f"{walked}/{part}" if walked else part
            member = self.merged.get(here)
            if member is None:
                return None
            if member.type == "symlink":
                if links >= _MOST_LINKS:
                    return None
                target = posixpath.join("/" + walked, member.link)
                return self.resolve(posixpath.join(target, *parts[index + 1 :]), links + 1)
            walked = here
        return walked

    def real(self, member: Member) -> Member:
        """The file behind a hard link: the member whose content it shares."""
        for _ in range(_MOST_LINKS):
            if member.type != "hardlink":
                break
            member = self._in_layer.get((member.layer, plain_path(member.link))) or member
        return member

    def under(self, folder: str) -> Iterator[Member]:
        """Everything below a folder, sorted."""
        prefix = f"{folder.strip('/')}/" if folder.strip("/") else ""
        return (self.merged[path] for path in sorted(self.merged) if path.startswith(prefix))

    def inside(self, folder: str) -> dict[str, Member]:
        """What lies directly in a folder, by name."""
        prefix = f"{folder.strip('/')}/" if folder.strip("/") else ""
        return {
            member.path[len(prefix) :]: member for member in self.under(folder) if "/" not in member.path[len(prefix) :]
        }

    def every(self) -> Iterator[Member]:
        """Every member of every layer, also what a higher layer replaces."""
        return (member for layer in self.layers for member in layer)

    @cached_property
    def _in_layer(self) -> dict[tuple[int, str], Member]:
        return {(member.layer, member.path): member for member in self.every() if member.type != "hardlink"}


def _uncover(seen: dict[str, Member], layer: Iterable[Member]) -> None:
    """Takes away what a layer's whiteouts name."""
    for member in layer:
        folder, name = posixpath.split(member.path)
        if name == OPAQUE:
            _remove(seen, folder, itself=False)
        elif name.startswith(WHITEOUT):
            _remove(seen, posixpath.join(folder, name.removeprefix(WHITEOUT)))


def _remove(seen: dict[str, Member], path: str, *, itself: bool = True) -> None:
    if itself:
        old = seen.pop(path, None)
        if old and old.type != "directory":
            return
    for below in [one for one in seen if one.startswith(f"{path}/" if path else "")]:
        del seen[below]


def _parents(path: str) -> Iterator[str]:
    while path := posixpath.dirname(path):
        yield path


_SYSTEM = (
    "usr/lib",
    "usr/share",
    "usr/include",
    "lib",
    "lib64",
    "usr/local/lib",
    "opt/conda",
    "var/lib/dpkg",
    "var/cache",
)
"""Where distributions and packages keep their own files: nobody writes a secret there, and there are a hundred thousand."""


def is_small_text(member: Member) -> bool:
    """Whether a file is small and lies where a person could have put it."""
    return (
        member.type == "file"
        and 0 < member.size <= SMALL
        and not member.path.startswith(tuple(f"{folder}/" for folder in _SYSTEM))
        and not any(folder in member.path for folder in _INSTALLED)
        and not (member.mode & 0o111 and _PROGRAMS & set(member.path.split("/")[:-1]))
    )


_INSTALLED = ("-packages/", "lib/python3.", "node_modules/")
"""In the path of what a package manager put there, wherever that is: Python's own tests have private keys."""
_PROGRAMS = frozenset({"bin", "sbin", "libexec"})
"""Folders of programs. Elsewhere a file that may be executed need not be one: ``COPY --chmod=0755`` makes all of them so."""
