"""The lockfile: sorted, atomic, byte-identical when nothing changed; enough to do it all again.

It is JSON: every file, layer and platform stands on one line, so that a change of one is a change of one line. It holds no
time, no path of a machine and no credential. Its form is in :mod:`buildkit.lockfile.form`, older forms in
:mod:`buildkit.lockfile.migrations`. It is read strictly: every section has a checksum, because the lock decides what is pushed
under a name that others trust, and neither a hand nor a merge that kept half of each side can keep its sections in step. The
one thing that may be edited is the digest in a base image's ``reference`` (Renovate's way to propose a new base).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from buildkit.errors import InvalidInput, ModelpackError, Problem
from buildkit.lockfile.form import VERSION, inputs_digest, problems, sums
from buildkit.lockfile.migrations import MIGRATIONS, migrated
from buildkit.oci import tar
from buildkit.oci.manifest import Descriptor
from buildkit.oci.reference import Digest, Platform, Reference
from buildkit.pin import File, ImagePin, Inventory, Pins
from buildkit.reading.json_places import Twice, distinct, dotted, line_of


@dataclass(frozen=True)
class LockedLayer:
    """A layer above the base: what decided it (``key``) and what it became; ``size`` in bytes as the registry holds it."""

    key: str
    digest: Digest
    size: int


@dataclass(frozen=True)
class LockedImage:
    """An image as one engine built it for one platform, from the plan with the digest ``plan``.

    ``made`` says from what: the digests of the recipe, of the kind's template and of every input, by its key.
    """

    engine: str
    packing: str
    plan: Digest
    manifest: Descriptor
    config: Digest
    layers: tuple[LockedLayer, ...]
    made: Mapping[str, Digest] = field(default_factory=dict)


@dataclass(frozen=True)
class Lock:
    """What a lockfile says. ``asked`` is each source and image as the recipe asked for it when it was pinned.

    ``template`` and ``packing`` are those of the modelpack that wrote it; None where an old one did not note it.
    """

    recipe: Digest
    pins: Pins
    asked: Mapping[str, Any] = field(default_factory=dict)
    images: Mapping[Platform, LockedImage] = field(default_factory=dict)
    pushed: Mapping[str, Digest] = field(default_factory=dict)
    template: Digest | None = None
    packing: str = tar.PACKING

    @property
    def layers(self) -> dict[str, Digest]:
        """Every layer whose digest is known, by what decides it."""
        return {layer.key: layer.digest for image in self.images.values() for layer in image.layers}

    @property
    def homes(self) -> tuple[Reference, ...]:
        """The repositories that took the image, or one before it."""
        pushed = map(Reference.parse, self.pushed)
        return tuple(dict.fromkeys(Reference(one.host, one.repository) for one in pushed))


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
    return parse(text, str(path))


def parse(text: str, name: str = "the lock") -> Lock:
    """Reads the text of a lockfile; raises InvalidInput with every line and key that is wrong."""
    content = _document(text, name)
    version = content.get("version")
    if isinstance(version, int) and version > VERSION:
        hint = "update modelpack: a newer one wrote this lock"
        raise InvalidInput(f"{name} has the format version {version}; this modelpack reads up to {VERSION}", hint=hint)
    if type(version) is not int or (version != VERSION and version not in MIGRATIONS):
        raise InvalidInput(f"{name} has the format version {version!r}, which there never was", hint=_ANEW)
    try:
        current = migrated(content)
    except (KeyError, TypeError, AttributeError, ModelpackError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise InvalidInput(f"{name} is damaged: {what}", hint=_ANEW) from None
    wrong = [
        Problem(f"{name}:{line_of(text, steps)}: {dotted(steps)}", what) for steps, what in problems(current)[:_MOST]
    ]
    if wrong:
        raise InvalidInput(f"{name} is damaged", wrong, hint=_ANEW)
    try:
        lock = _read(current)
    except (ValueError, ModelpackError) as error:
        raise InvalidInput(f"{name} is damaged: {error}", hint=_ANEW) from None
    edited = [section for section, found in sums(current).items() if found != current["sums"][section]]
    if edited:
        what = "is not what was written there: it was edited by hand, or merged from two locks"
        wrong = [Problem(f"{name}:{line_of(text, (section,))}: {section}", what) for section in edited]
        raise InvalidInput(f"{name} cannot be trusted", wrong, hint=_ANEW)
    return lock


def _document(text: str, name: str) -> dict[str, Any]:
    """The text as a JSON object; raises InvalidInput with the line."""
    marks = [number for number, line in enumerate(text.split("\n"), 1) if line.startswith(_MARKS)]
    if marks:
        what = "git could not merge two locks: both branches locked or pushed this recipe"
        raise InvalidInput(
            f"{name}:{marks[0]}: it holds the marks of a merge conflict", [Problem("", what)], hint=_MERGED
        )
    try:
        content = json.loads(text, object_pairs_hook=distinct)
    except RecursionError:
        raise InvalidInput(f"{name} is damaged: it is nested without end", hint=_ANEW) from None
    except Twice as twice:
        raise InvalidInput(
            f"{name} is damaged: the key {twice.key!r} stands twice, as after a merge that kept both sides",
            hint=_MERGED,
        ) from None
    except ValueError as error:
        line = getattr(error, "lineno", 1)
        raise InvalidInput(f"{name}:{line}: it is not JSON ({error})", hint=_ANEW) from None
    if not isinstance(content, dict):
        raise InvalidInput(f"{name} has no format version: it is not an object", hint=_ANEW)
    return content


_MOST = 20
"""Problems of a damaged lock that are told one by one."""
_MARKS = ("<<<<<<<", ">>>>>>>", "|||||||")
_MERGED = (
    "take one side whole (git checkout --ours LOCK, or --theirs LOCK) and run 'modelpack lock RECIPE': what"
    " the other side changed in the recipe is pinned anew, and 'modelpack status' tells what is to be rebuilt"
)
_ANEW = "restore it from version control, or delete it and run 'modelpack lock'"


def text(lock: Lock) -> str:
    """The lockfile as text: the same lock is always the same text."""
    content = {
        "version": VERSION,
        "inputs": {
            "digest": inputs_digest(lock.recipe, lock.template, lock.packing),
            "recipe": lock.recipe,
            "template": lock.template,
            "packing": lock.packing,
        },
        "asked": lock.asked,
        "pins": _written_pins(lock.pins),
        "images": {str(platform): _written_build(image) for platform, image in lock.images.items()},
        "pushed": dict(lock.pushed),
    }
    return _pretty({**content, "sums": sums(content)}) + "\n"


def _read(content: Mapping[str, Any]) -> Lock:
    """The values of a document of the right form; raises ValueError or InvalidInput for what the form cannot tell."""
    pins, inputs = content["pins"], content["inputs"]
    missing = set(content["asked"]) - set(pins["images"]) - set(pins["sources"]) - {"builder"}
    if missing:
        raise ValueError(f"the pin of {sorted(missing)[0]!r} is missing")
    if inputs["digest"] != inputs_digest(inputs["recipe"], inputs["template"], inputs["packing"]):
        raise ValueError("inputs.digest is not the digest of the other inputs")
    return Lock(
        Digest(inputs["recipe"]),
        Pins(
            {key: _image_pin(pin) for key, pin in pins["images"].items()},
            {key: _inventory(source) for key, source in pins["sources"].items()},
            pins.get("max_layer_size"),
        ),
        dict(content["asked"]),
        {Platform.parse(platform): _locked_image(image) for platform, image in content["images"].items()},
        {str(Reference.parse(tag)): Digest(digest) for tag, digest in content["pushed"].items()},
        Digest(inputs["template"]) if inputs["template"] else None,
        inputs["packing"],
    )


def _image_pin(content: Mapping[str, Any]) -> ImagePin:
    reference = Reference.parse(content["reference"])
    # The platforms belong to the other digest: an image whose reference was edited has to be asked for anew.
    known = content["platforms"] if reference.digest == content["digest"] else {}
    return ImagePin(reference, {Platform.parse(key): Digest(value) for key, value in known.items()})


def _written_pins(pins: Pins) -> dict[str, Any]:
    written: dict[str, Any] = {
        "images": {key: _written_image(pin) for key, pin in pins.images.items()},
        "sources": {key: _written_source(source) for key, source in pins.sources.items()},
    }
    return written | ({"max_layer_size": pins.max_layer_size} if pins.max_layer_size else {})


def _written_image(pin: ImagePin) -> dict[str, Any]:
    platforms = {str(key): value for key, value in pin.platforms.items()}
    return {"reference": str(pin.reference), "digest": pin.reference.digest, "platforms": platforms}


_FILE_KEYS = ("path", "size", "sha256", "git_oid", "url", "executable")


def _inventory(content: Mapping[str, Any]) -> Inventory:
    files = tuple(sorted(File(**file) for file in content["files"]))
    unproven = next((file.path for file in files if not file.sha256 and not file.git_oid), None)
    if unproven is not None:
        raise ValueError(f"nothing proves the content of {unproven!r}")
    return Inventory(content["type"], content["name"], files, content.get("revision", ""), content.get("commit", ""))


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
    return LockedImage(
        content["engine"],
        content["packing"],
        Digest(content["plan"]),
        Descriptor.read(content["manifest"]),
        Digest(content["config"]),
        tuple(LockedLayer(one["key"], Digest(one["digest"]), one["size"]) for one in content["layers"]),
        {key: Digest(value) for key, value in content.get("made", {}).items()},
    )


def _written_build(image: LockedImage) -> dict[str, Any]:
    return {
        "engine": image.engine,
        "packing": image.packing,
        "plan": image.plan,
        "manifest": image.manifest.document(),
        "config": image.config,
        "layers": [{"key": layer.key, "digest": layer.digest, "size": layer.size} for layer in image.layers],
        **({"made": dict(image.made)} if image.made else {}),
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
