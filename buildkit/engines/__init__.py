"""The engines by name, the first of them that lacks nothing being the one that ``auto`` takes."""

from __future__ import annotations

from buildkit.build import Engine
from buildkit.errors import EngineFailed, InvalidInput
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
    """The engine that was asked for, or with ``auto`` the first that can build the plan; raises EngineFailed.

    Who names a ``builder`` of buildx asks for buildx.
    """
    name = "buildx" if name == "auto" and builder else name
    engines = [engine_named(one, builder) for one in (NAMES if name == "auto" else (name,))]
    problems = []
    for engine in engines:
        lacking = engine.lacks(plan)
        if not lacking:
            return engine
        problems += lacking
    which = "no engine" if name == "auto" else f"the {name} engine cannot; no other was tried. It"
    raise EngineFailed(
        f"{which} can build {plan.name}" if name == "auto" else f"the {name} engine cannot build {plan.name}", problems
    )
