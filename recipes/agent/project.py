"""What a project's own files say: its name, its lock, its indexes; and everything in them that cannot be an image."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from buildkit.errors import Problem
from buildkit.pin import File
from buildkit.reading.plain import shown
from recipes.agent.uvlock import FORMAT, Locked, wheels_of

LOCK, PROJECT = "uv.lock", "pyproject.toml"
_LOCK_IT = "run 'uv lock' in the project's folder, and commit both files"


@dataclass(frozen=True)
class Reading:
    """A project as its files tell it: what is locked for its Python, where its modules lie, and its private indexes.

    ``roots`` are folders of the project that imports begin in; ``lock_sha256`` proves which lock was read.
    """

    locked: Locked = field(default_factory=lambda: Locked((), ()))
    roots: tuple[str, ...] = (".",)
    indexes: tuple[tuple[str, str], ...] = ()
    lock_sha256: str = ""


def read(folder: Path, python: str) -> tuple[Reading, list[Problem]]:
    """Reads a project's two files for a Python (``3.11``), and tells every problem in them."""
    texts, problems = {}, []
    for name in (PROJECT, LOCK):
        try:
            texts[name] = (folder / name).read_bytes()
        except OSError:
            hint = "run 'uv init --bare', add the dependencies with 'uv add', and commit both files"
            problems.append(Problem(name, "is not there", hint if name == PROJECT else _LOCK_IT))
    parsed = {name: _parsed(name, raw) for name, raw in texts.items()}
    problems += [found for found in parsed.values() if isinstance(found, Problem)]
    if problems:
        return Reading(), problems
    project, lock = parsed[PROJECT], parsed[LOCK]
    assert isinstance(project, dict) and isinstance(lock, dict)
    problems += [*_wrong_lock(lock, python), *_wrong_project(project, lock)]
    if problems:
        return Reading(), problems
    locked = wheels_of(lock, str(project["project"]["name"]), python)
    indexes = tuple(_indexes(project))
    problems += [*locked.problems, *_wrong_indexes(indexes)]
    return Reading(locked, tuple(_roots(folder, project)), indexes, _sha256(texts[LOCK])), problems


def _sha256(raw: bytes) -> str:
    import hashlib

    return hashlib.sha256(raw).hexdigest()


@lru_cache(maxsize=4)
def _parsed(name: str, raw: bytes) -> dict[str, Any] | Problem:
    try:
        return tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        line = re.search(r"at line (\d+)", str(error))
        return Problem(
            f"{name}:{line[1]}" if line else name, f"is not TOML: {error}", "" if name == PROJECT else _LOCK_IT
        )


def _wrong_lock(lock: Mapping[str, Any], python: str) -> Iterator[Problem]:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    if lock.get("version") != FORMAT:
        yield Problem(
            LOCK, f"has the format version {lock.get('version')!r}, and version {FORMAT} is read", "run: uv lock"
        )
    try:
        wanted = SpecifierSet(str(lock.get("requires-python", "")))
    except InvalidSpecifier:
        yield Problem(LOCK, "'requires-python' is not a version specifier", "run: uv lock")
        return
    # The last patch version that there could be: ``>=3.11.4`` admits 3.11.
    if not wanted.contains(f"{python}.99"):
        yield Problem(LOCK, f"is for Python {wanted}, and the recipe says python: {python}", "change one of them")


def _wrong_project(project: Mapping[str, Any], lock: Mapping[str, Any]) -> Iterator[Problem]:
    from packaging.utils import canonicalize_name

    table = project.get("project")
    name = table.get("name") if isinstance(table, dict) else None
    if not isinstance(table, dict) or not isinstance(name, str):
        yield Problem(PROJECT, "has no [project] with a name", "run 'uv init --bare' in the project's folder")
        return
    packages: list[dict[str, Any]] = lock.get("package", [])
    root = next((one for one in packages if one.get("name") == canonicalize_name(name)), {})
    listed = root.get("metadata", {}).get("requires-dist", ())
    locked = {canonicalize_name(str(one.get("name"))) for one in listed}
    asked = {canonicalize_name(found[0]) for one in table.get("dependencies", ()) if (found := _NAME.match(str(one)))}
    missing = sorted(asked - locked)
    if missing:
        yield Problem(LOCK, f"does not hold {', '.join(missing)}, which {PROJECT} asks for", _LOCK_IT)


_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


def _roots(folder: Path, project: Mapping[str, Any]) -> Iterator[str]:
    """Where imports begin: a project that is built from ``src`` has its packages there."""
    if "build-system" in project and (folder / "src").is_dir():
        yield "src"
    yield "."


def _indexes(project: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for one in project.get("tool", {}).get("uv", {}).get("index", ()):
        if isinstance(one, dict) and isinstance(one.get("name"), str) and isinstance(one.get("url"), str):
            yield one["name"], one["url"]


def _wrong_indexes(indexes: tuple[tuple[str, str], ...]) -> Iterator[Problem]:
    for name, url in indexes:
        if "@" in urlsplit(url).netloc:
            yield Problem(PROJECT, f"the URL of the index {shown(name)} holds a user name or password", "use 'secrets'")


def module_of(folder: Path, roots: tuple[str, ...], module: str) -> bool:
    """Whether a module is a file or a package of the project."""
    path = module.replace(".", "/")
    return any(
        (folder / root / place).is_file() for root in roots for place in (f"{path}.py", f"{path}/__init__.py")
    ) or any((folder / root / path).is_dir() for root in roots)


def lock_of(files: tuple[File, ...]) -> str:
    """The sha256 of the lock among pinned files; "" where it is not one of them."""
    return next((file.sha256 for file in files if file.path == LOCK), "")
