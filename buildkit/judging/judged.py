"""What the rules of targets find in what is given, and the refusal of what they call an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from buildkit.checks.rule import Judged, Severity, judge
from buildkit.checks.subject import Given, Subject
from buildkit.errors import CheckFailed, Problem
from buildkit.target_settings import TargetSettings
from buildkit.targets import Target


def judged(
    chosen: Sequence[tuple[Target, TargetSettings]], given: Given, waived: Mapping[str, str]
) -> tuple[Judged, ...]:
    """What every target's rules find."""
    return tuple(judge(Subject(said, target.mode, given), target.rules, target.name, waived) for target, said in chosen)


_REFUSED = "'modelpack check' tells more; waive a rule in the recipe with its reason; --no-check skips all of them"


def refuse(found: Sequence[Judged], name: str, hint: str = _REFUSED) -> None:
    """Raises CheckFailed with every error that is not waived: a build ends here, before a byte was moved."""
    problems = [
        Problem(f"{one.rule.id} ({each.target}) {one.where}", one.what, one.do)
        for each in found
        for one in each.findings
        if one.severity is Severity.ERROR and not one.waived
    ]
    if problems:
        raise CheckFailed(
            f"{name} would be refused where it is meant to go",
            problems,
            hint=hint,
        )
