"""A verification for a person: what was asked and what came back, a line each, and the logs where something failed."""

from __future__ import annotations

import json
from collections.abc import Sequence

from buildkit.checks.rule import ERROR, NOTE, WARNING
from buildkit.cli.render import printable
from buildkit.verifying.report import Line, Report


def tell(reports: Sequence[Report], *, as_json: bool, annotations: Sequence[str] | None) -> None:
    """Prints reports in the form that was asked for."""
    if as_json:
        print(json.dumps([report.document() for report in reports], ensure_ascii=False, indent=2))
    elif annotations is not None:
        for line in annotations:
            print(printable(line))
    else:
        for report in reports:
            show(report)


def show(report: Report) -> None:
    """Prints a report on stdout."""
    print(printable(f"{report.target.name}: {report.image}, run with {report.engine}"))
    for line in report.lines:
        _show(line)
    if report.count(ERROR):
        _logs(report)
    counts = {"errors": ERROR, "warnings": WARNING, "notes": NOTE}
    told = ", ".join(f"{report.count(severity)} {name}" for name, severity in counts.items())
    kept = sum(line.outcome.verdict == "passed" for line in report.lines)
    print(f"{kept} kept, {told}")


def _show(line: Line) -> None:
    outcome = line.outcome
    told = f"  {line.word:<10}{line.rule.id:<8}{outcome.asked or line.rule.title}"
    print(printable(f"{told}: {outcome.answer}" if outcome.answer else told))
    if line.severity is None:
        return
    indent = " " * 20
    for text in (outcome.hint or line.rule.do, line.rule.source and f"from {line.rule.source}"):
        if text:
            print(printable(f"{indent}{text}"))
    if line.waived:
        print(printable(f"{indent}waived: {line.waived}"))


def _logs(report: Report) -> None:
    for what, said in report.logs.items():
        if said.strip():
            print(printable(f"  {what} printed at last:"))
            for text in said.rstrip().splitlines():
                print(printable(f"    {text}"))
