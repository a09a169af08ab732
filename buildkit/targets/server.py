"""The rules that hold wherever a container serves."""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildkit.checks.rule import ERROR, WARNING, Found, probed, rule
from buildkit.checks.subject import Subject
from buildkit.process import variables
from buildkit.target_settings import ServerSettings
from buildkit.targets.reading import command, ports_asked
from buildkit.targets.sources import PRACTICE, VLLM

ENDS = probed(
    "UNI-08",
    WARNING,
    "SIGTERM ends the container within 30 s",
    source=PRACTICE,
    do="start the server in exec form, so that it is process 1 and hears the signal",
)
NO_REDIRECT = probed(
    "UNI-09",
    WARNING,
    "no probe or scoring path answers with a redirect (3xx)",
    source=PRACTICE,
    do="serve exactly the path that is asked, with and without a last slash told apart",
)
VLLM_SERVES = probed(
    "VL-01",
    ERROR,
    "a vLLM server answers GET /health, GET /v1/models, POST /v1/completions and /v1/chat/completions",
    source=VLLM,
    do="start vllm serve with the model's folder, and the port of the target",
)


def port_of(subject: Subject) -> int:
    """The port that the target expects; Triton has its own."""
    if subject.mode == "triton" and "port" not in subject.settings.model_fields_set:
        return 8000
    return subject.settings.port if isinstance(subject.settings, ServerSettings) else 8080


@rule(
    "UNI-03",
    "I",
    WARNING,
    "the port that the image names is the target's",
    source=PRACTICE,
    do="EXPOSE the port that the server listens on, and say another one as 'port' of the recipe's target",
)
def exposed(subject: Subject) -> Iterator[Found]:
    """An image that exposes nothing, or the right port among others, is fine."""
    ports = sorted(subject.process.get("ExposedPorts") or ())
    if ports and f"{port_of(subject)}/tcp" not in [port if "/" in port else f"{port}/tcp" for port in ports]:
        yield Found("ExposedPorts", f"has {', '.join(ports)}, and the target asks on {port_of(subject)}")
    if subject.settings.platform != "oci-data-science":
        named = ports_asked(subject, variables(subject.process))
        if named and port_of(subject) not in named:
            yield Found(
                "Entrypoint and Cmd", f"say {', '.join(named.values())}, and the target asks on {port_of(subject)}"
            )


@rule(
    "UNI-05",
    "I",
    WARNING,
    "the container does not run as root",
    source=PRACTICE,
    do="add USER 1001 (SageMaker alone expects root)",
)
def not_root(subject: Subject) -> Iterator[Found]:
    """The image's User; SageMaker has a rule of its own."""
    user = str(subject.process.get("User") or "").partition(":")[0]
    if user in ("", "0", "root") and subject.settings.platform != "sagemaker":
        yield Found("User", "is root")


@rule(
    "VL-03",
    "I,P",
    WARNING,
    "a vLLM server may run as any user: HOME and its caches can be written",
    source=VLLM,
    do="set HOME=/tmp HF_HOME=/tmp/hf VLLM_CONFIG_ROOT=/tmp USER=vllm",
)
def vllm_home(subject: Subject) -> Iterator[Found]:
    """Only where the command starts vLLM."""
    entrypoint, cmd = command(subject)
    environment = variables(subject.process)
    if re.search(r"\bvllm\b", " ".join([*entrypoint, *cmd])) and not environment.get("HOME", "").startswith("/tmp"):  # noqa: S108 - in a container
        yield Found("Env", f"HOME is {environment.get('HOME') or 'not set'}, where a random user may not write")
