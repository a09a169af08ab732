"""The requests that a server must answer: asked the moment it says it is ready, and judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from buildkit.oci.parsing import parse
from buildkit.probe.asking import EVENTS, JSON, Answer, Ask, ask
from buildkit.probe.session import Patience, Running
from buildkit.probe.verdicts import Outcome, broken, noted, passed, unasked

if TYPE_CHECKING:
    from buildkit.probe.server import Sample, Server

Hear = Callable[[Ask], Answer]
"""Asks the server, and keeps what was heard."""


def guessed(server: Server, running: Running) -> Server:
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


def sampled(server: Server, sample: Sample, hear: Hear, patience: Patience) -> Iterator[Outcome]:
    """Asks in the moment in which the server says it is ready; if it fails then and not later, it said so too early."""
    first = answer = hear(sample.question)
    if _may_recover(first):
        settled: list[Answer] = []

        def answered() -> bool:
            settled.append(hear(sample.question))
            return not _may_recover(settled[-1])

        patience.until(answered, patience.settling())
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
        content, sent = parse(answer.body), parse(sample.body)
        count, wanted = len(content["predictions"]), len(sent.get("instances", []))
    except (ValueError, KeyError, TypeError, AttributeError):
        return broken(sample.rule, asked, f"{answer}, without predictions", 'answer {"predictions": [...]}')
    if count != wanted:
        return broken(
            sample.rule, asked, f"{count} predictions for {wanted} instances", "answer one prediction per instance"
        )
    return passed(sample.rule, asked, str(answer))


def _stream(rule: str, sample: Sample, hear: Hear, before: Outcome) -> Outcome:
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
