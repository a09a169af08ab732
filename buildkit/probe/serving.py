"""All that a platform asks of a server, in its order: the start, the samples, the probes, and the probes while it is busy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from buildkit.oci.parsing import parse
from buildkit.probe.asking import JSON, Answer, Ask, ask
from buildkit.probe.busy import while_busy
from buildkit.probe.readiness import Waited, ended
from buildkit.probe.samples import Hear, guessed, sampled
from buildkit.probe.session import Patience, Running
from buildkit.probe.verdicts import Outcome, broken, passed, unasked

if TYPE_CHECKING:
    from buildkit.probe.server import Route, Server


def ask_everything(server: Server, running: Running, patience: Patience) -> Iterator[Outcome]:
    """Waits until the server is ready, then asks all that its platform asks of it."""
    began = patience.clock()
    waited = Waited(server, running, patience)
    yield from waited.outcomes(patience.clock() - began)
    if not waited.ready:
        port = running.published(server.port)
        if server.told_routes and port and not waited.ended:
            yield _told_routes(server.told_routes, port)
        connects = server.connects.rule if server.connects else ""
        said = {server.start.rule, server.ready.rule, server.stays, server.listens, connects, server.told_routes}
        yield from nothing_asked(server, "the server never became ready", said)
        return
    server = guessed(server, running)
    heard: list[tuple[Ask, Answer]] = []
    yield from _questions(server, running, patience, heard)
    yield _redirected(server, heard)
    if server.latency and server.samples:
        yield _in_time(server, heard)
    if server.told_routes:
        yield passed(server.told_routes, "the routes of the variables", f"it serves {server.ready.path}")
    if server.stays:
        yield _stays(server, running)
    if server.logs:
        yield _logs_to_files(server, running)


def _questions(
    server: Server, running: Running, patience: Patience, heard: list[tuple[Ask, Answer]]
) -> Iterator[Outcome]:

    def hear(question: Ask, port: int = 0) -> Answer:
        answer = ask(running.published(port or server.port) or 0, question)
        heard.append((question, answer))
        return answer

    # The samples come first: what matters is whether it can answer in the moment in which it says so.
    for sample in server.samples:
        yield from sampled(server, sample, hear, patience)
    if not server.samples:
        yield from (
            unasked(rule, "a sample", "no sample is declared", server.without_sample) for rule in _sample_rules(server)
        )
    for route in _routes(server):
        yield judged(route, hear(route.question, route.port))
    if server.busy and server.samples:
        yield while_busy(server, server.busy, running)
    for rule, words in server.inside:
        yield _inside(rule, words, running)
    if server.models:
        yield from _models(server.models, hear)
    if server.openai:
        yield _openai(server.openai, hear)


def judged(route: Route, answer: Answer) -> Outcome:
    """Whether a probe's answer is what the platform takes for well."""
    asked = str(route.question)
    if answer.redirects:
        return broken(route.rule, asked, str(answer), "answer at this very path: platforms follow no redirect")
    if not answer.good or (route.only_200 and answer.status != 200):
        return broken(route.rule, asked, str(answer), f"answer with {'200' if route.only_200 else '2xx'}")
    if route.media_type and answer.media_type != route.media_type:
        return broken(route.rule, asked, str(answer), f"send Content-Type: {route.media_type}")
    return passed(route.rule, asked, str(answer))


def _inside(rule: str, words: tuple[str, ...], running: Running) -> Outcome:
    """Runs in the container what the platform runs there."""
    done = running.inside(*words, seconds=10)
    asked = f"in the container: {' '.join(words)}"
    if done.code == 0:
        return passed(rule, asked, "exit code 0")
    said = done.said.strip().splitlines()
    hint = f"install {words[0]} in the image" if done.code in (126, 127) or "not found" in done.said else ""
    return broken(rule, asked, f"exit code {done.code}{': ' + said[-1] if said else ''}", hint)


def _models(rule: str, hear: Hear) -> Iterator[Outcome]:
    """Triton's own list of its models, and whether each is ready (KServe protocol v2, Triton's repository extension)."""
    index = Ask("POST", "/v2/repository/index", 10, b"{}", JSON)
    answer = hear(index)
    try:
        names = sorted({str(one["name"]) for one in parse(answer.body)}) if answer.good else []
    except (ValueError, KeyError, TypeError):
        names = []
    if not names:
        yield broken(rule, str(index), f"{answer}, without a model", "put a model into the repository that is served")
    for name in names:
        question = Ask("GET", f"/v2/models/{name}/ready", 10)
        answer = hear(question)
        yield (
            passed(rule, str(question), str(answer))
            if answer.status == 200
            else broken(rule, str(question), str(answer), "see what the server printed, below")
        )


def _openai(rule: str, hear: Hear) -> Outcome:
    """Whether a server that lists models as vLLM does lists one."""
    question = Ask("GET", "/v1/models", 10)
    answer = hear(question)
    if not answer.good:
        return unasked(rule, str(question), f"it is no vLLM: {answer}")
    try:
        names = [str(one["id"]) for one in parse(answer.body)["data"]]
    except (ValueError, KeyError, TypeError):
        names = []
    if names:
        return passed(rule, str(question), ", ".join(names))
    return broken(rule, str(question), f"{answer}, without a model", "give the server a model and --served-model-name")


def _redirected(server: Server, heard: list[tuple[Ask, Answer]]) -> Outcome:
    found = [f"{question}: {answer}" for question, answer in heard if answer.redirects]
    asked = "no answer redirects"
    if found:
        return broken(server.redirects, asked, "; ".join(dict.fromkeys(found)), "answer at the very path that is asked")
    return passed(server.redirects, asked, f"none of {len(heard)} answers")


def _in_time(server: Server, heard: list[tuple[Ask, Answer]]) -> Outcome:
    paths = {sample.path for sample in server.samples}
    slowest = max((answer.seconds for question, answer in heard if question.path in paths), default=0.0)
    asked, answer = f"every sample within {server.latency_seconds:g} s", f"the slowest took {slowest:.1f} s"
    if slowest <= server.latency_seconds:
        return passed(server.latency, asked, answer)
    return broken(server.latency, asked, answer, "answer sooner, or raise the platform's limit where it has one")


def _told_routes(rule: str, port: int) -> Outcome:
    """A server that did not become ready at the route that it was told: whether it serves one of its own."""
    asked = "the routes of the variables"
    usual = {path: ask(port, Ask("GET", path, 5)) for path in ("/health", "/healthz", "/ping", "/ready", "/")}
    own = [f"{path} answers {answer.status}" for path, answer in usual.items() if answer.good]
    if own:
        return broken(
            rule, asked, f"not that of the variable, but {', '.join(own)}", "read the routes from AIP_ variables"
        )
    return unasked(rule, asked, "the server never became ready")


def _stays(server: Server, running: Running) -> Outcome:
    asked = "the first process stays"
    if running.state().running:
        return passed(server.stays, asked, "it still runs after everything was asked")
    return broken(server.stays, asked, ended(running), "see what it printed, below")


def _logs_to_files(server: Server, running: Running) -> Outcome:
    written = [path for path in running.changes() if path.endswith((".log", ".out", ".err"))]
    asked = "logs go to the standard output"
    if written:
        return broken(server.logs, asked, f"it writes {', '.join(written[:5])}", "log to stdout and stderr")
    return passed(server.logs, asked, "no file was written that is called a log")


def _routes(server: Server) -> list[Route]:
    return [server.ready, *([server.alive] if server.alive else [])]


def _sample_rules(server: Server) -> list[str]:
    busy = server.busy.rule if server.busy else ""
    return [rule for rule in dict.fromkeys((server.early, server.streams, busy)) if rule]


def nothing_asked(server: Server, why: str, said: set[str]) -> Iterator[Outcome]:
    """What could not be asked of a server, but for the rules of which something was said."""
    alive = [server.alive.rule] if server.alive else []
    samples = [sample.rule for sample in server.samples]
    inside = [rule for rule, _ in server.inside]
    rules = [
        *alive,
        *samples,
        *_sample_rules(server),
        server.redirects,
        server.models,
        *inside,
        server.latency,
        server.logs,
        server.openai,
        server.start.rule,
        server.ready.rule,
        server.stays,
        server.listens,
        server.connects.rule if server.connects else "",
        server.told_routes,
    ]
    for rule in dict.fromkeys(rule for rule in rules if rule and rule not in said):
        yield unasked(rule, "", why)
