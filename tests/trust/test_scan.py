"""What a scanner says decides, whichever of the two is installed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from buildkit.errors import EngineFailed, InvalidInput
from buildkit.oci.reference import Digest, Reference
from buildkit.trust.scan import read, scan
from tests.cli.test_cli import modelpack
from tests.fakes.registry import OCI_MANIFEST, Registry

IMAGE = Reference.parse("127.0.0.1:5000/models/granite@sha256:" + "0" * 64)
TRIVY = {
    "Results": [
        {"Vulnerabilities": [
            {"VulnerabilityID": "CVE-1", "Severity": "CRITICAL", "PkgName": "openssl", "InstalledVersion": "3.0", "FixedVersion": "3.1"},
            {"VulnerabilityID": "CVE-2", "Severity": "LOW", "PkgName": "zlib", "InstalledVersion": "1.2"},
        ]},
        {"Target": "python"},
    ]
}  # fmt: skip
GRYPE = {
    "matches": [
        {"vulnerability": {"id": "CVE-3", "severity": "High", "fix": {"versions": ["2"]}}, "artifact": {"name": "a", "version": "1"}},
        {"vulnerability": {"id": "CVE-4", "severity": "Unknown"}, "artifact": {"name": "b", "version": "1"}},
    ]
}  # fmt: skip


def stand_in(folder: Path, name: str, answer: str, code: int = 0) -> None:
    (folder / "answer").write_text(answer)
    script = folder / name
    script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > "{folder}/asked"\ncat "{folder}/answer"\nexit {code}\n')
    script.chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def test_trivy_is_read(programs: Path) -> None:
    """A critical vulnerability is deployed, since its report was not understood."""
    stand_in(programs, "trivy", json.dumps(TRIVY))
    found = scan(IMAGE)
    assert found.counts == {"critical": 1, "low": 1}
    assert [(one.id, one.fixed) for one in found.found] == [("CVE-1", "3.1"), ("CVE-2", "")]
    assert [one.id for one in found.at_least("critical")] == ["CVE-1"]
    assert f"{IMAGE}" in (programs / "asked").read_text()


def test_grype_is_read(programs: Path) -> None:
    """What is unknown counts as critical, or what is high does not count."""
    stand_in(programs, "grype", json.dumps(GRYPE))
    found = scan(IMAGE)
    assert found.scanner == "grype"
    assert [one.id for one in found.at_least("high")] == ["CVE-3"]
    assert found.at_least("critical") == []


@pytest.mark.parametrize(
    "answer", ["", "no json", "[]", '{"Results": [{"Vulnerabilities": [{}]}]}', "[" * 100_000], ids=range(5)
)
def test_an_answer_that_is_no_report_is_no_clean_bill(programs: Path, answer: str) -> None:
    """A scanner that broke is taken for one that found nothing."""
    stand_in(programs, "trivy", answer)
    with pytest.raises(EngineFailed, match="no report"):
        scan(IMAGE)


def test_a_scanner_that_fails_is_told(programs: Path) -> None:
    """The same, where it says so itself."""
    stand_in(programs, "trivy", "cannot pull", 1)
    with pytest.raises(EngineFailed, match="trivy could not scan") as caught:
        scan(IMAGE)
    assert "cannot pull" in str(caught.value)


def test_no_scanner_is_told(programs: Path) -> None:
    """A traceback."""
    with pytest.raises(EngineFailed, match="neither trivy nor grype is installed"):
        scan(IMAGE)


OURS = [
    {
        "image": str(IMAGE),
        "scanner": "trivy",
        "counts": {"critical": 1},
        "vulnerabilities": [
            {"severity": "critical", "id": "CVE-1", "package": "openssl", "version": "3.0", "fixed": "3.1"},
            {"severity": "low", "id": "CVE-2", "package": "zlib", "version": "1.2", "fixed": ""},
        ],
    }
]


@pytest.mark.parametrize(
    ("report", "ids"), [(OURS, ["CVE-1", "CVE-2"]), (TRIVY, ["CVE-1", "CVE-2"]), (GRYPE, ["CVE-3", "CVE-4"])]
)
def test_a_report_that_was_written_before_is_read(tmp_path: Path, report: object, ids: list[str]) -> None:
    """A pipeline scans once, and asks for the rules in another job."""
    file = tmp_path / "report.json"
    file.write_text(json.dumps(report))
    assert [one.id for one in read(file).found] == ids


@pytest.mark.parametrize(
    "report",
    [
        "{",
        "[1]",
        '{"a": 1}',
        '[{"image": 1}]',
        "[]",
        '{"matches": 3}',
        '{"Results": [{"Vulnerabilities": [{}]}]}',
        "null",
        "3",
        "[" * 100_000,
    ],
    ids=range(10),
)
def test_what_is_no_report_is_told(tmp_path: Path, report: str) -> None:
    """An empty answer is not an image without vulnerabilities."""
    file = tmp_path / "report.json"
    file.write_text(report)
    with pytest.raises(InvalidInput):
        read(file)


def test_the_report_of_another_image_is_refused(tmp_path: Path) -> None:
    """Yesterday's image had nothing critical: that says nothing of today's."""
    file = tmp_path / "report.json"
    file.write_text(json.dumps(OURS))
    assert IMAGE.digest
    assert read(file, [IMAGE.digest]).scanner == "trivy"
    with pytest.raises(InvalidInput, match="no report of this image"):
        read(file, [Digest("sha256:" + "1" * 64)])


def test_what_a_package_is_called_steers_no_terminal(programs: Path) -> None:
    """A package in a stranger's image repaints the screen of who scans it, or writes a line that looks like ours."""
    found = {**TRIVY["Results"][0]["Vulnerabilities"][0], "PkgName": "\x1b]0;owned\a\nall is well"}  # type: ignore[index]
    stand_in(programs, "trivy", json.dumps({"Results": [{"Vulnerabilities": [found]}]}))
    with Registry() as registry:
        registry.put_manifest("models/granite", b'{"schemaVersion": 2}', OCI_MANIFEST, "v1")
        done = modelpack("scan", f"{registry.address}/models/granite:v1")
    assert "CVE-1" in done.stdout, done.stderr
    assert "\x1b" not in done.stdout and "\nall is well" not in done.stdout
