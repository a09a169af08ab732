"""What came of a verification: every rule of the target with what was asked, judged by the rule's own severity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from buildkit.checks.rule import ERROR, NOTE, WARNING, Finding, Judged, Rule, Severity, Unjudged, probed
from buildkit.probe.verdicts import Outcome, unasked
from buildkit.targets import Target


@dataclass(frozen=True)
class Line:
    """One outcome under its rule. ``severity`` is None where the rule was kept or not asked; ``waived`` the recipe's reason."""

    rule: Rule
    outcome: Outcome
    severity: Severity | None
    waived: str = ""

    @property
    def word(self) -> str:
        """How it is told in a word."""
        if self.severity is None:
            return self.outcome.verdict
        return "waived" if self.waived else self.severity.value


@dataclass(frozen=True)
class Report:
    """A target's rules put to one image. ``logs`` are the containers' last lines, by what they were run for."""

    target: Target
    image: str
    engine: str
    lines: tuple[Line, ...]
    logs: Mapping[str, str]

    def count(self, severity: Severity) -> int:
        """How many lines of a severity are not waived."""
        return sum(line.severity is severity and not line.waived for line in self.lines)

    @property
    def judged(self) -> Judged:
        """The same as the static rules have it, for every form of report that they can be told in."""
        found = [line for line in self.lines if line.severity is not None]
        findings = tuple(
            Finding(line.rule, line.severity, line.outcome.asked, line.outcome.answer, _do(line), line.waived)
            for line in found
            if line.severity is not None
        )
        held = tuple(dict.fromkeys(line.rule.id for line in self.lines if line.outcome.verdict == "passed"))
        rules = {line.rule.id: line.rule for line in self.lines}
        broken = {finding.rule.id for finding in findings}
        unjudged = tuple(
            Unjudged(line.rule, line.outcome.answer) for line in self.lines if line.outcome.verdict == "not asked"
        )
        return Judged(self.target.name, findings, tuple(rules[id] for id in held if id not in broken), unjudged)

    def document(self) -> dict[str, Any]:
        """The same as a JSON document."""
        counts = {severity.value: self.count(severity) for severity in (ERROR, WARNING, NOTE)}
        return {
            "target": self.target.name,
            "image": self.image,
            "engine": self.engine,
            "counts": counts,
            "outcomes": [_document(line) for line in self.lines],
            "logs": dict(self.logs) if self.count(ERROR) else {},
        }


def report_of(
    target: Target,
    image: str,
    engine: str,
    outcomes: Sequence[Outcome],
    logs: Mapping[str, str],
    waived: Mapping[str, str],
) -> Report:
    """Puts outcomes under their rules; a rule for a running container that nothing asked is told, too."""
    rules = {rule.id: rule for rule in target.rules}
    asked = {outcome.rule for outcome in outcomes}
    silent = [
        unasked(rule.id, "", rule.beyond or "nothing here can ask it")
        for rule in target.rules
        if rule.is_probed and rule.id not in asked
    ]
    lines = [_line(one, rules.get(one.rule), target.mode, waived) for one in _once([*outcomes, *silent])]
    order = {id: number for number, id in enumerate(rules)}
    lines.sort(key=lambda line: order.get(line.rule.id, len(order)))
    return Report(target, image, engine, tuple(lines), logs)


def _once(outcomes: Iterable[Outcome]) -> Iterable[Outcome]:
    """Without what is said twice; a rule that was asked is not told as not asked as well."""
    kept = list(dict.fromkeys(outcomes))
    answered = {one.rule for one in kept if one.verdict != "not asked"}
    return [one for one in kept if one.verdict != "not asked" or one.rule not in answered]


def _line(outcome: Outcome, rule: Rule | None, mode: str, waived: Mapping[str, str]) -> Line:
    known = rule or probed(outcome.rule, ERROR, outcome.asked, source="")
    severity = {"failed": known.severity_in(mode), "noted": NOTE}.get(outcome.verdict)
    return Line(known, outcome, severity, waived.get(outcome.rule, "") if severity else "")


def _do(line: Line) -> str:
    return line.outcome.hint or line.rule.do


def _document(line: Line) -> dict[str, Any]:
    told = {
        "rule": line.rule.id,
        "verdict": line.outcome.verdict,
        "severity": line.severity.value if line.severity else None,
        "asked": line.outcome.asked,
        "answer": line.outcome.answer,
        "hint": _do(line) if line.severity else "",
        "source": line.rule.source,
    }
    return told | ({"waived": line.waived} if line.waived else {})
