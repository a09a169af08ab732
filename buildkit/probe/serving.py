"""Waiting for a server, and asking it: the start, the probes, the samples, and the probes while it is busy."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from buildkit.probe.asking import EVENTS, JSON, Answer, Ask, ask
from buildkit.probe.inspected import Listening, listening
from buildkit.probe.session import Patience, Running
from buildkit.probe.verdicts import Outcome, broken, noted, passed, unasked

if TYPE_CHECKING:
    from buildkit.probe.server import Limit, Route, Sample, Server

_SETTLING_SECONDS = 30.0
"""How long a server that says it is ready may go on failing before its failure counts as its answer."""

_THOROUGH = 4
_NOBODY_TELLS = "the container has no 'cat', so nobody can tell what it listens on"


def ask_everything(server: Server, running: Running, patience: Patience) -> Iterator[Outcome]:
    """Waits until the server is ready, then asks all that its platform asks of it."""
    began = patience.clock()
    waited = _Waited(server, running, patience)
    yield from waited.outcomes(patience.clock() - began)
    if not waited.ready:
        port = running.published(server.port)
        if server.told_routes and port and not waited.ended:
            yield _told_routes(server.told_routes, port)
        said = {server.start.rule, server.ready.rule, server.stays, server.listens, server.told_routes}
        yield from nothing_asked(server, "the server never became ready", said)
        return
    server = _guessed(server, running)
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
        yield from _sampled(server, sample, hear, patience)
    if not server.samples:
        yield from (
            unasked(rule, "a sample", "no sample is declared", server.without_sample) for rule in _sample_rules(server)
        )
    for route in _routes(server):
        yield judged(route, hear(route.question, route.port))
    if server.busy and server.samples:
        yield _while_busy(server, server.busy, running)
    for rule, words in server.inside:
        yield _inside(rule, words, running)
    if server.models:
        yield from _models(server.models, hear)
    if server.openai:
        yield _openai(server.openai, hear)


def _guessed(server: Server, running: Running) -> Server:
    """The server with a sample at the first usual path that it serves, where a person declared none."""
    if server.samples or server.guesses is None:
        return server
    port = running.published(server.port) or 0
    for path in _USUAL_PATHS:
        sample = replace(server.guesses, path=path)
        if ask(port, sample.question).status not in (0, 404, 405, 501):
            return replace(server, samples=(sample,))
    return server


_USUAL_PATHS = ("/predict", "/chat", "/invoke", "/invocations", "/generate", "/v1/chat/completions", "/")


class _Waited:
    """What happened until the server was ready, or until patience ended."""

    def __init__(self, server: Server, running: Running, patience: Patience) -> None:
        self._server, self._running, self._patience = server, running, patience
        self.refusals: dict[str, None] = {}
        self.ready = False
        self.ended = False
        self._hopeless_since: float | None = None
        self._hopeless = False
        self._answered = False
        self._polls = 0
        self.limit = patience.start(server.start.seconds)
        patience.until(self._is_decided, self.limit)

    def _is_decided(self) -> bool:
        """Ready, or never to be: it ended, or it has answered for long what it will go on to answer."""
        # The engine is asked less often than the server: it takes ten times as long to answer.
        thorough = self._polls % _THOROUGH == 0
        self._polls += 1
        port = self._running.published(self._server.ready.port or self._server.port)
        if port:
            answer = ask(port, self._server.ready.question)
            # Whatever is wrong with a 2xx (its content type) is judged later: this is the moment it calls itself ready.
            self.ready = answer.good
            if answer.status or thorough:
                self._hopeless = 300 <= answer.status < 500 or (not answer.status and self._hears_itself_only())
            self._answered = bool(answer.status)
            if not self.ready:
                self.refusals[str(answer) if not answer.status else f"{answer.status} {answer.location}".strip()] = None
        if not self.ready and thorough:
            self.ended = not self._running.state().running
        return self.ready or self.ended or self._for_long()

    def _hears_itself_only(self) -> bool:
        """Whether it listens on the port, and not where a question that got no answer came from."""
        sockets = [one for one in listening(self._running) or () if one.port == self._server.port]
        return bool(sockets) and all(one.only_here or one.is_six for one in sockets)

    def _for_long(self) -> bool:
        """Whether it has stood like this for as long as a start may take that goes through it."""
        if not self._hopeless:
            self._hopeless_since = None
            return False
        now = self._patience.clock()
        self._hopeless_since = now if self._hopeless_since is None else self._hopeless_since
        return now - self._hopeless_since >= self._patience.stop(_SETTLING_SECONDS)

    def outcomes(self, seconds: float) -> Iterator[Outcome]:
        """For the start, for the route, and for what it listens on."""
        server, asked = self._server, f"GET {self._server.ready.path} until it is ready"
        before = f"; before: {', '.join(list(self.refusals)[-4:])}" if self.refusals else ""
        sockets = None if self.ended else listening(self._running)
        if self.ready:
            yield passed(server.start.rule, asked, f"after {seconds:.1f} s{before}")
        else:
            # A platform knows no more than that its question was not answered: the route and the time are both broken.
            waited = min(seconds, self.limit)
            why = _ended(self._running) if self.ended else f"not within {waited:.0f} s{before}"
            hint = "see what it printed, below" if self.ended else _where_instead(server, sockets)
            yield broken(server.ready.rule, f"GET {server.ready.path}", why, hint)
            if server.start.rule != server.ready.rule:
                yield broken(server.start.rule, asked, why, hint)
            if self.ended and server.stays:
                yield broken(server.stays, "the first process stays", why, hint)
        if server.listens and not self.ended:
            yield _listens(server, sockets, self.ready, self._answered)


def _ended(running: Running) -> str:
    state = running.state()
    return f"it ended with code {state.code}" + (", out of memory" if state.out_of_memory else "")


def _where_instead(server: Server, sockets: tuple[Listening, ...] | None) -> str:
    if sockets is None:
        return ""
    told = ", ".join(map(str, sockets)) or "nothing"
    return f"the platform asks port {server.ready.port or server.port}; the container listens on {told}"


def _listens(server: Server, sockets: tuple[Listening, ...] | None, ready: bool, answered: bool) -> Outcome:
    port, asked = server.port, f"listens on 0.0.0.0:{server.port}"
    if sockets is None:
        return (
            passed(server.listens, asked, "it answers from outside")
            if ready
            else unasked(server.listens, asked, _NOBODY_TELLS)
        )
    told = ", ".join(map(str, sockets)) or "nothing"
    open_to_all = [one for one in sockets if one.port == port and not one.only_here]
    if open_to_all and not answered and all(one.is_six for one in open_to_all):
        return broken(server.listens, asked, f"it listens on {told}, and takes no connection of IPv4", "bind 0.0.0.0")
    if open_to_all:
        return passed(server.listens, asked, told)
    return broken(server.listens, asked, f"it listens on {told}", f"bind the server to 0.0.0.0, port {port}")


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


def _sampled(server: Server, sample: Sample, hear: Callable[[Ask], Answer], patience: Patience) -> Iterator[Outcome]:
    """Asks in the moment in which the server says it is ready; if it fails then and not later, it said so too early."""
    first = answer = hear(sample.question)
    if _may_recover(first):
        settled: list[Answer] = []

        def answered() -> bool:
            settled.append(hear(sample.question))
            return not _may_recover(settled[-1])

        patience.until(answered, patience.stop(_SETTLING_SECONDS))
        answer = settled[-1]
    if server.early:
        yield _early(server, sample, first, answer)
    outcome = _sample_judged(sample, answer)
    yield outcome
    if server.streams:
        yield _stream(server.streams, sample, hear, outcome)


def _may_recover(answer: Answer) -> bool:
    """Whether another answer may come when the server has gone on with its start."""
    return answer.status in (0, 404) or answer.status >= 500


def _early(server: Server, sample: Sample, first: Answer, later: Answer) -> Outcome:
    asked = f"{sample.question}, as soon as {server.ready.path} answers 2xx"
    if _may_recover(first) and not _may_recover(later):
        return broken(
            server.early,
            asked,
            f"{first}; later {later}",
            f"answer {server.ready.path} with 503 until the model is loaded",
        )
    return passed(server.early, asked, str(first)) if first.good else unasked(server.early, asked, str(later))


def _sample_judged(sample: Sample, answer: Answer) -> Outcome:
    asked = str(sample.question)
    if answer.redirects:
        return broken(sample.rule, asked, str(answer), f"answer at {sample.path} itself: platforms follow no redirect")
    if answer.good:
        return _predicted(sample, answer) if sample.prediction else passed(sample.rule, asked, str(answer))
    client = 400 <= answer.status < 500 and answer.status not in (404, 405)
    if client and not sample.declared:
        hint = "it answers, and does not take the default body {}: declare a sample that it takes"
        return noted(sample.rule, asked, str(answer), hint)
    return broken(sample.rule, asked, f"{answer}{_excerpt(answer)}", _advice(sample, answer))


def _excerpt(answer: Answer) -> str:
    """What the server said of its failure, in short."""
    lines = answer.body[:2000].decode(errors="replace").strip().splitlines()
    return f": {lines[-1][:200]}" if lines and answer.status else ""


def _advice(sample: Sample, answer: Answer) -> str:
    if answer.status in (404, 405):
        return f"serve {sample.method} {sample.path}"
    if not sample.declared:
        return "the body was {}, for want of a sample: if that is the reason, declare one"
    return "see what the server printed, below" if answer.status >= 500 or not answer.status else ""


def _predicted(sample: Sample, answer: Answer) -> Outcome:
    """Vertex' form: as many predictions as instances."""
    asked = str(sample.question)
    try:
        content, sent = json.loads(answer.body), json.loads(sample.body)
        count, wanted = len(content["predictions"]), len(sent.get("instances", []))
    except (ValueError, KeyError, TypeError, AttributeError):
        return broken(sample.rule, asked, f"{answer}, without predictions", 'answer {"predictions": [...]}')
    if count != wanted:
        return broken(
            sample.rule, asked, f"{count} predictions for {wanted} instances", "answer one prediction per instance"
        )
    return passed(sample.rule, asked, str(answer))


def _stream(rule: str, sample: Sample, hear: Callable[[Ask], Answer], before: Outcome) -> Outcome:
    """The two forms of one endpoint: events where they are asked for, JSON otherwise."""
    plain, events = sample.question.accepting(JSON), sample.question.accepting(EVENTS)
    asked = f"{events}, and {JSON}"
    if before.verdict != "passed":
        return unasked(rule, asked, "the sample itself was not answered with 2xx")
    for question, media_type in ((plain, JSON), (events, EVENTS)):
        answer = hear(question)
        if not answer.good or answer.media_type != media_type:
            return broken(rule, str(question), str(answer), f"with 'Accept: {media_type}' answer {media_type}")
    begins = answer.body.lstrip(b"\xef\xbb\xbf\r\n")[:6]
    if not begins.startswith((b"data:", b"event:", b"id:", b"retry:", b":", b"data\n")):
        return broken(
            rule, str(events), f"{answer}, but no event in it", "write events as 'data: ...' and an empty line"
        )
    return passed(rule, asked, str(answer))


def _while_busy(server: Server, limit: Limit, running: Running) -> Outcome:
    """Asks the probe while samples are being answered: sent, and not yet answered."""
    route, sample = server.alive or server.ready, server.samples[0].question
    port = running.published(server.port) or 0
    flights = [Flight(port, sample) for _ in range(_IN_FLIGHT)]
    for flight in flights:
        flight.sent.wait(sample.within)
    busy = sum(not flight.landed.is_set() for flight in flights)
    answer = ask(running.published(route.port or server.port) or 0, Ask("GET", route.path, limit.seconds))
    for flight in flights:
        flight.landed.wait(sample.within)
    asked = f"GET {route.path} while {_IN_FLIGHT} × {sample} are in flight"
    if answer.good:
        return passed(limit.rule, asked, f"{answer}; {busy} were still in flight when it was asked")
    return broken(limit.rule, asked, str(answer), "answer probes from a thread or worker of their own")


_IN_FLIGHT = 2


@dataclass
class Flight:
    """A request in a thread of its own: ``sent`` when it is out, ``landed`` when its answer is there."""

    def __init__(self, port: int, question: Ask) -> None:
        self.sent, self.landed = threading.Event(), threading.Event()
        self.answer = Answer(0, failure="not asked")
        threading.Thread(target=self._fly, args=(port, question), daemon=True).start()

    def _fly(self, port: int, question: Ask) -> None:
        self.answer = ask(port, question, self.sent.set)
        self.landed.set()


def _inside(rule: str, words: tuple[str, ...], running: Running) -> Outcome:
    """Runs in the container what the platform runs there."""
    done = running.inside(*words, seconds=10)
    asked = f"in the container: {' '.join(words)}"
    if done.code == 0:
        return passed(rule, asked, "exit code 0")
    said = done.said.strip().splitlines()
    hint = f"install {words[0]} in the image" if done.code in (126, 127) or "not found" in done.said else ""
    return broken(rule, asked, f"exit code {done.code}{': ' + said[-1] if said else ''}", hint)


def _models(rule: str, hear: Callable[[Ask], Answer]) -> Iterator[Outcome]:
    """Triton's own list of its models, and whether each is ready (KServe protocol v2, Triton's repository extension)."""
    index = Ask("POST", "/v2/repository/index", 10, b"{}", JSON)
    answer = hear(index)
    try:
        names = sorted({str(one["name"]) for one in json.loads(answer.body)}) if answer.good else []
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


def _openai(rule: str, hear: Callable[[Ask], Answer]) -> Outcome:
    """Whether a server that lists models as vLLM does lists one."""
    question = Ask("GET", "/v1/models", 10)
    answer = hear(question)
    if not answer.good:
        return unasked(rule, str(question), f"it is no vLLM: {answer}")
    try:
        names = [str(one["id"]) for one in json.loads(answer.body)["data"]]
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
    return broken(server.stays, asked, _ended(running), "see what it printed, below")


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
        server.told_routes,
    ]
    for rule in dict.fromkeys(rule for rule in rules if rule and rule not in said):
        yield unasked(rule, "", why)
