"""What was asked, what came back, and whether the rule was kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["passed", "failed", "noted", "not asked"]


@dataclass(frozen=True)
class Outcome:
    """One rule put to a running image. ``asked`` and ``answer`` are what a person would write down."""

    rule: str
    verdict: Verdict
    asked: str
    answer: str = ""
    hint: str = ""


def last_line(said: str) -> str:
    """The last of what a container printed, its end where it is long."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1][-300:] if lines else "nothing was printed"


def passed(rule: str, asked: str, answer: str) -> Outcome:
    """The rule was kept."""
    return Outcome(rule, "passed", asked, answer)


def broken(rule: str, asked: str, answer: str, hint: str = "") -> Outcome:
    """The rule was broken."""
    return Outcome(rule, "failed", asked, answer, hint)


def noted(rule: str, asked: str, answer: str, hint: str = "") -> Outcome:
    """Neither: something that a person should look at."""
    return Outcome(rule, "noted", asked, answer, hint)


def unasked(rule: str, asked: str, why: str, hint: str = "") -> Outcome:
    """It could not be asked, and why."""
    return Outcome(rule, "not asked", asked, why, hint)
