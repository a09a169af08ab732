"""What a page has in its fences: files to write, commands to run, and what they are shown to answer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(
    r"(?:^<!--\s*(?P<note>[^>]*?)\s*-->\n)?^(?P<indent> *)```(?P<lang>\w+)(?P<options>[^\n`]*)\n(?P<body>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_TITLE = re.compile(r'title="([^"]+)"')
_CODE = re.compile(r"#.*\bexit code (\d+)")
_TWIRL = "…"


@dataclass(frozen=True)
class Block:
    """A fence. ``note`` is the comment above it: what it needs beyond a registry and a hub, such as ``needs: kubectl``."""

    lang: str
    body: str
    title: str
    note: str
    line: int


@dataclass(frozen=True)
class Command:
    """A command as it is typed, the lines that are shown below it, and the exit code that it is said to end with."""

    text: str
    shown: tuple[str, ...]
    code: int


def blocks(page: Path) -> Iterator[Block]:
    """Every fence of a page."""
    text = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        indent = found["indent"]
        body = "".join(line.removeprefix(indent) for line in found["body"].splitlines(keepends=True))
        title = _TITLE.search(found["options"])
        line = text.count("\n", 0, found.start("lang")) + 1
        yield Block(found["lang"], body, title[1] if title else "", found["note"] or "", line)


def commands(block: Block) -> list[Command]:
    """The commands of a console block: lines behind ``$ ``, and what follows each. ``\\`` at an end goes on."""
    found: list[tuple[str, list[str]]] = []
    lines = iter(block.body.splitlines())
    for line in lines:
        if line.startswith("$ "):
            typed = line.removeprefix("$ ")
            while typed.endswith("\\"):
                typed += "\n" + next(lines)
            found.append((typed, []))
        elif found:
            found[-1][1].append(line)
    return [Command(text, tuple(shown), _code(text)) for text, shown in found]


def _code(text: str) -> int:
    said = _CODE.search(text)
    return int(said[1]) if said else 0


def differs(shown: Sequence[str], answered: str) -> str:
    """Empty where an answer is what is shown; else what is not. ``…`` stands for anything, alone on a line for any lines."""
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == _TWIRL else ".*".join(map(re.escape, line.rstrip().split(_TWIRL))) + r" *\n"
        for line in shown
    )
    if re.fullmatch(pattern, answered if answered.endswith("\n") or not answered else answered + "\n"):
        return ""
    return "it shows\n{}\nand the answer is\n{}".format("\n".join(shown), answered)
