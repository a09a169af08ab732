"""The engines by name, the first of them that lacks nothing being the one that ``auto`` takes."""

from __future__ import annotations

from collections.abc import Sequence

from buildkit.build import Engine
from buildkit.errors import EngineFailed, InvalidInput, Problem
from buildkit.plan import Plan

NAMES = ("embedded", "buildx", "podman")


def engine_named(name: str, builder: str = "") -> Engine:
    """The engine of that name; raises InvalidInput. ``builder`` is a builder of buildx, and no other engine has any."""
    if builder and name != "buildx":
        raise InvalidInput(f"--builder is for buildx, and the engine is {name}", hint="use --engine buildx")
    match name:
        case "embedded":
            from buildkit.engines.embedded import Embedded

            return Embedded()
        case "buildx":
            from buildkit.engines.buildx import Buildx

            return Buildx(builder)
        case "podman":
            from buildkit.engines.podman import Podman

            return Podman()
    raise InvalidInput(f"there is no engine {name!r}", hint=f"the engines are: auto, {', '.join(NAMES)}")


def choose(name: str, plan: Plan, builder: str = "") -> Engine:
    """The engine that was asked for, or with ``auto`` the first that can build the plan.

    Who names a ``builder`` of buildx asks for buildx. Raises EngineFailed, which names an engine that can; where there is
    none, it says of each what it lacks.
    """
    name = "buildx" if name == "auto" and builder else name
    engine, problems = _first(NAMES if name == "auto" else (name,), plan, builder)
    if engine:
        return engine
    if name == "auto":
        raise EngineFailed(f"no engine can build {plan.name}", problems)
    other, lacking = _first([one for one in NAMES if one != name], plan)
    what, hint = f"the {name} engine cannot build {plan.name}", f"use --engine {other.name}" if other else ""
    raise EngineFailed(what, problems if other else [*problems, *lacking], hint)


def _first(names: Sequence[str], plan: Plan, builder: str = "") -> tuple[Engine | None, list[Problem]]:
    """The first engine that can build the plan, or what all of them lack."""
    problems: list[Problem] = []
    for name in names:
        engine = engine_named(name, builder)
        lacking = engine.lacks(plan)
        if not lacking:
            return engine, []
        problems += lacking
    return None, problems
