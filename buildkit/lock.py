"""The lockfile: sorted, atomic, byte-identical when nothing changed; enough to do it all again.

It is JSON: every file, layer and platform stands on one line, so that a change of one is a change of one line. It holds no
time, no path of a machine and no credential.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from buildkit.atomic import AtomicFile
from buildkit.errors import InvalidInput, ModelpackError
from buildkit.oci.manifest import Descriptor
from buildkit.oci.reference import Digest, Platform, Reference
from buildkit.pin import File, ImagePin, Inventory, Pins

VERSION = 1


@dataclass(frozen=True)
class LockedLayer:
    """A layer above the base: what decided it (``key``) and what it became; ``size`` in bytes as the registry holds it."""

    key: str
    digest: Digest
    size: int


@dataclass(frozen=True)
class LockedImage:
    """An image as one engine built it for one platform, from the plan with the digest ``plan``."""

    engine: str
    packing: str
    plan: Digest
    manifest: Descriptor
    config: Digest
    layers: tuple[LockedLayer, ...]


@dataclass(frozen=True)
class Lock:
    """What a lockfile says. ``asked`` is each source as the recipe asked for it when it was pinned."""

    recipe: Digest
    pins: Pins
    asked: Mapping[str, Any] = field(default_factory=dict)
    images: Mapping[Platform, LockedImage] = field(default_factory=dict)
    pushed: Mapping[str, Digest] = field(default_factory=dict)

    @property
    def layers(self) -> dict[str, Digest]:
        """Every layer whose digest is known, by what decides it."""
        return {layer.key: layer.digest for image in self.images.values() for layer in image.layers}


def read(path: Path) -> Lock | None:
    """Reads a lockfile; None where there is none; raises InvalidInput that says what is wrong with a damaged one."""
    if path.exists() and not path.is_file():
        raise InvalidInput(f"{path} is not a file", hint="move it away: the lock of the recipe belongs there")
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise InvalidInput(f"{path} is not a text in UTF-8", hint=_ANEW) from None
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}", hint="make it readable") from None
    try:
        content = json.loads(text)
    except RecursionError:
        raise InvalidInput(f"{path} is damaged: it is nested without end", hint=_ANEW) from None
    except ValueError as error:
        line = getattr(error, "lineno", 1)
        merging = "<<<<<<<" in text or ">>>>>>>" in text
        what = "it holds the marks of a merge conflict" if merging else f"it is not JSON ({error})"
        raise InvalidInput(f"{path}:{line}: {what}", hint=_ANEW) from None
    if not isinstance(content, dict) or content.get("version") != VERSION:
        found = content.get("version") if isinstance(content, dict) else None
        raise InvalidInput(
            f"{path} has the format version {found!r}; this modelpack reads version {VERSION}", hint=_ANEW
        )
    try:
        return _read(content)
    except (KeyError, TypeError, ValueError, AttributeError, ModelpackError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise InvalidInput(f"{path} is damaged: {what}", hint=_ANEW) from None


_ANEW = "restore it from version control, or delete it and run 'modelpack lock'"


def text(lock: Lock) -> str:
    """The lockfile as text: the same lock is always the same text."""
    content = {
        "version": VERSION,
        "recipe": lock.recipe,
        "asked": lock.asked,
        "pins": {
            "images": {key: _written_image(pin) for key, pin in lock.pins.images.items()},
            "sources": {key: _written_source(source) for key, source in lock.pins.sources.items()},
        },
        "images": {str(platform): _written_build(image) for platform, image in lock.images.items()},
        "pushed": dict(lock.pushed),
    }
    return _pretty(content) + "\n"


class Staged:
    """A lockfile that is on disk beside its place: :meth:`commit` only has to move it. A context manager.

    It is staged before the first tag moves, so that a full disk or a read-only file ends a push before it changed
    anything that others see.
    """

    def __init__(self, path: Path, lock: Lock) -> None:
        path = path.resolve()
        self._path = path
        self._atomic: AtomicFile | None = None
        raw = text(lock).encode()
        if path.is_file() and path.read_bytes() == raw:
            return
        check_writable(path)
        try:
            self._atomic = AtomicFile(path.parent)
            self._atomic.file.write(raw)
            self._atomic.flush()
        except OSError as error:
            self.__exit__()
            hint = "make room there, or make the folder writable; nothing was tagged"
            raise InvalidInput(f"{path} cannot be written: {error.strerror}", hint=hint) from None

    def __enter__(self) -> Staged:
        return self

    def commit(self) -> None:
        """Puts the lockfile in its place."""
        if self._atomic:
            self._atomic.keep(self._path)

    def __exit__(self, *failure: object) -> None:
        if self._atomic:
            self._atomic.discard()


def check_writable(path: Path) -> None:
    """Raises InvalidInput where a lockfile is marked read-only: also for root, whom the system would let write."""
    if path.is_file() and not path.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH):
        raise InvalidInput(f"{path} is read-only and would have to change", hint="make it writable; nothing was tagged")


def write(path: Path, lock: Lock) -> None:
    """Writes a lockfile, unless it says the same already; raises InvalidInput where that cannot be done."""
    with Staged(path, lock) as staged:
        staged.commit()


def _read(content: Mapping[str, Any]) -> Lock:
    pins = content["pins"]
    missing = set(content["asked"]) - set(pins["images"]) - set(pins["sources"]) - {"builder"}
    if missing:
        raise ValueError(f"the pin of {sorted(missing)[0]!r} is missing")
    return Lock(
        Digest(content["recipe"]),
        Pins(
            {key: _image_pin(pin) for key, pin in pins["images"].items()},
            {key: _inventory(source) for key, source in pins["sources"].items()},
        ),
        dict(content["asked"]),
        {Platform.parse(platform): _locked_image(image) for platform, image in content["images"].items()},
        {str(Reference.parse(tag)): Digest(digest) for tag, digest in content["pushed"].items()},
    )


def _image_pin(content: Mapping[str, Any]) -> ImagePin:
    reference = Reference.parse(content["reference"])
    if reference.digest is None:
        raise ValueError(f"the image {reference} is not pinned to a digest")
    return ImagePin(reference, {Platform.parse(key): Digest(value) for key, value in content["platforms"].items()})


def _written_image(pin: ImagePin) -> dict[str, Any]:
    return {"reference": str(pin.reference), "platforms": {str(key): value for key, value in pin.platforms.items()}}


_SHA256, _SHA1 = re.compile("[0-9a-f]{64}"), re.compile("[0-9a-f]{40}")
_TEXT_KEYS = ("path", "sha256", "git_oid", "url")
_FILE_KEYS = (*_TEXT_KEYS, "size", "executable")


def _inventory(content: Mapping[str, Any]) -> Inventory:
    files = tuple(sorted(_file(file) for file in content["files"]))
    return Inventory(content["type"], content["name"], files, content.get("revision", ""), content.get("commit", ""))


def _file(content: Mapping[str, Any]) -> File:
    if set(content) - set(_FILE_KEYS):
        raise ValueError(f"a file has the unknown key {sorted(set(content) - set(_FILE_KEYS))[0]!r}")
    if any(not isinstance(content.get(key, ""), str) for key in _TEXT_KEYS):
        raise ValueError("a file's path, digests and url must be texts")
    file = File(**content)
    if type(content["size"]) is not int or file.size < 0:
        raise ValueError(f"the size of {file.path!r} is not a number of bytes")
    if type(file.executable) is not bool:
        raise ValueError(f"{file.path!r} must be executable or not")
    if not (_SHA256.fullmatch(file.sha256) if file.sha256 else _SHA1.fullmatch(file.git_oid)):
        raise ValueError(f"nothing proves the content of {file.path!r}")
    return file


def _written_source(source: Inventory) -> dict[str, Any]:
    written: dict[str, Any] = {"type": source.type, "name": source.name}
    if source.commit:
        written |= {"revision": source.revision, "commit": source.commit}
    files = [
        {key: value for key in _FILE_KEYS if (value := getattr(file, key)) not in ("", False) or key == "size"}
        for file in source.files
    ]
    return written | {"files": files}


def _locked_image(content: Mapping[str, Any]) -> LockedImage:
    layers = tuple(LockedLayer(str(one["key"]), Digest(one["digest"]), int(one["size"])) for one in content["layers"])
    if any(layer.size < 0 for layer in layers):
        raise ValueError("the size of a layer is not a number of bytes")
    return LockedImage(
        str(content["engine"]),
        str(content["packing"]),
        Digest(content["plan"]),
        Descriptor.read(content["manifest"]),
        Digest(content["config"]),
        layers,
    )


def _written_build(image: LockedImage) -> dict[str, Any]:
    return {
        "engine": image.engine,
        "packing": image.packing,
        "plan": image.plan,
        "manifest": image.manifest.document(),
        "config": image.config,
        "layers": [{"key": layer.key, "digest": layer.digest, "size": layer.size} for layer in image.layers],
    }


def _pretty(value: object, indent: str = "") -> str:
    """JSON with sorted keys, where each member of a list stands on one line: a diff of a lock reads well."""
    deeper = indent + "  "
    if isinstance(value, dict) and value:
        members = [f"{deeper}{_line(str(key))}: {_pretty(value[key], deeper)}" for key in sorted(value)]
        return "{\n" + ",\n".join(members) + f"\n{indent}}}"
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(deeper + _line(member) for member in value) + f"\n{indent}]"
    return _line(value)


def _line(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
