"""A scan for known vulnerabilities by trivy or grype, and whether what it found may be deployed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from buildkit.errors import EngineFailed, InvalidInput
from buildkit.oci.parsing import parse
from buildkit.oci.reference import Digest, Reference
from buildkit.reading.plain import shown
from buildkit.trust.programs import ask, failed, installed, logged_in

SCANNERS = ("trivy", "grype")
SEVERITIES = ("negligible", "low", "medium", "high", "critical")
"""From the mildest on. What a scanner calls unknown counts as none of them."""


@dataclass(frozen=True, order=True)
class Vulnerability:
    """A known vulnerability in a package of an image; ``fixed`` is the version that mends it, "" where there is none."""

    severity: str
    id: str
    package: str
    version: str
    fixed: str = ""


@dataclass(frozen=True)
class Scanned:
    """What a scanner found, the worst first."""

    scanner: str
    found: tuple[Vulnerability, ...]

    def at_least(self, severity: str) -> list[Vulnerability]:
        """What is as bad as ``severity``, or worse."""
        worst = SEVERITIES[SEVERITIES.index(severity) :]
        return [one for one in self.found if one.severity in worst]

    @property
    def counts(self) -> Mapping[str, int]:
        """How many there are of each severity, the worst first."""
        counted = Counter(one.severity for one in self.found)
        return {severity: counted[severity] for severity in reversed(SEVERITIES) if counted[severity]}


def severity_named(text: str) -> str:
    """A severity as it is compared; raises InvalidInput."""
    if text.lower() not in SEVERITIES:
        raise InvalidInput(f"{shown(text)} is not a severity", hint=f"the severities are: {', '.join(SEVERITIES)}")
    return text.lower()


def scan(image: Reference, scanner: str = "", plain_http: bool = False) -> Scanned:
    """Has an image in a registry scanned by the scanner that is named, else by the first that is installed.

    Raises EngineFailed where there is none, where it fails, or where its answer is no report.
    """
    name = installed(scanner) if scanner else installed(*SCANNERS)
    if name is None:
        wanted = scanner or " nor ".join(SCANNERS)
        raise EngineFailed(f"{'' if scanner else 'neither '}{wanted} is installed", hint="install trivy or grype")
    where = f"{image.name}@{image.digest}" if image.digest else str(image)
    with logged_in(image.host, image.repository) as environment:
        said = ask(_command(name, where, plain_http), {**environment, **_environment(name, plain_http)})
    if said.code:
        raise failed(name, said, f"scan {where}")
    try:
        report = parse(said.out)
        return _scanned(name, _of_trivy(report) if name == "trivy" else _of_grype(report))
    except (ValueError, TypeError, AttributeError, KeyError):
        raise EngineFailed(f"{name} gave an answer that is no report", hint=f"run it by hand: {name} --help") from None


def read(path: Path, digests: Sequence[Digest] = ()) -> Scanned:
    """A report that was written before: by ``modelpack scan --json``, by trivy or by grype, both as JSON.

    Of a report of modelpack's, which names its images, the one of these ``digests`` is taken (none: any). Raises InvalidInput.
    """
    hint = "write one with: modelpack scan IMAGE --json > FILE"
    try:
        report = parse(path.read_bytes())
        if isinstance(report, list):
            return _of_ours(report, digests)
        return _scanned("grype", _of_grype(report)) if "matches" in report else _scanned("trivy", _of_trivy(report))
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}", hint=hint) from None
    except _Others:
        raise InvalidInput(f"{path} is no report of this image", hint=hint) from None
    except (ValueError, TypeError, AttributeError, KeyError):
        raise InvalidInput(f"{path} is no report of a scan", hint=hint) from None


class _Others(Exception):
    """A report tells of other images."""


def _of_ours(report: list[Any], digests: Sequence[Digest]) -> Scanned:
    scans = [one for one in report if not digests or str(one["image"]).endswith(tuple(map(str, digests)))]
    if not scans:
        raise _Others
    found = [Vulnerability(**one) for scan in scans for one in scan["vulnerabilities"]]
    return _scanned(str(scans[0]["scanner"]), found)


def _scanned(name: str, found: Iterable[Vulnerability]) -> Scanned:
    ordered = sorted(set(found), key=lambda one: (-_rank(one.severity), one.id, one.package, one.version))
    return Scanned(name, tuple(ordered))


def _command(name: str, where: str, plain_http: bool) -> list[str]:
    if name == "trivy":
        insecure = ["--insecure"] if plain_http else []
        return ["trivy", "image", "--quiet", "--format=json", "--scanners=vuln", "--image-src=remote", *insecure, where]
    return ["grype", "--quiet", "--output=json", f"registry:{where}"]


def _environment(name: str, plain_http: bool) -> dict[str, str]:
    return {"GRYPE_REGISTRY_INSECURE_USE_HTTP": "true"} if name == "grype" and plain_http else {}


def _of_trivy(report: Any) -> Iterator[Vulnerability]:
    if "Results" not in report and "SchemaVersion" not in report:
        raise ValueError("neither trivy nor grype writes this")
    for result in report.get("Results") or []:
        for one in result.get("Vulnerabilities") or []:
            yield _vulnerability(
                one["Severity"],
                one["VulnerabilityID"],
                one["PkgName"],
                one["InstalledVersion"],
                one.get("FixedVersion"),
            )


def _of_grype(report: Any) -> Iterator[Vulnerability]:
    for match in report["matches"]:
        known, package = match["vulnerability"], match["artifact"]
        fixed = ", ".join(str(one) for one in (known.get("fix") or {}).get("versions") or [])
        yield _vulnerability(known["severity"], known["id"], package["name"], package["version"], fixed)


def _vulnerability(severity: object, *texts: object) -> Vulnerability:
    identifier, package, version, fixed = (str(text or "")[:200] for text in texts)
    return Vulnerability(str(severity).lower(), identifier, package, version, fixed)


def _rank(severity: str) -> int:
    return SEVERITIES.index(severity) if severity in SEVERITIES else -1
