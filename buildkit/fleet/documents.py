"""The state of a fleet, and what became of it, as documents for machines: JSON, CI matrices, a job's summary."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from buildkit.amounts import human
from buildkit.errors import ModelpackError
from buildkit.fleet.rebuild import Rebuilt
from buildkit.fleet.state import State, Weight

GITHUB_MOST = 256
"""Jobs of one matrix (GitHub documentation, "Actions limits": a job matrix can generate at most 256 jobs per run)."""
GITLAB_MOST = 200
"""GitLab documentation, "CI/CD YAML syntax reference", ``parallel:matrix``: at most 200 jobs."""


def status_document(states: Sequence[State]) -> dict[str, Any]:
    """Everything that is known of every image."""
    words = [state.word for state in states]
    return {
        "images": [image_document(state) for state in states],
        "summary": {word: words.count(word) for word in ("moved", "current", "unknown")},
    }


def image_document(state: State) -> dict[str, Any]:
    """One image: its state, what moved with old and new value, what a rebuild would move, and what could not be asked."""
    return {
        "name": state.name,
        "recipe": state.path,
        "state": state.word,
        "reasons": list(state.reasons),
        "changes": [
            {
                "reason": change.reason,
                "what": change.what,
                "old": change.old,
                "new": change.new,
                "detail": change.detail,
            }
            for change in state.changes
        ],
        "bytes": {"down": state.weight.down, "up": state.weight.up},
        "repositories": [target.repository.name for target in state.targets],
        "served": dict(sorted(state.served.items())),
        "problems": [problem_document(problem) for problem in state.problems],
    }


def problem_document(error: ModelpackError) -> dict[str, Any]:
    """An explained failure."""
    problems = [{"where": one.where, "what": one.what, "hint": one.hint} for one in error.problems]
    return {"what": error.what, "problems": problems, "hint": error.hint}


def github_matrix(states: Sequence[State]) -> dict[str, Any]:
    """The ``matrix`` of a GitHub Actions job: an entry for each image that needs work, the smallest path first."""
    moved = [state for state in states if state.changes and not state.problems][:GITHUB_MOST]
    return {
        "include": [
            {"name": state.name, "recipe": state.path, "reasons": ",".join(state.reasons), "lock": _lock_of(state)}
            for state in moved
        ]
    }


def gitlab_matrix(states: Sequence[State]) -> list[Mapping[str, str]]:
    """The ``parallel:matrix`` of a GitLab job, for the same images."""
    moved = [state for state in states if state.changes and not state.problems][:GITLAB_MOST]
    return [{"RECIPE": state.path, "IMAGE": state.name, "LOCK": _lock_of(state)} for state in moved]


def rebuild_document(done: Sequence[Rebuilt]) -> dict[str, Any]:
    """What became of every image."""
    return {"images": [_rebuilt(one) for one in done], "summary": counts(done)}


def counts(done: Sequence[Rebuilt]) -> dict[str, int]:
    """How many images came to which end."""
    outcomes = [one.outcome for one in done]
    return {outcome: outcomes.count(outcome) for outcome in ("rebuilt", "current", "elsewhere", "failed")}


def summary(done: Sequence[Rebuilt]) -> str:
    """Markdown for a job's page: what was rebuilt and why, and what failed."""
    told = [one for one in done if one.outcome != "current"]
    head = ", ".join(f"{count} {word}" for word, count in counts(done).items() if count) or "nothing to do"
    rows = [f"| {_cell(one.state.name)} | {one.outcome} | {_why(one)} | {_result(one)} |" for one in told]
    table = ["", "| image | | why | result |", "| --- | --- | --- | --- |", *rows] if rows else []
    return "\n".join(["### modelpack", "", head, *table, ""])


def moves(weight: Weight) -> str:
    """Bytes down and up for a person; ``?`` where only a build can tell."""
    down, up = (human(size) if size is not None else "?" for size in (weight.down, weight.up))
    return f"{down} / {up}"


def _rebuilt(one: Rebuilt) -> dict[str, Any]:
    return {
        **image_document(one.state),
        "outcome": one.outcome,
        "references": list(one.references),
        "sent": one.sent,
        "error": problem_document(one.error) if one.error else None,
    }


def _lock_of(state: State) -> str:
    return str(state.recipe.lock_path) if state.recipe else ""


def _why(one: Rebuilt) -> str:
    return ", ".join(one.state.reasons)


def _result(one: Rebuilt) -> str:
    if one.error:
        return _cell(one.error.what)
    references = " ".join(f"`{reference}`" for reference in one.references)
    return _cell(f"{references}, {human(one.sent)} sent") if references else ""


def _cell(text: str) -> str:
    """A text that stays in its cell of a table, and is no markup of its own."""
    plain = json.dumps(text, ensure_ascii=False)[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    return plain.replace("|", "\\|").replace("<", "&lt;")
