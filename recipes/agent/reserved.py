"""Names of variables that the platform sets itself, wherever a project may write them.

Oracle, "Preparing Container Images" of the hosted deployments of OCI Generative AI, "Reserved environment variables".
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from buildkit.containerfiles.instructions import arguments, assigned, read
from buildkit.errors import Problem
from buildkit.sources.ignored import Ignored
from buildkit.sources.walk import Found, found

NAMES = frozenset(
    {
        "PORT",
        "K_SERVICE",
        "K_CONFIGURATION",
        "K_REVISION",
        "OCI_RESOURCE_PRINCIPAL_VERSION",
        "OCI_RESOURCE_PRINCIPAL_PRIVATE_PEM",
        "OCI_RESOURCE_PRINCIPAL_RPST",
    }
)
PREFIX = "KUBERNETES_"
WHY = "is reserved: the platform sets it"
HINT = "remove it, or give it another name"
_LARGEST = 1024 * 1024
"""Bytes of a file that is looked through; what a person wrote is smaller."""

Names = Iterator[tuple[int, str]]
"""Line numbers with the variables that are set there."""


def is_reserved(name: str) -> bool:
    """Whether the platform keeps a name for itself."""
    return name in NAMES or name.startswith(PREFIX)


def problems_in(folder: Path) -> Iterator[Problem]:
    """Every reserved name that a project's files set, with the file and the line."""
    for path, place in _looked_at(folder):
        reader = _reader(path)
        text = _text(place) if reader else None
        if reader and text is not None:
            for line, name in reader(text):
                if is_reserved(name):
                    yield Problem(f"{path}:{line}", f"{name} {WHY}", HINT)


def _looked_at(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files that set variables: those at the top that no image holds as well, and the program itself."""
    top = sorted(path for path in folder.iterdir() if path.is_file())
    yield from ((path.name, path) for path in top if _by_name(path.name) is not None)
    programs = (one for one in found(folder, Ignored.of(folder)) if isinstance(one, Found))
    yield from ((one.path, Path(one.place)) for one in programs if one.path.endswith(".py"))


def _text(place: Path) -> str | None:
    try:
        return place.read_text(encoding="utf-8-sig") if place.stat().st_size <= _LARGEST else None
    except (OSError, UnicodeDecodeError):
        return None


def _reader(path: str) -> Callable[[str], Names] | None:
    return _of_program if path.endswith(".py") else _by_name(path)


def _by_name(name: str) -> Callable[[str], Names] | None:
    if name == ".env" or name.startswith(".env."):
        return _of_env
    if re.match(r"(?:Containerfile|Dockerfile)(?:\.|$)", name) or name.endswith((".Containerfile", ".Dockerfile")):
        return _of_containerfile
    return _of_toml if name == "pyproject.toml" else None


def _of_env(text: str) -> Names:
    for number, line in enumerate(text.splitlines(), 1):
        set_here = re.match(r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*(?:=|$)", line)
        if set_here:
            yield number, set_here[1]


def _of_containerfile(text: str) -> Names:
    """What ENV and ARG set, each at its own line."""
    written = read(text)
    found = [*assigned(written), *arguments(written)]
    yield from sorted((line, name) for line, name, _ in found)


def _of_toml(text: str) -> Names:
    """Keys of any table: where a tool takes variables from a project's file, it names them so."""
    for number, line in enumerate(text.splitlines(), 1):
        key = re.match(r"""\s*["']?([A-Za-z_]\w*)["']?\s*=""", line)
        inline = re.findall(r"""[{,]\s*["']?([A-Za-z_]\w*)["']?\s*=""", line)
        yield from ((number, name) for name in [*([key[1]] if key else []), *inline])


def _of_program(text: str) -> Names:
    """What a program puts into ``os.environ``; reading a reserved name is nobody's harm."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from ((node.lineno, name) for target in targets for name in _item_of_environ(target))
        elif isinstance(node, ast.Call):
            yield from ((node.lineno, name) for name in _call(node))


def _item_of_environ(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Subscript) and _is_environ(node.value):
        yield from _constant(node.slice)


def _call(node: ast.Call) -> Iterator[str]:
    function = ast.unparse(node.func) if isinstance(node.func, ast.Attribute | ast.Name) else ""
    if function.endswith(("environ.setdefault", "putenv")) and node.args:
        yield from _constant(node.args[0])
    elif function.endswith("environ.update"):
        yield from (keyword.arg for keyword in node.keywords if keyword.arg)
        keys = [key for argument in node.args if isinstance(argument, ast.Dict) for key in argument.keys if key]
        yield from (name for key in keys for name in _constant(key))


def _is_environ(node: ast.expr) -> bool:
    return (isinstance(node, ast.Attribute) and node.attr == "environ") or (
        isinstance(node, ast.Name) and node.id == "environ"
    )


def _constant(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


def refused(variables: Mapping[str, str]) -> list[str]:
    """The names of a mapping that are reserved."""
    return [name for name in variables if is_reserved(name)]
