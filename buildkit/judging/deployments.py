"""``modelpack check --deployment``: judges what somebody deploys from by the rules that look at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from buildkit.checks.rule import Judged, judge
from buildkit.checks.subject import Given, Subject
from buildkit.errors import InvalidInput
from buildkit.judging.chosen import waivers
from buildkit.recipe import Recipe
from buildkit.target_settings import TargetSettings
from buildkit.targets import Target, target_named
from buildkit.targets.reading import shown_few


def check_deployment(document: Mapping[str, Any], settings: TargetSettings, recipe: Recipe | None) -> Judged:
    """Judges what is deployed from by the rules that look at it; raises InvalidInput where it cannot be read."""
    target = target_named(settings.name)
    given = Given(recipe=recipe, deployment=document)
    rules = [rule for rule in target.rules if "D" in rule.kinds]
    return judge(Subject(settings, target.mode, given), rules, target.name, waivers(recipe))


def meant_for(target: Target, documents: Sequence[Mapping[str, Any]], file: str) -> Mapping[str, Any]:
    """The one document of a file that deploys on a target; raises InvalidInput where none of several does, or more."""
    if len(documents) == 1:
        return documents[0]
    fitting = [one for one in documents if one.get("kind") in target.objects]
    if len(fitting) != 1:
        kinds = shown_few([str(one.get("kind", "something without a kind")) for one in documents])
        wanted = f"the one {' or '.join(target.objects)}" if target.objects else "the one document"
        what = (
            f"{file} has {len(documents)} documents ({kinds}), and {len(fitting) or 'none'} of them for {target.name}"
        )
        raise InvalidInput(what, hint=f"write {wanted} into a file of its own")
    return fitting[0]
