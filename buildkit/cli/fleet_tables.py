"""A fleet as a table: at 80 columns two lines for what moved, at 200 one, and nothing that only colour says."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from buildkit.cli.render import printable
from buildkit.cli.terminal import console as stdout_console
from buildkit.fleet.documents import moves
from buildkit.fleet.state import Change, State

_WIDE = 140
_STYLES = {"moved": "yellow", "current": "green", "unknown": "red"}
_DIGEST = re.compile(r"(sha256:)?([0-9a-f]{12})[0-9a-f]{28,52}")


def show_states(states: Sequence[State], console: Console | None = None) -> None:
    """Prints a row for every image that moved or could not be asked, and counts the rest."""
    console = console or stdout_console()
    told = [state for state in states if state.word != "current"]
    table = Table(box=None, pad_edge=False, show_edge=False, expand=False)
    table.add_column("image", overflow="fold", max_width=40 if console.width >= _WIDE else 24)
    table.add_column("state", no_wrap=True)
    table.add_column("moves down / up", no_wrap=True, justify="right")
    table.add_column("why: old -> new", overflow="fold", ratio=1)
    for state in told:
        word = f"[{_STYLES[state.word]}]{state.word}[/]"
        moved = moves(state.weight) if state.changes else ""
        table.add_row(escape(printable(state.name)), word, moved, _why(state, console.width))
    if told:
        console.print(table)
    counted = [sum(state.word == word for state in states) for word in ("moved", "current", "unknown")]
    console.print(f"{counted[0]} moved, {counted[1]} current, {counted[2]} unknown")


def _why(state: State, width: int) -> str:
    told = [_change(change, width) for change in state.changes]
    told += [f"not asked: {problem.what}" for problem in state.problems]
    return "\n".join(escape(printable_lines(line)) for line in told)


def printable_lines(text: str) -> str:
    """Each line as it may be shown."""
    return "\n".join(printable(line) for line in text.split("\n"))


def _change(change: Change, width: int) -> str:
    """``source model: 0123456789ab -> ba9876543210 (config.json)``; the whole digests are under --json."""
    old, new = _short(change.old), _short(change.new)
    if change.reason == "base" and old.partition("@")[0] == new.partition("@")[0]:
        # The name is the same: said once.
        new = new.partition("@")[2]
    values = f"{old} -> {new}" if old and new else old or new
    detail = f"({change.detail})" if change.detail else ""
    first = f"{change.reason} {change.what}".strip()
    parts = [part for part in (values, detail) if part]
    if not parts:
        return first
    return f"{first}: {' '.join(parts)}" if width >= _WIDE else f"{first}:\n  " + "\n  ".join(parts)


def _short(text: str) -> str:
    return _DIGEST.sub(lambda found: f"{found[1] or ''}{found[2]}", text)
