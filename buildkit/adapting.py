"""What a recipe's targets need of its image, where the tool can see to it: the recipe says where, the tool does how."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from buildkit.oci.form import Form
from buildkit.pin import Pins
from buildkit.plan import Plan
from buildkit.recipe import Recipe
from buildkit.targets import target_named

DOCKER_ONLY = ("modelarts", "sagemaker")
"""Platforms that take Docker's manifests alone: see the rules MA-01 and SM-01."""


@dataclass(frozen=True)
class Adapted:
    """A plan as its targets need it, and the form of manifests that they need; None where any will do."""

    plan: Plan
    form: Form | None


def adapted(plan: Plan, targets: Iterable[str]) -> Adapted:
    """Meets the rules that can be met by writing the image differently.

    KS-03: under ``kserve:modelcar`` an ENTRYPOINT that the base brought is emptied; one that the kind sets on purpose
    stays, and is told by the rule. MA-01, SM-01: the manifest has Docker's form. One platform gives a plain manifest,
    never an index of one.
    """
    named = [target_named(name) for name in targets]
    if any(target.name == "kserve:modelcar" for target in named) and "Entrypoint" not in plan.process:
        plan = _without_entrypoint(plan)
    return Adapted(plan, "docker" if any(target.platform in DOCKER_ONLY for target in named) else None)


def _without_entrypoint(plan: Plan) -> Plan:
    """The plan with ``ENTRYPOINT []``, in the config that is laid over the base's and in the Containerfile alike."""
    rendered = plan.rendered

    def text() -> str:
        written = rendered()
        return f"{written.rstrip()}\n\n# KServe sends arguments alone\nENTRYPOINT []\n" if written else ""

    return replace(plan, process={**plan.process, "Entrypoint": []}, rendered=text)


def form_for(recipe: Recipe) -> Form | None:
    """The form of manifests that a recipe's targets need; None where any will do."""
    return "docker" if any(target_named(one.name).platform in DOCKER_ONLY for one in recipe.spec.targets) else None


def planned(recipe: Recipe, pins: Pins) -> Plan:
    """What a recipe's kind plans, as the recipe's targets need it; raises InvalidInput where the pins do not fit."""
    plan = recipe.kind.plan(recipe.spec, pins)
    return adapted(plan, [target.name for target in recipe.spec.targets]).plan
