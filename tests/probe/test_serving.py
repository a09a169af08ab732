"""A server is asked what its platform asks: each way of breaking a rule is found under the rule's id, and only under it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from buildkit.probe import serving as asking
from buildkit.probe import stopping
from buildkit.probe.asked import Asked, samples_of
from buildkit.probe.server import Server
from buildkit.probe.session import Patience
from buildkit.probe.verdicts import Outcome
from buildkit.target_settings import SETTINGS
from buildkit.targets import load, target_named
from tests.probe.conftest import Serving

CHAT = [{"path": "/chat", "body": {"message": "hello"}}]
NEEDS: dict[str, dict[str, Any]] = {"oci-genai": {"samples": CHAT}, "modelarts": {"apis": [{"url": "/predict"}]}}
ODD = {"AIP_HEALTH_ROUTE": "/odd-health", "AIP_PREDICT_ROUTE": "/odd-predict"}


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def patience(self, *, fast: bool = False) -> Patience:
        return Patience(fast, self.sleep, lambda: self.now)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def server_of(name: str, **settings: Any) -> Server:
    target = target_named(name)
    said = {**NEEDS.get(target.platform, {}), **settings}
    read = SETTINGS[target.platform].model_validate({"name": name, **said})
    probes = load(target.running)(Asked(read, Path("/nowhere"), samples_of(read, Path())))
    return next(probe for probe in probes if isinstance(probe, Server))


def ask(server: Server, running: Any, patience: Patience | None = None) -> list[Outcome]:
    return list(asking.ask_everything(server, running, patience or Clock().patience()))


def broken(outcomes: list[Outcome]) -> set[str]:
    return {one.rule for one in outcomes if one.verdict == "failed"}


SERVERS = ("oci-data-science", "oci-genai", "modelarts:online", "azureml:v2", "sagemaker", "vertex")


@pytest.mark.parametrize("target", SERVERS)
def test_a_right_server_breaks_nothing(serving: Serving, target: str) -> None:
    """A false alarm stops an image that its platform would have taken."""
    outcomes = ask(server_of(target), serving(environment=ODD))
    assert [one for one in outcomes if one.verdict != "passed" and one.rule != "VL-01"] == []


@pytest.mark.parametrize(
    ("target", "fault", "rules"),
    [
        ("oci-data-science", "redirect", {"ODS-02", "UNI-09"}),
        ("oci-data-science", "early", {"ODS-02"}),
        ("oci-data-science", "health 204", {"ODS-01"}),
        ("oci-genai", "early", {"OGH-03"}),
        ("oci-genai", "plain health", {"OGH-03", "OGH-04"}),
        ("oci-genai", "no events", {"OGH-05"}),
        ("oci-genai", "events as text", {"OGH-05"}),
        ("oci-genai", "redirect", {"OGH-05", "UNI-09"}),
        ("modelarts:online", "redirect", {"MA-06", "UNI-09"}),
        ("azureml:v2", "early", {"AZ2-02"}),
        ("azureml:v2", "redirect", {"AZ2-02", "UNI-09"}),
        ("sagemaker", "early", {"SM-02"}),
        ("sagemaker", "redirect", {"SM-03", "UNI-09"}),
        ("vertex", "no predictions", {"VX-05"}),
        ("vertex", "early", {"VX-04"}),
    ],
)
def test_a_broken_server_is_found_by_its_rule(serving: Serving, target: str, fault: str, rules: set[str]) -> None:
    """What is not found here is found by the platform, after the image was pushed and deployed."""
    assert broken(ask(server_of(target), serving(fault, ODD))) == rules


@pytest.mark.parametrize(
    ("target", "rule"), [("oci-data-science", "ODS-05"), ("oci-genai", "OGH-02"), ("vertex", "VX-02")]
)
def test_a_server_on_127_0_0_1_is_told_even_where_the_engine_lets_it_be_reached(
    serving: Serving, target: str, rule: str
) -> None:
    """Rootless engines may forward to a container's own loopback: what answers here would be deaf on the platform."""
    outcomes = ask(server_of(target), serving(environment=ODD, address="0100007F"))
    assert broken(outcomes) == {rule}
    assert "127.0.0.1:8080" in next(one.answer for one in outcomes if one.rule == rule)


def test_a_server_of_ipv6_alone_is_told(serving: Serving) -> None:
    """It listens on all addresses of IPv6, the table looks right, and every platform asks 0.0.0.0."""
    running = serving(address="0" * 32)
    running.server.shutdown()
    running.server.server_close()
    clock = Clock()
    outcomes = ask(server_of("oci-data-science"), running, clock.patience())
    assert broken(outcomes) == {"ODS-01", "ODS-05", "ODS-14"}
    assert "takes no connection of IPv4" in next(one.answer for one in outcomes if one.rule == "ODS-05")
    assert clock.now < 60
    assert broken(ask(server_of("oci-data-science"), serving(address="0" * 32))) == set()


def test_a_server_that_was_never_ready_gets_no_request_at_its_end(serving: Serving) -> None:
    """A request that nobody answered before says nothing about how the server ends."""
    outcomes = list(stopping.end(server_of("oci-data-science"), serving(), Clock().patience(), ready=False))
    assert [(one.rule, one.verdict) for one in outcomes] == [("UNI-08", "passed")]
    assert not any(one.verdict == "noted" for one in outcomes)


def test_a_server_that_reads_no_variables_is_told_so(serving: Serving) -> None:
    """Vertex asks the routes that it sets; one that serves /health instead is never healthy, and must know why."""
    outcomes = ask(server_of("vertex"), serving("ignores the variables", ODD))
    assert broken(outcomes) == {"VX-06", "VX-04"}
    assert "VX-03" in {one.rule for one in outcomes if one.verdict == "passed"}
    hint = next(one.hint for one in outcomes if one.rule == "VX-04")
    assert "answer GET /odd-health with 200" in hint and "listens on" not in hint
    assert "/health answers 200" in next(one.answer for one in outcomes if one.rule == "VX-06")


def test_a_port_that_takes_no_connection_in_time_is_told(serving: Serving) -> None:
    """Vertex gives up after four tries, and starts the container again while it still loads its model."""
    running = serving(environment=ODD, address="0100007F")
    running.server.shutdown()
    running.server.server_close()
    assert broken(ask(server_of("vertex"), running)) == {"VX-02", "VX-03", "VX-04"}


def test_what_could_not_be_asked_is_told_as_not_asked(serving: Serving) -> None:
    """A rule that is silently left out reads like a rule that was kept."""
    outcomes = ask(server_of("oci-data-science"), serving(container_port=9000))
    assert broken(outcomes) == {"ODS-01", "ODS-05", "ODS-14"}
    assert {one.rule for one in outcomes if one.verdict == "not asked"} >= {"ODS-02", "ODS-06", "ODS-15", "UNI-09"}
    assert "0.0.0.0:9000" in next(one.hint for one in outcomes if one.rule == "ODS-14")


@pytest.mark.parametrize(("fault", "rules"), [("", set()), ("redirect", {"OGH-05", "UNI-09"}), ("early", {"OGH-03"})])
def test_without_a_sample_the_usual_paths_are_tried(serving: Serving, fault: str, rules: set[str]) -> None:
    """Nobody declared what it serves: what it serves at /predict must be right all the same."""
    assert broken(ask(server_of("oci-genai", samples=[]), serving(fault))) == rules


def test_a_default_body_that_is_not_taken_is_a_note(serving: Serving) -> None:
    """Nobody said what the server takes: that it refuses {} is no fault of the image."""
    outcomes = ask(server_of("oci-data-science"), serving("picky"))
    assert broken(outcomes) == set()
    assert [one.verdict for one in outcomes if one.rule == "ODS-02"].count("noted") == 1


def test_a_declared_body_that_is_not_taken_breaks_the_rule(serving: Serving) -> None:
    """A sample that a person wrote down must be answered."""
    server = server_of("oci-data-science", samples=[{"body": {"wrong": 1}}])
    assert broken(ask(server, serving("picky"))) == {"ODS-02"}


def test_health_must_answer_while_a_prediction_is_under_way(serving: Serving) -> None:
    """A server with one thread is restarted by its platform in the middle of its work."""
    server = server_of("oci-data-science")
    quick = replace(server, busy=replace(server.busy, seconds=0.3)) if server.busy else server
    assert broken(ask(quick, serving("busy"))) == {"ODS-15"}


def test_a_log_that_goes_to_a_file_is_told(serving: Serving) -> None:
    """ModelArts shows standard output: what a server writes into a file nobody ever reads."""
    assert broken(ask(server_of("modelarts:online"), serving(written=("/var/log/app.log",)))) == {"MA-08"}


def test_tritons_models_are_asked_one_by_one(serving: Serving) -> None:
    """Triton may be ready while a model of it is not."""
    outcomes = ask(server_of("oci-data-science:triton"), serving(container_port=8000))
    assert broken(outcomes) == set()
    assert "GET /v2/models/m/ready" in {one.asked for one in outcomes}


def test_a_server_that_hears_sigterm_ends(serving: Serving) -> None:
    """The right server must not be told off for ending."""
    running = serving()
    outcomes = list(stopping.end(server_of("oci-data-science"), running, Clock().patience()))
    assert [one.verdict for one in outcomes] == ["passed"]
    assert running.signals == ["TERM"]


@pytest.mark.parametrize(
    ("target", "rule"), [("oci-data-science", "UNI-08"), ("sagemaker", "SM-04"), ("modelarts:online", "MA-12")]
)
def test_a_server_that_ignores_sigterm_is_told(serving: Serving, target: str, rule: str) -> None:
    """It is killed in the middle of its requests whenever the platform moves it."""
    running = serving(obeys=False, hears=False)
    outcomes = list(stopping.end(server_of(target), running, Clock().patience(fast=True)))
    assert broken(outcomes) == {rule}
    assert "process 1 does not listen" in outcomes[-1].answer


def test_fast_does_not_condemn_a_server_that_may_be_finishing(serving: Serving) -> None:
    """Shorter waits must not make another rule."""
    running = serving(obeys=False, hears=True)
    outcomes = list(stopping.end(server_of("modelarts:online"), running, Clock().patience(fast=True)))
    assert {one.verdict for one in outcomes} == {"not asked"}
    slow = list(stopping.end(server_of("modelarts:online"), running, Clock().patience()))
    assert broken(slow) == {"MA-12"}


def test_triton_serves_what_is_mounted_or_what_the_image_has(tmp_path: Path) -> None:
    """An image with its models in it is started over an empty mount, and judged as if it did not work."""
    target = target_named("oci-data-science:triton")
    settings = SETTINGS[target.platform].model_validate({"name": target.name})

    def command() -> tuple[str, ...]:
        (probe,) = load(target.running)(Asked(settings, tmp_path, ()))
        return tuple(probe.container.arguments)

    assert command() == ()
    (tmp_path / "model_repository").mkdir()
    assert command()[-1] == "--model-repository=/opt/ds/model/deployed_model/model_repository"
