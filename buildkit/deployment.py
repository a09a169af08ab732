"""What a platform deploys from, as values: what is asked for, and the files that come of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

from buildkit.errors import InvalidInput
from buildkit.oci.reference import Digest, Reference
from buildkit.reading.plain import shown
from buildkit.reading.yaml_scalars import is_text
from buildkit.target_settings import TargetSettings

Version = tuple[int, ...]


@dataclass(frozen=True)
class Order:
    """An image that is to be deployed: its name with tag and digest, its target's settings, and what is asked besides.

    ``files`` are paths of the model below /models, where the recipe's plan knows them. ``kubernetes`` and ``kserve`` are
    the cluster's versions, () where nobody said them. ``chosen`` tells that the recipe or the caller named the mode.
    """

    name: str
    image: Reference
    settings: TargetSettings
    mode: str
    files: tuple[str, ...] = ()
    kubernetes: Version = ()
    kserve: Version = ()
    terraform: bool = False
    chosen: bool = False

    @property
    def digest(self) -> Digest:
        """The digest of the image's manifest."""
        if self.image.digest is None:
            raise InvalidInput(f"{self.image} has no digest", hint="push the image, or name it with its digest")
        return self.image.digest

    @property
    def pinned(self) -> str:
        """The image by its digest alone: what can never mean another one."""
        return f"{self.image.name}@{self.digest}"

    @property
    def label(self) -> str:
        """The image's short name as Kubernetes and most APIs take it: letters, digits and '-', a letter first.

        RFC 1035's labels, which KServe and Azure want: what begins with a digit is put behind ``m-``.
        """
        plain = re.sub(r"[^a-z0-9]+", "-", self.name.rpartition("/")[2].lower()).strip("-")
        return (plain if plain[:1].isalpha() else f"m-{plain}")[:52].strip("-")


@dataclass(frozen=True)
class Piece:
    """A file that is applied. ``document`` is written as JSON or YAML by the file's name; ``text`` as it is.

    ``judged``: the target's rules for deployments look at this one. ``notes`` tell what a person must do with it.
    """

    file: str
    document: Mapping[str, Any] | None = None
    text: str = ""
    judged: bool = False
    notes: tuple[str, ...] = ()

    def render(self) -> str:
        """The file's text: the same for the same document, whatever the machine."""
        if self.document is None:
            return self.text
        if self.file.endswith(".json"):
            return json.dumps(self.document, ensure_ascii=False, indent=2) + "\n"
        return "".join(f"# {line}\n" for line in self.text.splitlines()) + yaml(self.document)


Deploy = Callable[[Order], list[Piece]]


@dataclass
class Blanks:
    """Values that a platform needs and nobody said: what is written in their place, and what to do about it."""

    notes: list[str] = field(default_factory=list)

    def __call__(self, value: str | None, key: str, setting: str, example: str) -> str:
        """The value, or a placeholder that no platform takes for one."""
        if value is not None:
            return value
        self.notes.append(f"fill in {key}, or set '{setting}' of the recipe's target: {example}")
        return f"FILL-IN:{key}"


def yaml(document: Mapping[str, Any]) -> str:
    """YAML in the order in which the document was written, which says the same by the rules of YAML 1.1 and of 1.2."""
    from ruamel.yaml import YAML

    writer = YAML()
    writer.default_flow_style = False
    writer.width = 4096
    writer.indent(mapping=2, sequence=4, offset=2)
    out = StringIO()
    writer.dump(_plain(document), out)
    return out.getvalue()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_quoted(str(key)): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return _quoted(value) if isinstance(value, str) else value


def _quoted(text: str) -> str:
    from ruamel.yaml.scalarstring import SingleQuotedScalarString

    return text if is_text(text) else SingleQuotedScalarString(text)


def without_empty(document: Mapping[str, Any], *, told: Collection[str] = ()) -> dict[str, Any]:
    """The document without what is not set: None, "", {} and [] at any depth.

    ``told`` are keys of maps that somebody wrote, such as variables: an empty value in one is what was meant.
    """
    kept = {key: _filled(value, told) if key not in told else dict(value) for key, value in document.items()}
    return {key: value for key, value in kept.items() if not (value is None or value in ("", {}, []))}


def _filled(value: Any, told: Collection[str]) -> Any:
    if isinstance(value, Mapping):
        return without_empty(value, told=told)
    return list(value) if isinstance(value, tuple) else value


def version(text: str, name: str) -> Version:
    """A version such as v1.33 or 0.20.1; raises InvalidInput."""
    found = re.fullmatch(r"v?(\d+)\.(\d+)(?:\.(\d+))?(?:[-+].*)?", text)
    if not found:
        raise InvalidInput(f"{shown(text)} is not a version of {name}", hint="write it as in 1.33 or v0.20.0")
    return tuple(int(part) for part in found.groups() if part is not None)
