"""The Containerfile of an agent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from buildkit.containerfiles.template import filled
from buildkit.pin import ImagePin
from buildkit.process import variables
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
    own = {name: text for name, text in variables(config).items() if name != "PATH"}
    return filled(
        "recipes.agent",
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
        variables=own,
        app=APP,
        user=config["User"],
        ports=list(config["ExposedPorts"]),
        command=config["Cmd"],
    )
