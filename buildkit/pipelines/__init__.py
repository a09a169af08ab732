"""Scheduled pipelines of CI systems that keep a fleet current: one template for each system.

The actions are pinned to commits, which were read from the actions' own repositories at the tags behind them.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from buildkit import __version__
from buildkit.errors import InvalidInput
from buildkit.reading.plain import shown
from buildkit.registries.auth import variable_stem
from buildkit.registry_hosts import ACR, ARTIFACT_REGISTRY, ECR, GCR, GHCR

SYSTEMS: Mapping[str, str] = {
    "github": ".github/workflows/modelpack.yml",
    "gitlab": ".gitlab-ci.yml",
    "tekton": "modelpack-tekton.yaml",
    "oci-devops": "build_spec.yaml",
    "cron": "modelpack-cron.sh",
}
"""The systems, with the place where each expects its file."""

_TEMPLATES = {
    "github": "github.yml.j2",
    "gitlab": "gitlab.yml.j2",
    "tekton": "tekton.yml.j2",
    "oci-devops": "oci-devops.yml.j2",
    "cron": "cron.sh.j2",
}
_PINS = {
    "checkout": "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1",
    "python": "actions/setup-python@5fda3b95a4ea91299a34e894583c3862153e4b97 # v7.0.0",
    "cache": "actions/cache@27d5ce7f107fe9357f9df03efb73ab90386fccae # v5.0.5",
    "upload": "actions/upload-artifact@bbbca2ddaa5d8feaa63e36b76fdaad77386f024f # v7.0.0",
    "download": "actions/download-artifact@3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c # v8.0.1",
    "aws": "aws-actions/configure-aws-credentials@e6de054238d6b7531b4efff3b6587d9aade6a06c # v6.2.3",
    "google": "google-github-actions/auth@7c6bc770dae815cd3e89ee6cdf493a5fab2cc093 # v3.0.0",
    "azure": "Azure/login@f5d393ae46f8fde4be8b75f32e3fc50e654ad0ca # v3.0.1",
}
_SORTS = (("ecr", ECR), ("gar", ARTIFACT_REGISTRY), ("gar", GCR), ("ghcr", GHCR), ("acr", ACR))
_CRON_FIELD = re.compile(r"[\d*/,A-Za-z-]+")


@dataclass(frozen=True)
class Host:
    """A registry's host, how one logs in there (``ghcr``, ``ecr``, ``gar``, ``acr``, ``other``), and its variables' stem."""

    name: str
    sort: str
    stem: str
    region: str = ""

    @classmethod
    def of(cls, name: str) -> Host:
        """The host by its name."""
        stem = f"MODELPACK_{variable_stem(name)}"
        found = ECR.fullmatch(name)
        region = found["region"] if found else ""
        return cls(name, next((sort for sort, theirs in _SORTS if theirs.fullmatch(name)), "other"), stem, region)


@dataclass(frozen=True)
class Wanted:
    """What a pipeline is for: the fleet's ``folder`` in its repository, when it runs (cron's five fields, UTC), and whether
    new locks are committed at once or proposed."""

    folder: str = "."
    schedule: str = "17 3 * * *"
    commit: bool = False
    jobs: int = 4
    requirement: str = f"modelpack-build=={__version__}"


def pipeline(system: str, wanted: Wanted, hosts: Iterable[str]) -> str:
    """The file for a system; raises InvalidInput for a system that is not known and a schedule that is none."""
    if system not in SYSTEMS:
        raise InvalidInput(f"there is no system {shown(system)}", hint=f"the systems are: {', '.join(SYSTEMS)}")
    fields = wanted.schedule.split()
    if len(fields) != 5 or not all(_CRON_FIELD.fullmatch(field) for field in fields):
        raise InvalidInput(f"{shown(wanted.schedule)} is no schedule", hint="write cron's five fields: '17 3 * * *'")
    known = [Host.of(name) for name in sorted(set(hosts))]
    values = {
        "folder": wanted.folder,
        "schedule": " ".join(fields),
        "commit": wanted.commit,
        "jobs": wanted.jobs,
        "requirement": wanted.requirement,
        "hosts": known,
        "pins": _PINS,
        "secrets": _secrets(known, system),
    }
    if system == "gitlab":
        values["child"] = _render("gitlab-child.yml.j2", values)
    return _render(_TEMPLATES[system], values)


def _secrets(hosts: Sequence[Host], system: str) -> list[str]:
    """The names of the variables that somebody has to set: those of the registries that give the CI no identity."""
    own = {"github": ("ghcr", "ecr", "gar", "acr")}.get(system, ())
    wanting = [host for host in hosts if host.sort not in own and not (system == "gitlab" and _is_gitlab(host))]
    return [f"{host.stem}_{part}" for host in wanting for part in ("USERNAME", "PASSWORD")]


def _is_gitlab(host: Host) -> bool:
    return host.name.endswith("gitlab.com")


def _render(template: str, values: Mapping[str, object]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # The systems' own expressions have braces. What is filled in is YAML by tojson and a shell's word by shell.
    environment = Environment(  # noqa: S701 - it is no HTML
        loader=PackageLoader("buildkit.pipelines", ""),
        undefined=StrictUndefined,
        block_start_string="[%",
        block_end_string="%]",
        variable_start_string="[[",
        variable_end_string="]]",
        comment_start_string="[#",
        comment_end_string="#]",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["shell"] = lambda text: shlex.quote(str(text))
    text = environment.get_template(template).render(values)
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"\n\n+(?=      |        )", "\n", text))
