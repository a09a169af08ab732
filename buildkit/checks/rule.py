"""Rules of platforms, judged over what is known of an image: its recipe, its plan, or the image as it was pushed.

A rule is one function that looks at a :class:`Subject` and yields what it :class:`Found`. A part that is not there (the files
of an image that is not built yet) raises :class:`NotKnown` where a rule asks for it: then the rule is not judged, and the
report says so. A rule that only a running container can answer has no function; its probe is found by its id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from buildkit.checks.subject import Subject


class Severity(Enum):
    """ERROR: the platform refuses or breaks. WARNING: it works, and will be regretted. NOTE: worth knowing."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


ERROR, WARNING, NOTE = Severity.ERROR, Severity.WARNING, Severity.NOTE

KINDS = {
    "R": "the recipe",
    "C": "the Containerfile",
    "I": "the image's manifest and config",
    "F": "the files in the image",
    "P": "the running container",
    "D": "the deployment",
    "G": "the reference and its registry",
}
"""What a rule looks at, by the letter that it declares."""


class NotKnown(Exception):
    """A rule asked for a part that is not there; the text names the part."""


@dataclass(frozen=True)
class Found:
    """What a rule found: where, what it is, and what to do where the rule's own advice does not say it best."""

    where: str
    what: str
    do: str = ""
    severity: Severity | None = None


Judge = Callable[["Subject"], Iterable[Found]]


@dataclass(frozen=True)
class Rule:
    """One rule of a platform. ``kinds`` are letters of :data:`KINDS`; ``source`` says where the platform publishes it.

    ``modes`` are the target's modes in which it holds (none: in all); ``eased`` are modes with another severity.
    ``judge`` is None where only a running container can answer. ``beyond`` says why nothing here can answer at all.
    """

    id: str
    kinds: str
    severity: Severity
    title: str
    source: str
    do: str = ""
    modes: tuple[str, ...] = ()
    eased: Mapping[str, Severity] = field(default_factory=dict)
    judge: Judge | None = None
    beyond: str = ""

    @property
    def is_probed(self) -> bool:
        """Whether a running container is asked as well, or only it."""
        return "P" in self.kinds

    def holds_in(self, mode: str) -> bool:
        """Whether the rule holds in a mode of its target."""
        return not self.modes or mode in self.modes

    def severity_in(self, mode: str) -> Severity:
        """How bad a breach is in a mode of its target."""
        return self.eased.get(mode, self.severity)


def rule(
    id: str,
    kinds: str,
    severity: Severity,
    title: str,
    *,
    source: str,
    do: str = "",
    modes: tuple[str, ...] = (),
    eased: Mapping[str, Severity] | None = None,
) -> Callable[[Judge], Rule]:
    """Makes a rule of the function below it."""

    def made(judge: Judge) -> Rule:
        return Rule(id, kinds, severity, title, source, do, modes, eased or {}, judge)

    return made


def probed(
    id: str,
    severity: Severity,
    title: str,
    *,
    source: str,
    do: str = "",
    kinds: str = "P",
    modes: tuple[str, ...] = (),
    beyond: str = "",
) -> Rule:
    """A rule that only a running container can answer, or only the platform itself: ``beyond`` says why."""
    return Rule(id, kinds, severity, title, source, do, modes, beyond=beyond)


@dataclass(frozen=True)
class Finding:
    """A breach of a rule, as the report tells it. ``waived`` is the reason for which the recipe accepts it, else ""."""

    rule: Rule
    severity: Severity
    where: str
    what: str
    do: str
    waived: str = ""


@dataclass(frozen=True)
class Unjudged:
    """A rule that could not be judged, and the part that it would have needed."""

    rule: Rule
    lacking: str


@dataclass(frozen=True)
class Judged:
    """What became of a target's rules: what was found, what held, and what could not be judged.

    ``unasked`` says why only the recipe itself was judged, "" where whatever it names was asked.
    """

    target: str
    findings: tuple[Finding, ...] = ()
    held: tuple[Rule, ...] = ()
    unjudged: tuple[Unjudged, ...] = ()
    unasked: str = ""

    def count(self, severity: Severity) -> int:
        """How many findings of a severity are not waived."""
        return sum(finding.severity is severity and not finding.waived for finding in self.findings)


def judge(subject: Subject, rules: Iterable[Rule], target: str, waived: Mapping[str, str] | None = None) -> Judged:
    """Judges every rule over a subject. ``waived`` are reasons by a rule's id: what is waived is told, and does not count."""
    findings: list[Finding] = []
    held: list[Rule] = []
    unjudged: list[Unjudged] = []
    for one in rules:
        found, lacking = _breaches(one, subject)
        if lacking:
            unjudged.append(Unjudged(one, lacking))
        elif not found:
            held.append(one)
        severity = one.severity_in(subject.mode)
        reason = (waived or {}).get(one.id, "")
        findings += [
            Finding(one, breach.severity or severity, breach.where, breach.what, breach.do or one.do, reason)
            for breach in found
        ]
    return Judged(target, tuple(findings), tuple(held), tuple(unjudged))


RUNNING = "a running container (modelpack verify)"


def _breaches(one: Rule, subject: Subject) -> tuple[list[Found], str]:
    """What breaks a rule, and the part that was missing where it could not be judged to its end."""
    found: list[Found] = []
    if one.judge is None:
        return found, f"the platform: {one.beyond}" if one.beyond else RUNNING
    looking = subject.untouched
    try:
        found.extend(one.judge(looking))
    except NotKnown as lacking:
        return found, str(lacking)
    return found, "" if found else looking.unseen
