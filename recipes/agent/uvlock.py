"""The wheels that a ``uv.lock`` means for one Python on linux/amd64, and what of it can be no part of an image.

The file is read as uv writes it (version 1 of its format; docs.astral.sh/uv, "Project structure and files"). Which packages
are meant is decided by the markers of their dependencies, and which wheel of each by its tags, in the order of pip and uv.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import unquote, urlsplit

from buildkit.errors import Problem
from buildkit.reading.plain import shown

FORMAT = 1
OLDEST_GLIBC = 28
"""Minor version of the glibc 2 that a base must have at least: that of Oracle Linux 8, Debian 10 and everything later."""
_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, order=True)
class Wheel:
    """A wheel: its package, version, address, and the sha256 of its bytes in hexadecimal."""

    name: str
    version: str
    url: str
    sha256: str

    @property
    def requirement(self) -> str:
        """The line of a requirements file that means this wheel and no other (PEP 508, PEP 440)."""
        return f"{self.name} @ {self.url} --hash=sha256:{self.sha256}"


@dataclass(frozen=True)
class Locked:
    """What a lock means: its wheels, sorted, and every package that stands in the way."""

    wheels: tuple[Wheel, ...]
    problems: tuple[Problem, ...]

    def has(self, name: str) -> bool:
        """Whether a package is among them."""
        return any(wheel.name == name for wheel in self.wheels)


Package = Mapping[str, Any]


def wheels_of(lock: Mapping[str, Any], project: str, python: str) -> Locked:
    """The wheels for a project of the lock without its development groups, on ``python`` (``3.11``)."""
    from packaging.utils import canonicalize_name

    packages = list(lock.get("package", ()))
    roots = [package for package in packages if package["name"] == canonicalize_name(project)]
    if not roots:
        return Locked((), (Problem("uv.lock", f"does not hold the project {shown(project)}", "run: uv lock"),))
    found = [_wheel(package, python) for package in _needed(roots[0], packages, environment(python))]
    problems = [one for one in found if isinstance(one, Problem)]
    wheels = sorted(one for one in found if isinstance(one, Wheel))
    return Locked(tuple(wheels), tuple(sorted(problems, key=lambda problem: problem.where)))


def environment(python: str) -> dict[str, str]:
    """What markers compare with (PEP 508). A Python without a patch version counts as its first, as uv takes it."""
    return {
        "implementation_name": "cpython",
        "implementation_version": f"{python}.0",
        "os_name": "posix",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
        "extra": "",
    }


def _needed(root: Package, packages: Sequence[Package], variables: Mapping[str, str]) -> Iterator[Package]:
    """Every package that the root leads to, once, the root itself left out."""
    seen: set[tuple[str, str, str]] = set()
    told: set[tuple[str, str]] = set()
    waiting = list(_dependencies(root, ""))
    while waiting:
        dependency = waiting.pop()
        if not _holds(dependency.get("marker"), variables):
            continue
        package = _meant(dependency, packages, variables)
        if package is None:
            continue
        for extra in ("", *dependency.get("extra", ())):
            step = (package["name"], package.get("version", ""), extra)
            if step not in seen:
                seen.add(step)
                waiting += _dependencies(package, extra)
        if step[:2] not in told:
            told.add(step[:2])
            if package is not root:  # it may ask for its own extras
                yield package


def _dependencies(package: Package, extra: str) -> Iterable[Mapping[str, Any]]:
    listed = package.get("optional-dependencies", {}).get(extra, ()) if extra else package.get("dependencies", ())
    return list(listed)


@lru_cache(maxsize=4096)
def _marker(text: str) -> Any:
    from packaging.markers import Marker

    return Marker(text)


def _holds(marker: str | None, variables: Mapping[str, str]) -> bool:
    return marker is None or bool(_marker(marker).evaluate(dict(variables)))


def _meant(dependency: Mapping[str, Any], packages: Sequence[Package], variables: Mapping[str, str]) -> Package | None:
    """The package of a dependency; of several with its name, the one of its version and source, or whose markers hold."""
    named = [
        package
        for package in packages
        if package["name"] == dependency["name"]
        and dependency.get("version") in (None, package.get("version"))
        and dependency.get("source") in (None, package.get("source"))
    ]
    fitting = [package for package in named if _resolved_for(package, variables)]
    return next(iter(fitting or named), None)


def _resolved_for(package: Package, variables: Mapping[str, str]) -> bool:
    markers = package.get("resolution-markers", ())
    return not markers or any(_holds(marker, variables) for marker in markers)


def _wheel(package: Package, python: str) -> Wheel | Problem:
    """The best wheel of a package, or why it has none."""
    where = f"uv.lock: {package['name']} {package.get('version', '')}".strip()
    source = package.get("source", {})
    if not {"registry", "url"} & set(source):
        sort = next(iter(source), "elsewhere")
        what = _SORTS.get(sort, f"comes from {shown(str(source.get(sort, '')))}")
        return Problem(where, what, "publish it as a wheel in an index, and lock that")
    named = [(one, _file_name(one)) for one in package.get("wheels", ())]
    ranks = _ranks(python)
    ranked = [(rank, one) for one, name in named if name and (rank := _rank(name, ranks)) is not None]
    if not ranked:
        return Problem(where, *_without_wheel(named, python))
    one = min(ranked, key=lambda pair: pair[0])[1]
    url, digest = str(one.get("url", "")), str(one.get("hash", ""))
    if not url.startswith(("https://", "http://")) or not _SHA256.fullmatch(digest):
        return Problem(where, "its wheel is not locked by an address and a sha256", "lock it from an index over https")
    if "@" in urlsplit(url).netloc:
        return Problem(where, "its address holds a user name or password", "take it out, and use 'secrets'")
    if re.search(r"\s", url):
        return Problem(where, "its address holds a space", "run: uv lock")
    return Wheel(package["name"], package.get("version", ""), url, digest.removeprefix("sha256:"))


_SORTS = {
    "git": "is built from a git repository",
    "path": "is a file of this machine",
    "directory": "is a folder of this machine",
    "editable": "is another folder of the workspace",
    "virtual": "is another folder of the workspace",
}


def _without_wheel(named: Sequence[tuple[Any, str]], python: str) -> tuple[str, str]:
    if not named:
        return "has only a source distribution, and nothing is compiled", "choose a version with a wheel"
    return (
        f"has no wheel for Python {python} on linux/amd64 with glibc 2.{OLDEST_GLIBC}",
        "choose another version of it, or another 'python'",
    )


def _file_name(wheel: Mapping[str, Any]) -> str:
    return str(wheel.get("filename") or unquote(urlsplit(str(wheel.get("url", ""))).path.rpartition("/")[2]))


def _rank(name: str, ranks: Mapping[Any, int]) -> tuple[int, str] | None:
    """How well a wheel fits, the smallest best; None where it does not."""
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    try:
        _, _, build, tags = parse_wheel_filename(name)
    except InvalidWheelFilename:
        return None
    best = min((ranks[tag] for tag in tags if tag in ranks), default=None)
    return None if best is None else (best, "" if not build else name)


@lru_cache(maxsize=8)
def _ranks(python: str) -> Mapping[Any, int]:
    """The tags of wheels that fit, with their ranks (packaging.python.org, "Platform compatibility tags")."""
    from packaging.tags import compatible_tags, cpython_tags

    major, _, minor = python.partition(".")
    version = (int(major), int(minor))
    interpreter = f"cp{major}{minor}"
    platforms = list(_platforms())
    own = cpython_tags(version, abis=[interpreter], platforms=platforms)
    return {tag: rank for rank, tag in enumerate([*own, *compatible_tags(version, interpreter, platforms)])}


def _platforms() -> Iterator[str]:
    for minor in range(OLDEST_GLIBC, 4, -1):
        yield f"manylinux_2_{minor}_x86_64"
        if minor in _LEGACY:
            yield f"{_LEGACY[minor]}_x86_64"
    yield "linux_x86_64"
