"""How findings and rules are shown to a person: one table for a target, readable without colour and at 80 columns."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from buildkit.checks.rule import KINDS, Finding, Judged, Rule, Severity
from buildkit.cli.render import printable
from buildkit.targets import Target

_ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}
_STYLE = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "dim"}


def show_judged(name: str, found: Sequence[Judged]) -> None:
    """Prints what was found for every target, what held, and what could not be judged."""
    console = Console(highlight=False)
    for each in found:
        console.print(f"[bold]{escape(printable(name))}[/] for [bold]{each.target}[/]: {_summary(each)}")
        if each.findings:
            console.print(_table(each.findings))
        _show_unjudged(console, each)
        console.print()


def _summary(each: Judged) -> str:
    errors, warnings, notes = (each.count(severity) for severity in Severity)
    waived = sum(bool(finding.waived) for finding in each.findings)
    said = [
        _counted(errors, "error"),
        _counted(warnings, "warning"),
        _counted(notes, "note"),
        f"{waived} waived" if waived else "",
        f"{_counted(len(each.held), 'rule')} held" if each.held else "",
    ]
    return ", ".join(part for part in said if part) or "nothing was judged"


def _counted(amount: int, noun: str) -> str:
    return f"{amount} {noun}{'s' if amount > 1 else ''}" if amount else ""


def _table(findings: Sequence[Finding]) -> Table:
    table = Table(box=None, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    table.add_column("rule", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("what was found, and what to do", overflow="fold")
    for finding in sorted(findings, key=lambda one: (bool(one.waived), _ORDER[one.severity], one.rule.id)):
        severity = "waived" if finding.waived else finding.severity.value
        style = "dim" if finding.waived else _STYLE[finding.severity]
        table.add_row(finding.rule.id, f"[{style}]{severity}[/]", escape(_lines(finding)))
    return table


def _lines(finding: Finding) -> str:
    lines = [f"{finding.where} {finding.what}"]
    if finding.waived:
        lines.append(f"because: {finding.waived}")
    elif finding.do:
        lines.append(f"do: {finding.do}")
    lines.append(f"rule: {finding.rule.title}")
    lines.append(f"from: {finding.rule.source}")
    return "\n".join(printable(line) for line in lines)


def _show_unjudged(console: Console, each: Judged) -> None:
    by_lack: dict[str, list[str]] = {}
    for one in each.unjudged:
        by_lack.setdefault(one.lacking, []).append(one.rule.id)
    for lacking, ids in by_lack.items():
        console.print(f"not judged, without {escape(printable(lacking))}: {', '.join(ids)}", style="dim")


def show_targets(targets: Sequence[Target], *, rules: bool) -> None:
    """Prints the targets, with their rules where they were asked for."""
    console = Console(highlight=False)
    if not rules:
        table = Table(box=None, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
        table.add_column("target", no_wrap=True)
        table.add_column("rules", justify="right")
        table.add_column("what it is", overflow="fold")
        for target in targets:
            table.add_row(target.name, str(len(target.rules)), escape(target.title))
        console.print(table)
        console.print("\n'modelpack targets TARGET' lists its rules, 'modelpack targets KS-05' explains one.")
        return
    for target in targets:
        console.print(f"[bold]{target.name}[/]: {escape(target.title)}")
        console.print(_rules(target))


def _rules(target: Target) -> Table:
    table = Table(box=None, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    for heading in ("rule", "severity", "looks at"):
        table.add_column(heading, no_wrap=True)
    table.add_column("what must hold", overflow="fold")
    for rule in target.rules:
        table.add_row(rule.id, rule.severity_in(target.mode).value, rule.kinds, escape(rule.title))
    return table


def show_rule(rule: Rule, targets: Sequence[Target]) -> None:
    """Prints everything about one rule."""
    console = Console(highlight=False)
    console.print(f"[bold]{rule.id}[/] ({rule.severity.value}): {escape(rule.title)}")
    where = ", ".join(KINDS[letter] for letter in rule.kinds.split(","))
    console.print(f"  looks at: {where}")
    if rule.do:
        console.print(f"  what to do: {escape(rule.do)}")
    console.print(f"  from: {escape(rule.source)}")
    names = [target.name + (f" ({rule.severity_in(target.mode).value})" if rule.eased else "") for target in targets]
    console.print(f"  targets: {', '.join(names)}")
    console.print(f"  judged by: {escape(_judges(rule))}")


def _judges(rule: Rule) -> str:
    if rule.beyond:
        return f"nothing here: {rule.beyond}"
    told = {
        "modelpack check": bool(rule.judge),
        "modelpack check --deployment, and modelpack deploy": bool(rule.judge) and rule.kinds == "D",
        "modelpack verify, on the running container": rule.is_probed,
    }
    names = [name for name, does in told.items() if does]
    return ", ".join(names[1:] if rule.kinds == "D" and len(names) > 1 else names)
