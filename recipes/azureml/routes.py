"""Where a server for Azure ML answers: the three routes of its environment, and what a target says of the same."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from buildkit.inputs import Part
from buildkit.process import Port
from buildkit.reading.plain import Refusal, shown
from buildkit.target_settings import AzureMl, TargetSettings


def _path(text: str) -> str:
    if not re.fullmatch(r"/[!-~]*", text):
        raise Refusal(f"{shown(text)} is not a path of a server", "write it with its first slash, as in /score")
    return text


class Route(Part):
    """Where a server answers."""

    port: Port = Field(description="The port.")
    path: Annotated[str, AfterValidator(_path)] = Field(description="The path.")


class InferenceConfig(Part):
    """The three routes of an environment with a server of its own, in the words of Azure's environment YAML."""

    liveness_route: Route = Field(description="Answers 2xx as soon as the process is up.")
    readiness_route: Route = Field(description="Answers 200 when the model is loaded.")
    scoring_route: Route = Field(description="Takes the POST that is the prediction.")

    @model_validator(mode="after")
    def _one_port(self) -> Self:
        ports = sorted({self.liveness_route.port, self.readiness_route.port, self.scoring_route.port})
        if len(ports) > 1:
            raise Refusal(f"names the ports {', '.join(map(str, ports))}", "the three routes have one port")
        return self

    def settings(self) -> dict[str, tuple[str, Any]]:
        """What it says by the keys of a target's settings, each with its place in the recipe."""
        return {
            "port": ("scoring_route.port", self.scoring_route.port),
            "liveness": ("liveness_route.path", self.liveness_route.path),
            "readiness": ("readiness_route.path", self.readiness_route.path),
            "scoring": ("scoring_route.path", self.scoring_route.path),
        }

    def contradicted(self, targets: Sequence[TargetSettings]) -> Iterator[tuple[tuple[str | int, ...], Refusal]]:
        """What targets say otherwise, each with its steps in the recipe."""
        for number, target in enumerate(targets):
            for key, (place, own) in self.settings().items() if isinstance(target, AzureMl) else ():
                said = getattr(target, key)
                if key in target.model_fields_set and said != own:
                    what = f"says {said}, and inference_config.{place} says {own}"
                    hint = (
                        "the server answers at one of them: remove it here, where the other is taken, or write the same"
                    )
                    yield ("targets", number, key), Refusal(what, hint)
