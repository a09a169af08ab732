"""Every page of the reference, by its name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from docs.generate import codes, commands, environment, lock, recipes, registries, settings, targets

COMMAND = "python -m docs.generate"
REFERENCE = Path(__file__).parent.parent / "reference"
_WRITTEN_BY = f"<!-- Written by '{COMMAND}' from the code: change that, and not this page. -->\n\n"


@cache
def pages() -> Mapping[str, str]:
    """The text of every page as the code stands now."""
    made = {
        "cli.md": commands.page(),
        "environment.md": environment.page(),
        "exit-codes.md": codes.page(),
        "lock.md": lock.page(),
        "recipe.md": recipes.page(),
        "registries.md": registries.page(),
        "rules.md": targets.rules_page(),
        "settings.md": settings.page(),
        "targets.md": targets.page(),
        **{f"recipe-{name}.md": text for name, text in recipes.kind_pages().items()},
    }
    return {name: _WRITTEN_BY + text.rstrip() + "\n" for name, text in sorted(made.items())}


def stale() -> dict[str, str]:
    """The pages in the repository that are not what the code says, each with what is wrong with it."""
    written = {path.name: path.read_text(encoding="utf-8") for path in REFERENCE.glob("*.md")}
    wrong = {name: "is not there" for name in pages() if name not in written}
    wrong |= {name: "is written by nobody" for name in written if name not in pages()}
    wrong |= {name: "is stale" for name in pages() if name in written and written[name] != pages()[name]}
    return dict(sorted(wrong.items()))
