"""A verification's report: severities are the rules', waivers are repeated, and nothing that was not asked is hidden."""

from __future__ import annotations

from buildkit.checks.report import failed, github, sarif
from buildkit.checks.rule import ERROR, NOTE, WARNING
from buildkit.probe.verdicts import broken, noted, passed, unasked
from buildkit.targets import target_named
from buildkit.verifying.report import Report, report_of

OUTCOMES = (
    passed("ODS-01", "GET /health", "200"),
    broken("ODS-02", "POST /predict", "307", "answer here"),
    broken("UNI-09", "no answer redirects", "POST /predict: 307"),
    noted("ODS-15", "GET /health", "slow"),
    unasked("ODS-06", "", "the server never became ready"),
)


def report(**waived: str) -> Report:
    names = {name.replace("_", "-"): reason for name, reason in waived.items()}
    return report_of(target_named("oci-data-science"), "image", "podman", OUTCOMES, {"the server": "said"}, names)


def test_severities_are_those_of_the_rules() -> None:
    """An error that is told as a warning passes a pipeline that it should stop."""
    found = report()
    assert [found.count(severity) for severity in (ERROR, WARNING, NOTE)] == [1, 1, 1]
    assert failed([found.judged], strict=False)


def test_a_waived_rule_stops_nothing_and_says_why() -> None:
    """What is accepted on purpose must not fail, and must not vanish."""
    found = report(ODS_02="the gateway follows redirects")
    assert found.count(ERROR) == 0
    assert not failed([found.judged], strict=False)
    assert next(line for line in found.lines if line.rule.id == "ODS-02").word == "waived"
    assert "the gateway follows redirects" in str(found.document())


def test_rules_for_running_containers_that_nobody_asked_are_told() -> None:
    """A rule that is silently left out reads like one that was kept."""
    words = {line.rule.id: line.outcome.verdict for line in report().lines}
    assert words["ODS-14"] == words["ODS-22"] == "not asked"
    assert {one.rule.id for one in report().judged.unjudged} >= {"ODS-06", "ODS-14"}


def test_machines_read_it_as_they_read_a_check() -> None:
    """One form for both commands: a pipeline needs one reader."""
    judged = [report().judged]
    assert {one["ruleId"] for one in sarif("image", judged, "image")["runs"][0]["results"]} == {
        "ODS-02",
        "UNI-09",
        "ODS-15",
    }
    assert any(line.startswith("::error") and "ODS-02" in line for line in github(judged, "image"))


def test_the_same_said_twice_is_told_once() -> None:
    """A report that repeats itself is not read."""
    twice = report_of(target_named("oci-data-science"), "image", "podman", OUTCOMES * 2, {}, {})
    assert [line.rule.id for line in twice.lines].count("ODS-01") == 1
