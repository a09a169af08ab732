"""What the rules found, for machines: JSON, SARIF 2.1.0, and the annotations of GitHub's workflow commands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from buildkit import __version__
from buildkit.checks.rule import Finding, Judged, Rule, Severity

_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}
_GITHUB = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}


def failed(found: Sequence[Judged], *, strict: bool) -> bool:
    """Whether the command ends with exit code 1: on errors; with ``strict`` on warnings, and where nobody answered, too."""
    bad = (Severity.ERROR, Severity.WARNING) if strict else (Severity.ERROR,)
    unasked = strict and any(each.unasked for each in found)
    return unasked or any(each.count(severity) for each in found for severity in bad)


def document(name: str, found: Sequence[Judged]) -> dict[str, Any]:
    """Everything as a JSON document."""
    return {"name": name, "targets": [_target(each) for each in found]}


def _target(each: Judged) -> dict[str, Any]:
    unasked = {"unasked": each.unasked} if each.unasked else {}
    return unasked | {
        "target": each.target,
        "errors": each.count(Severity.ERROR),
        "warnings": each.count(Severity.WARNING),
        "findings": [finding_document(finding) for finding in each.findings],
        "held": [rule.id for rule in each.held],
        "unjudged": [{"rule": one.rule.id, "lacking": one.lacking} for one in each.unjudged],
    }


def finding_document(finding: Finding) -> dict[str, Any]:
    """One finding as a JSON document."""
    written = {
        "rule": finding.rule.id,
        "severity": finding.severity.value,
        "where": finding.where,
        "what": finding.what,
        "do": finding.do,
        "title": finding.rule.title,
        "source": finding.rule.source,
    }
    return written | ({"waived": finding.waived} if finding.waived else {})


def sarif(name: str, found: Sequence[Judged], file: str) -> dict[str, Any]:
    """SARIF 2.1.0 (OASIS): the form in which code scanning services take findings. ``file`` is what they are pinned to."""
    rules = {finding.rule.id: finding.rule for each in found for finding in each.findings}
    results = [_result(finding, each.target, file, name) for each in found for finding in each.findings]
    driver = {
        "name": "modelpack",
        "version": __version__,
        "rules": [_sarif_rule(rules[id]) for id in sorted(rules)],
    }
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }


def _sarif_rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "shortDescription": {"text": rule.title},
        "help": {"text": f"{rule.do or rule.title} (source: {rule.source})"},
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
    }


def _result(finding: Finding, target: str, file: str, name: str) -> dict[str, Any]:
    line = containerfile_line(finding)
    place: dict[str, Any] = {"artifactLocation": {"uri": file}, "region": {"startLine": line or 1}}
    written: dict[str, Any] = {
        "ruleId": finding.rule.id,
        "level": _LEVELS[finding.severity],
        "message": {"text": f"{name}, {target}: {sentence(finding)}"},
        "locations": [{"physicalLocation": place, "logicalLocations": [{"fullyQualifiedName": finding.where}]}],
    }
    if finding.waived:
        written["suppressions"] = [{"kind": "inSource", "justification": finding.waived}]
    return written


def containerfile_line(finding: Finding) -> int | None:
    """The line of the Containerfile that a finding is about."""
    found = re.fullmatch(r"Containerfile:(\d+)", finding.where)
    return int(found[1]) if found else None


def sentence(finding: Finding) -> str:
    """A finding in one line, with what to do."""
    return f"{finding.where} {finding.what}" + (f" - {finding.do}" if finding.do else "")


def github(found: Sequence[Judged], file: str) -> Iterator[str]:
    """Workflow commands of GitHub Actions: ``::error file=...,title=...::...``; waived findings are notices."""
    for each in found:
        for finding in each.findings:
            kind = "notice" if finding.waived else _GITHUB[finding.severity]
            title = _property(f"{finding.rule.id} ({each.target})")
            text = sentence(finding) + (f" (waived: {finding.waived})" if finding.waived else "")
            yield f"::{kind} file={_property(file)},line={containerfile_line(finding) or 1},title={title}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
