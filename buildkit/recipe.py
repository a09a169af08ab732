"""Recipe: what a person wrote, read and typed; or every problem in it with its line."""

from __future__ import annotations

import errno
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from buildkit.errors import InvalidInput, Problem
from buildkit.kinds import GROUP, Kind, kind_named, kinds
from buildkit.oci.manifest import canonical
from buildkit.oci.reference import Digest
from buildkit.reading.checked import check, choice, closest, refused
from buildkit.reading.kind_told import kind_told
from buildkit.reading.plain import shown
from buildkit.reading.written import read
from buildkit.settings import FILE as SETTINGS
from buildkit.spec import Spec

FILE = "recipe.yaml"
_INIT = "'modelpack init' writes one to start from"
_SCHEMA = "'modelpack schema' prints what may be written"


@dataclass(frozen=True)
class Recipe:
    """A recipe that may be pinned. ``digest`` covers what it says, and neither its spelling nor where it lies."""

    path: Path
    spec: Spec
    kind: Kind

    @property
    def folder(self) -> Path:
        """Where the recipe lies: what its relative paths are relative to."""
        return self.path.parent

    @property
    def typed(self) -> str:
        """The path as it is typed in a shell, where a hint is a command: in quotes where it has spaces."""
        return shlex.quote(str(self.path))

    @property
    def lock_path(self) -> Path:
        """The lockfile beside the recipe: ``granite.yaml`` has ``granite.lock``."""
        return self.path.with_name(f"{self.path.stem}.lock")

    @property
    def digest(self) -> Digest:
        """A digest of the kind's name and everything that the recipe says or leaves to its defaults."""
        said = self.spec.model_dump(mode="json")
        # Keys that came later: a recipe that does not use them keeps the digest that is in its lock.
        later = {key for key in ("targets", "waive") if not said[key]}
        return Digest.of(canonical([self.kind.name, {key: said[key] for key in said if key not in later}]))


def load(path: Path) -> Recipe:
    """Reads a recipe, or the ``recipe.yaml`` of a folder; raises InvalidInput with every problem and its line."""
    path = _file(path)
    _refuse_shared_lock(path)
    written = read(path, empty_hint=_INIT)
    named = written.content.get("kind")
    kind, problem = _kind(named)
    already = [(("kind",), Problem(written.where(("kind",)), problem.what, problem.hint))] if problem else []
    if kind is None:
        flaws = [flaw for flaw in written.flaws if flaw.steps != ("kind",)]
        raise refused(written, [*already, *((flaw.steps, written.problem(flaw)) for flaw in flaws)], _SCHEMA)
    return Recipe(path, check(written, kind.spec, already, _SCHEMA), kind)


def _file(path: Path) -> Path:
    if path.is_dir():
        inside = path / FILE
        if inside.exists() or inside.is_symlink():
            return _followed(inside)
        here = sorted(str(found) for found in path.glob("*.y*ml") if found.name != SETTINGS)
        others = [*here, *sorted(map(str, path.glob(f"*/{FILE}")))]
        hint = f"name the recipe: {', '.join(others[:5])}" if others else _INIT
        raise InvalidInput(f"{path if path.name else 'this folder'} has no {FILE}", hint=hint)
    if not path.exists() and not path.is_symlink():
        raise InvalidInput(f"there is no recipe {path}", hint=_INIT)
    return _followed(path)


def _followed(path: Path) -> Path:
    """A path that is there, and no link that leads nowhere."""
    try:
        path.stat()
        return path
    except FileNotFoundError:
        what = f"is a link to {path.readlink()}, which is not there"
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        what = "is a link that leads back to itself"
    raise InvalidInput(f"{path} {what}", hint="let the link lead to a recipe, or name the recipe itself")


def _refuse_shared_lock(path: Path) -> None:
    """Of two recipes with one lock each would take the other's pins, digests and pushes for its own."""
    for other in (path.with_suffix(suffix) for suffix in (".yaml", ".yml")):
        if other != path and other.is_file() and not other.samefile(path) and _is_recipe(other):
            hint = "give one of them another name; the lock stays with the one that it was made for"
            raise InvalidInput(f"{path} and {other} would share {path.with_suffix('.lock')}", hint=hint)


def _is_recipe(path: Path) -> bool:
    return path.name == FILE or kind_told(path) in known_kinds()


def known_kinds() -> list[str]:
    """The names of all installed kinds, sorted."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def _kind(named: object) -> tuple[Kind | None, Problem | None]:
    """The kind that a recipe names; where it names none, a problem, and the kind that was probably meant."""
    known = known_kinds()
    if isinstance(named, str) and named in known:
        return kind_named(named), None
    every = f"the kinds are: {', '.join(known)}"
    if named is None:
        return None, Problem("", "is missing", every)
    if not isinstance(named, str):
        return None, Problem("", "must be a text", every)
    meant = closest(named, known)
    problem = Problem("", f"there is no kind {shown(named)}", choice(named, known, "the kinds are"))
    return kind_named(meant) if meant else None, problem


def schema(kind: str | None = None) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of recipes of one kind, or of every installed kind; raises InvalidInput."""
    chosen = {kind: kind_named(kind)} if kind is not None else kinds()
    references, definitions = models_json_schema(
        [(one.spec, "validation") for one in chosen.values()], schema_generator=_Untitled, title="A recipe of modelpack"
    )
    by_name = {name: references[(one.spec, "validation")] for name, one in chosen.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A recipe of modelpack",
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": {"enum": sorted(by_name), "description": "The kind of recipe."}},
        "allOf": [_for(name, reference) for name, reference in by_name.items()],
        "$defs": definitions.get("$defs", {}),
    }


def _for(name: str, reference: Mapping[str, Any]) -> dict[str, Any]:
    return {"if": {"properties": {"kind": {"const": name}}, "required": ["kind"]}, "then": dict(reference)}


class _Untitled(GenerateJsonSchema):
    """Without the titles that pydantic makes of the keys: an editor shows the descriptions."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Never."""
        return False
