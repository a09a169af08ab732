"""Images that are run to their end, over an engine that plays their part: what each exit code and word is taken for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from buildkit.checks.report import failed
from buildkit.probe.asked import Asked
from buildkit.probe.containers import Container, Engine, NotStarted, State
from buildkit.probe.job import Job, Programs, Version
from buildkit.probe.session import Probe, Session
from buildkit.target_settings import settings_of
from buildkit.targets import TARGETS, load
from buildkit.verifying.report import report_of


@dataclass
class Played:
    """An engine whose containers print and end as they are told, and that remembers what was removed."""

    said: str = ""
    code: int = 0
    starts: bool = True
    name: str = "played"
    started: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)

    def start(self, name: str, container: Container) -> None:
        self.started.append(name)
        if not self.starts:
            raise NotStarted(self.code, self.said)

    def look(self, name: str) -> State:
        return State(False, self.code)

    def logs(self, name: str) -> str:
        return self.said

    def remove(self, name: str) -> None:
        self.removed.append(name)


def verdicts(probe: Probe, engine: Played) -> list[str]:
    found = probe.outcomes(Session(cast(Engine, engine), "image"))
    assert engine.started and engine.removed == engine.started
    return [one.verdict for one in found]


@pytest.mark.parametrize(
    ("said", "code", "verdict"),
    [
        ("conda 4.5.12", 0, "passed"),
        ("conda 24.1.0", 0, "passed"),
        ("conda 4.4.9", 0, "failed"),
        ("sh: conda: not found", 127, "failed"),
    ],
)
def test_a_version_is_compared_as_numbers(said: str, code: int, verdict: str) -> None:
    """24.1 is newer than 4.5, whatever their first letters are."""
    assert verdicts(Version("AZ1-02", "conda", (4, 5)), Played(said, code)) == [verdict]


def test_missing_programs_are_named_together() -> None:
    """Whoever builds an image for twenty minutes wants to hear of all of them at once."""
    engine = Played("missing java\nmissing zip\n")
    found = Programs("MA-10", ("python", "java", "zip")).outcomes(Session(cast(Engine, engine), "image"))
    assert [one.answer for one in found] == ["not on the PATH: java, zip"]
    assert verdicts(Programs("MA-10", ("python",)), Played()) == ["passed"]


def test_a_job_that_starts_and_fails_for_want_of_data_is_no_fault() -> None:
    """Here is none of the platform's data: that the script ends with 1 says nothing of the image."""
    assert verdicts(Job("MA-09", "/home/run.sh"), Played(code=0)) == ["passed", "passed"]
    assert verdicts(Job("MA-09", "/home/run.sh"), Played(code=1))[0] == "passed"
    assert verdicts(Job("MA-09", "/home/run.sh"), Played("not found", 127)) == ["failed", "failed"]


def test_what_is_not_started_is_removed_all_the_same() -> None:
    """An engine may have made the container before it failed to start it."""
    engine = Played("no such file", 127, starts=False)
    assert verdicts(Job("MA-09", "/home/run.sh"), engine) == ["failed", "failed"]


NOT_THERE = "crun: executable file `nosuchprogram` not found in $PATH: No such file or directory"
OF_THE_MACHINE = "runc create failed: error setting rlimit type 8: operation not permitted"


@pytest.mark.parametrize("name", [name for name in TARGETS if TARGETS[name].platform not in ("kserve", "kubernetes")])
def test_an_image_that_cannot_be_started_fails_for_every_platform(name: str) -> None:
    """A pipeline that verifies an image whose command does not exist goes on, and the platform never starts it."""
    target, engine = TARGETS[name], Played(NOT_THERE, 127, starts=False)
    session = Session(cast(Engine, engine), "image")
    probes = load(target.running)(Asked(settings_of(name), Path("/nowhere")))
    outcomes = [outcome for probe in probes for outcome in probe.outcomes(session)]
    report = report_of(target, "image", "played", outcomes, session.logs, {})
    assert failed([report.judged], strict=False)


@pytest.mark.parametrize(
    ("said", "code", "blames"),
    [
        (NOT_THERE, 127, True),
        ('exec: "nosuchprogram": executable file not found in $PATH', 127, True),
        ("exec /app/serve: exec format error", 126, True),
        (OF_THE_MACHINE, 126, False),
        ("cannot set memory limit: cgroup is read-only", 125, False),
    ],
)
def test_the_image_is_blamed_for_its_command_only_where_the_engine_does(said: str, code: int, blames: bool) -> None:
    """Whoever is told to mend a command that is right looks at the wrong end for an hour."""
    target, engine = TARGETS["azureml:v2"], Played(said, code, starts=False)
    (probe,) = load(target.running)(Asked(settings_of("azureml"), Path("/nowhere")))
    (found,) = [one for one in probe.outcomes(Session(cast(Engine, engine), "image")) if one.verdict == "failed"]
    assert (found.rule, found.answer) == ("AZ2-02", said)
    assert ("command that exists" in found.hint) == blames
