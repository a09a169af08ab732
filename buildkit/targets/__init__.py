"""The platforms that an image can be meant for: for each its rules, how it runs an image, and what it deploys from.

A platform's rules are the :class:`buildkit.checks.rule.Rule` values of its ``rules`` modules: whoever adds one there is done.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any

from buildkit.checks.rule import Rule
from buildkit.errors import InvalidInput
from buildkit.reading.checked import choice
from buildkit.reading.plain import shown
from buildkit.target_settings import full_name, names

_HERE = __name__


@dataclass(frozen=True)
class Target:
    """A platform in one of its modes.

    ``running`` is the dotted name ("module:value") of how it runs an image, and ``deploy`` of the function that writes what
    is applied next; both are imported only when they are needed. ``objects`` are the kinds of Kubernetes' objects that
    deploy on it, for files that hold several. ``artifacts`` tells that it takes what is no image, if only in some clusters.
    """

    platform: str
    mode: str
    title: str
    modules: tuple[str, ...]
    running: str
    deploy: str
    objects: tuple[str, ...] = ()
    artifacts: bool = False

    @property
    def name(self) -> str:
        """The platform with its mode after a colon, as a recipe or ``--target`` says it."""
        return f"{self.platform}:{self.mode}" if self.mode else self.platform

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """Every rule that holds in this mode, in the order of the platform's own list."""
        return tuple(rule for rule in rules_in(*self.modules) if rule.holds_in(self.mode))

    def document(self, only: str | None = None) -> dict[str, Any]:
        """The target with its rules, or only one of them, as a JSON document."""
        rules = [
            {
                "id": rule.id,
                "severity": rule.severity_in(self.mode).value,
                "kinds": rule.kinds.split(","),
                "title": rule.title,
                "do": rule.do,
                "source": rule.source,
                "beyond": rule.beyond,
            }
            for rule in self.rules
            if only in (None, rule.id)
        ]
        return {"name": self.name, "title": self.title, "rules": rules}

    def rule(self, id: str) -> Rule:
        """The rule of that id; raises KeyError."""
        return {rule.id: rule for rule in self.rules}[id]


def rules_in(*modules: str) -> Iterator[Rule]:
    """The rules that modules of this package define, each once."""
    found: dict[str, Rule] = {}
    for module in modules:
        for value in vars(import_module(f"{_HERE}.{module}")).values():
            if isinstance(value, Rule):
                found.setdefault(value.id, value)
    yield from found.values()


def load(dotted: str) -> Any:
    """What a dotted name ("module:value") stands for."""
    module, _, name = dotted.partition(":")
    return getattr(import_module(module), name)


def _target(
    platform: str, mode: str, title: str, modules: str, deploy: str, objects: str = "", artifacts: bool = False
) -> Target:
    running = f"{_HERE}.running:{f'{platform}_{mode}' if mode else platform}".replace("-", "_")
    return Target(
        platform, mode, title, tuple(modules.split()), running, f"{_HERE}.{deploy}", tuple(objects.split()), artifacts
    )


_SERVER = "universal server"

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        _target(
            "kserve",
            "modelcar",
            "KServe, oci://: a sidecar shares the model",
            "kserve.rules layouts vllm universal",
            "kserve.deploy:modelcar",
            "InferenceService",
        ),
        _target(
            "kserve",
            "native",
            "KServe, oci+native://: an image volume",
            "kserve.rules layouts vllm universal",
            "kserve.deploy:native",
            "InferenceService",
        ),
        _target(
            "kserve",
            "fetch",
            "KServe, oci+fetch://: the layers are downloaded",
            "kserve.rules layouts vllm universal",
            "kserve.deploy:fetch",
            "InferenceService",
        ),
        _target(
            "kubernetes",
            "",
            "Kubernetes: an image volume of a pod",
            "kubernetes.rules layouts universal",
            "kubernetes.deploy:pod",
            "Pod Deployment StatefulSet DaemonSet ReplicaSet Job CronJob",
            artifacts=True,
        ),
        _target(
            "oci-data-science",
            "",
            "OCI Data Science: model deployment, own container",
            f"oci_data_science.rules {_SERVER}",
            "oci_data_science.deploy:deployment",
        ),
        _target(
            "oci-data-science",
            "triton",
            "OCI Data Science: model deployment, Triton",
            f"oci_data_science.rules triton {_SERVER}",
            "oci_data_science.deploy:deployment",
        ),
        _target(
            "oci-genai",
            "",
            "OCI Generative AI: hosted deployment",
            f"oci_genai.rules {_SERVER}",
            "oci_genai.deploy:hosted",
        ),
        _target(
            "modelarts",
            "online",
            "Huawei ModelArts: real-time service",
            f"modelarts.rules {_SERVER}",
            "modelarts.deploy:config",
        ),
        _target(
            "modelarts",
            "batch",
            "Huawei ModelArts: batch service",
            "modelarts.rules universal",
            "modelarts.deploy:config",
        ),
        _target(
            "azureml",
            "v2",
            "Azure Machine Learning v2: managed online endpoint",
            f"azureml.rules {_SERVER}",
            "azureml.deploy:v2",
        ),
        _target(
            "azureml",
            "v1",
            "Azure Machine Learning v1: base image (out of support)",
            "azureml.rules universal",
            "azureml.deploy:v1",
        ),
        _target(
            "sagemaker", "", "AWS SageMaker: own container", f"sagemaker.rules {_SERVER}", "sagemaker.deploy:create"
        ),
        _target("vertex", "", "Google Vertex AI: custom container", f"vertex.rules {_SERVER}", "vertex.deploy:upload"),
    )
}
"""Every target by its full name."""

ANY_PLATFORM = Target("any platform", "", "What every platform that runs an image asks", ("universal",), "", "")
"""What a recipe is judged by for which nobody names a platform; it is none that one could run or deploy on."""


def target_named(name: str) -> Target:
    """The target of that name; a platform alone is its default mode. Raises InvalidInput with the names there are."""
    found = TARGETS.get(full_name(name))
    if found is None:
        raise InvalidInput(f"there is no target {shown(name)}", hint=choice(name, names(), "the targets are"))
    return found


def targets_of(id: str) -> list[Target]:
    """The targets in which a rule holds."""
    return [target for target in TARGETS.values() if any(rule.id == id for rule in target.rules)]


def rules_named(id: str) -> list[Rule]:
    """The rule of that id, in any spelling of its letters; none where it is no rule's id.

    Raises InvalidInput where it looks like an id, and there is no such rule.
    """
    found = {rule.id: rule for target in TARGETS.values() for rule in target.rules if rule.id == id.upper()}
    if not found and re.fullmatch(r"[A-Za-z]+-[0-9]+", id):
        raise InvalidInput(f"there is no rule {shown(id)}", hint="'modelpack targets TARGET' lists those of a target")
    return list(found.values())
