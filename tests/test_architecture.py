"""The arrows of the house: if these fail, a stage began to know what stands to its right."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
ADAPTERS = ("engines", "sources", "registries", "targets")
OFFLINE = ("buildkit.machine.atomic", "buildkit.machine.parallel", "buildkit.machine.turn")


def modules() -> Iterator[tuple[str, set[str]]]:
    for path in sorted((ROOT / "buildkit").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        imported = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                imported |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
        yield name, imported


def part(module: str) -> str:
    return module.split(".")[1] if module.count(".") else ""


def test_imports_point_one_way() -> None:
    """Whoever breaks an arrow makes a part that can no longer be read, tested or replaced alone."""
    wrong = []
    for name, imported in modules():
        ours = {module for module in imported if module.startswith("buildkit.")}
        if any(module == "recipes" or module.startswith("recipes.") for module in imported):
            wrong.append(f"{name} imports recipes: kinds are found through their entry points")
        if name in ("buildkit.errors", "buildkit.events") and ours:
            wrong.append(f"{name} imports {sorted(ours)}: it must know nothing")
        if part(name) == "oci":
            wrong += [
                f"{name} imports {module}"
                for module in ours
                if part(module) not in ("oci", "errors", "events", "amounts") and not module.startswith(OFFLINE)
            ]
        if part(name) in ADAPTERS and name != f"buildkit.{part(name)}":
            others = {
                m
                for m in ours
                if (part(m) in (*ADAPTERS, "flow", "cli") and part(m) != part(name)) or part(m) in ("flow", "cli")
            }
            wrong += [f"{name} imports {module}" for module in others]
        if part(name) not in ("cli", "__main__"):
            faces = {
                module
                for module in imported
                if module.split(".")[0] in ("rich", "typer") or module.startswith("buildkit.cli")
            }
            wrong += [f"{name} imports {module}" for module in faces]
        if "subprocess" in imported and not (
            part(name) in ("engines", "probe")
            or name
            in (
                "buildkit.registries.credential_helper",
                "buildkit.trust.programs",
                "buildkit.catalogue.history",
            )
        ):
            wrong.append(f"{name} imports subprocess")
    assert not wrong, "\n".join(wrong)


def test_no_part_needs_itself() -> None:
    """Parts in a circle are one part: none of them can be read, tested or replaced without all the others."""
    needs: dict[str, set[str]] = defaultdict(set)
    for name, imported in modules():
        needs[part(name)] |= {part(module) for module in imported if module.startswith("buildkit.")} - {part(name), ""}
    while ready := {name for name, needed in needs.items() if not needed & needs.keys()}:
        needs = {name: needed for name, needed in needs.items() if name not in ready}
    assert not needs, f"these import each other: {', '.join(sorted(needs))}"


def test_no_drawer_for_everything() -> None:
    """A module that is named after nothing collects everything."""
    names = {part for name, _ in modules() for part in name.split(".")}
    assert not names & {"utils", "util", "common", "helpers", "core", "manager", "base", "misc"}
