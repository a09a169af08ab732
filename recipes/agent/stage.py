"""The Containerfile of an agent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files as resources
from typing import Any

from buildkit.containerfiles.template import render
from buildkit.pin import ImagePin
from recipes.agent.packages import ROOT, SETTLE, options, variable_of
from recipes.agent.served import APP

UV = "uv==0.13.9"
"""What unpacks the wheels inside a Containerfile build."""


def containerfile(
    name: str,
    base: ImagePin,
    python: str,
    debian: Sequence[str],
    config: Mapping[str, Any],
    labels: Mapping[str, str],
    secrets: Iterable[str],
    archives: Iterable[str],
) -> str:
    """The Containerfile; raises InvalidInput for what cannot stand in one."""
    template = (resources("recipes.agent") / "Containerfile.j2").read_text(encoding="utf-8")
    variables = dict(variable.split("=", 1) for variable in config["Env"])
    del variables["PATH"]
    return render(
        template,
        name=name,
        base=base.reference,
        uv=UV,
        options=options(python),
        python=python,
        settle=SETTLE,
        root=ROOT,
        above=ROOT.partition("/")[0],
        debian=debian,
        secrets=[{"id": one, "variable": variable_of(one)} for one in sorted(secrets)],
        has_extra="extra.tar" in set(archives),
        labels=labels,
        variables=variables,
        app=APP,
        user=config["User"],
        ports=list(config["ExposedPorts"]),
        command=config["Cmd"],
    )
