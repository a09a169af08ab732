"""Programs that define a service and never start it, as the platform's own example does: their containers end at once."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from buildkit.errors import Problem

_APPLICATIONS = frozenset({"FastAPI", "Starlette", "Flask", "Quart", "Litestar"})
_STARTS = re.compile(
    r"\b(?:uvicorn|hypercorn|gunicorn|granian|waitress|__main__)\b|\b(?:run|serve|serve_forever|main)\s*\("
)
"""What any program says that serves, in whatever way."""


def never_served(root: Path, command: Sequence[str]) -> Iterator[Problem]:
    """Tells a command ``python3 FILE.py`` whose file defines an application at its top and starts nothing."""
    script = next((word for word in command[1:] if word.endswith(".py")), "")
    if not script or not command[0].startswith("python") or script != command[-1]:
        return
    name = _application(root / script)
    if name:
        module = script.removeprefix("./").removesuffix(".py").replace("/", ".")
        yield Problem(
            "entrypoint",
            f"{script} defines {name} and never serves it: the container would end",
            f"write {module}:{name}",
        )


def _application(place: Path) -> str:
    """The name of the application that a file defines, where nothing in it could start a server; else ""."""
    try:
        text = place.read_text(encoding="utf-8-sig")
        tree = ast.parse(text)
    except (OSError, SyntaxError, ValueError, RecursionError):
        return ""
    if _STARTS.search(text):
        return ""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and isinstance(node.targets[0], ast.Name):
            called = ast.unparse(node.value.func).rpartition(".")[2]
            if called in _APPLICATIONS:
                return node.targets[0].id
    return ""
