"""What a kind of recipe must bring, and the types of the inputs that a recipe may name.

A kind is a folder with ``Containerfile.j2``, ``kind.py`` and ``README.md``, found through the entry point group
``modelpack.kinds``: the same door for the kinds that come with modelpack and for a third party's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.metadata import entry_points
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from buildkit.errors import InvalidInput
from buildkit.oci.manifest import canonical
from buildkit.oci.reference import Digest

if TYPE_CHECKING:
    from buildkit.pin import File, Pins
    from buildkit.plan import Plan
    from buildkit.spec import Spec

GROUP = "modelpack.kinds"


class Kind(Protocol):
    """A kind of recipe: what may be written in one, and what is built from it."""

    name: str
    spec: type[Spec]

    def plan(self, spec: Spec, pins: Pins) -> Plan:
        """Decides everything; asks nothing; raises InvalidInput where the pinned inputs do not fit the kind."""

    def starter(self, name: str) -> Mapping[str, str]:
        """The files of a new project of this kind: path -> text, ``recipe.yaml`` among them."""


Read = Callable[[str, "File"], bytes]
"""Reads a pinned file whole, from the input of that key, proven against its pin; raises SourceFailed."""


@runtime_checkable
class Judge(Protocol):
    """A kind that looks into its pinned inputs before anything is planned: into small files, such as configurations."""

    def judge(self, spec: Spec, pins: Pins, read: Read) -> None:
        """Raises InvalidInput with everything that is wrong with what the inputs hold."""


@runtime_checkable
class Meant(Protocol):
    """A kind that is made for a platform: it is judged for that one where neither recipe nor command names another."""

    def meant_for(self, spec: Spec) -> str | None:
        """The target's name, such as ``modelarts:batch``; None where this recipe is for any platform."""


@runtime_checkable
class Answering(Protocol):
    """A kind whose recipes say where their server answers: it is asked there where a target says nothing else."""

    def answers(self, spec: Spec, platform: str) -> Mapping[str, Any]:
        """Settings of a platform, such as ``readiness``, by their keys; none where the recipe does not say them."""


def kinds() -> dict[str, Kind]:
    """Every kind that is installed, by its name."""
    return {entry.name: entry.load() for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name)}


def kind_named(name: str) -> Kind:
    """The kind of that name; raises InvalidInput with the names there are."""
    found = [entry for entry in entry_points(group=GROUP) if entry.name == name]
    if not found:
        known = ", ".join(sorted(entry.name for entry in entry_points(group=GROUP)))
        raise InvalidInput(f"there is no kind {name!r}", hint=f"the kinds are: {known}")
    kind: Kind = found[0].load()
    return kind


def template_of(kind: Kind) -> Digest:
    """A digest over the templates (``*.j2``) beside a kind's module: with another one, Containerfiles come out different."""
    return _templates_in(type(kind).__module__.rpartition(".")[0])


@lru_cache
def _templates_in(package: str) -> Digest:
    beside = files(package).iterdir() if package else ()
    texts = sorted((one.name, one.read_text(encoding="utf-8")) for one in beside if one.name.endswith(".j2"))
    return Digest.of(canonical(texts))
