"""What a recipe's targets need of its image, where the tool can see to it: the recipe says where, the tool does how."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from buildkit.oci.form import Form
from buildkit.pin import Pins
from buildkit.plan import Plan
from buildkit.recipe import Recipe
from buildkit.targets import target_named

DOCKER_ONLY = ("modelarts", "sagemaker")
"""Platforms that take Docker's manifests alone: see the rules MA-01 and SM-01."""


def adapted(plan: Plan, targets: Iterable[str]) -> Plan:
    """Meets the rules that can be met by planning the image differently.

    KS-03: under ``kserve:modelcar`` an ENTRYPOINT that the base brought is emptied; one that the kind sets on purpose
    stays, and is told by the rule.
    """
    modelcar = any(target_named(name).name == "kserve:modelcar" for name in targets)
    return _without_entrypoint(plan) if modelcar and "Entrypoint" not in plan.process else plan


def _without_entrypoint(plan: Plan) -> Plan:
    """The plan with ``ENTRYPOINT []``, in the config that is laid over the base's and in the Containerfile alike."""
    rendered = plan.rendered

    def text() -> str:
        written = rendered()
        return f"{written.rstrip()}\n\n# KServe sends arguments alone\nENTRYPOINT []\n" if written else ""

    return replace(plan, process={**plan.process, "Entrypoint": []}, rendered=text)


def form_for(recipe: Recipe) -> Form | None:
    """The form of manifests that a recipe's targets need (MA-01, SM-01); None where any will do."""
    return "docker" if any(target_named(one.name).platform in DOCKER_ONLY for one in recipe.spec.targets) else None


def planned(recipe: Recipe, pins: Pins) -> Plan:
    """What a recipe's kind plans, as the recipe's targets need it; raises InvalidInput where the pins do not fit."""
    plan = recipe.kind.plan(recipe.spec, pins)
    return adapted(plan, [target.name for target in recipe.spec.targets])
