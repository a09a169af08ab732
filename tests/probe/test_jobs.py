"""Images that are run to their end, over an engine that plays their part: what each exit code and word is taken for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import pytest

from buildkit.probe.containers import Container, Engine, NotStarted, State
from buildkit.probe.job import Job, Programs, Version
from buildkit.probe.session import Probe, Session


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
