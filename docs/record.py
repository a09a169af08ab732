"""``python -m docs.record`` records docs/session.svg: real commands at a real terminal, against a hub and registries on loopback.

What stands there is what modelpack wrote, with the colours it chose. The hub, the registries and the terminal are those of the
tests, so that the same commit gives the same picture on every machine.
"""

from __future__ import annotations

import re
import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping
from io import StringIO
from itertools import groupby
from pathlib import Path
from typing import Any

import pyte
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from tests.docs.outside import outside
from tests.docs.test_guides import GRANITE, prepare
from tests.terminal import COLUMNS, LINES, at_terminal

SESSION = Path(__file__).parent / "session.svg"
RECIPE = """\
kind: modelcar
name: granite-3.0-2b-instruct
model: hf://ibm-granite/granite-3.0-2b-instruct@main
layers: per-file
tags: [v1]
targets: [{name: kserve, server: vllm, runtime: vllm}]
"""
MODEL = GRANITE | {
    f"model-0000{part}-of-00002.safetensors": bytes(size) for part, size in ((1, 95_000_000), (2, 70_000_000))
}
MODEL.pop("model.safetensors")
COMMANDS = (
    "modelpack check recipe.yaml",
    "modelpack build recipe.yaml --push --registry quay.io/you",
    "modelpack build recipe.yaml --push --registry quay.io/you",
    "modelpack deploy recipe.yaml --target kserve",
)
_THEME = TerminalTheme(
    (22, 27, 34),
    (230, 237, 243),
    [(72, 79, 88), (255, 123, 114), (63, 185, 80), (210, 153, 34), (88, 166, 255), (188, 140, 255), (57, 197, 207), (177, 186, 196)],
    [(110, 118, 129), (255, 161, 152), (86, 211, 100), (227, 179, 65), (121, 192, 255), (210, 168, 255), (86, 212, 221), (255, 255, 255)],
)  # fmt: skip
_LAYER = re.compile(r"  .*: (sent|mounted|exists) \(")
_FONT = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def picture() -> str:
    """The session as an SVG that loads nothing."""
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True, color_system="truecolor")
    for line in session():
        console.print(line, soft_wrap=True)
    return console.export_svg(
        title="modelpack", theme=_THEME, code_format=_format(), unique_id="session", font_aspect_ratio=0.6
    )


def _format() -> str:
    """rich's own form, without the fonts that it would have fetched."""
    without = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    return without.replace("Fira Code, monospace", _FONT).replace("arial", "system-ui, sans-serif")


def session() -> Iterator[Text]:
    """The lines of the session, in their colours."""
    with tempfile.TemporaryDirectory() as name, outside(Path(name)) as world:
        prepare(world)
        world.hub.add("ibm-granite/granite-3.0-2b-instruct", MODEL, card={"license": "apache-2.0"}, lfs_over=10**9)
        folder = Path(name) / "granite"
        folder.mkdir()
        (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
        yield _typed("cat recipe.yaml")
        yield from (Text(line) for line in RECIPE.splitlines())
        for command in COMMANDS:
            yield Text()
            yield _typed(command)
            yield from _answered(command, folder, {**world.environment, **_home(Path(name))})


def _home(folder: Path) -> dict[str, str]:
    home = folder / "home"
    home.mkdir(exist_ok=True)
    return {"HOME": str(home), "MODELPACK_CACHE_DIR": str(home / "cache")}


def _typed(command: str) -> Text:
    return Text.assemble(("$ ", "bold green"), (command, "bold"))


def _answered(command: str, folder: Path, environment: Mapping[str, str]) -> Iterator[Text]:
    """Runs a command, and what its terminal shows at the end."""
    shown = at_terminal(*shlex.split(command)[1:], cwd=folder, environment=environment)
    if shown.code:
        raise SystemExit(f"{command} ended with {shown.code}:\n{shown.raw}")
    screen = pyte.Screen(COLUMNS, LINES)
    pyte.Stream(screen).feed(shown.raw)
    lines = [_line(screen.buffer[number]) for number in range(LINES)]
    while lines and not lines[-1].plain:
        lines.pop()
    # Layers go side by side: which is told first is not the same twice.
    for together, several in groupby(lines, lambda line: bool(_LAYER.match(line.plain))):
        group = list(several)
        yield from sorted(group, key=lambda line: line.plain) if together else group


def _line(cells: Mapping[int, Any]) -> Text:
    """A line of the terminal with its colours."""
    text = Text()
    for (colour, bold), run in groupby((cells[column] for column in range(COLUMNS)), lambda cell: (cell.fg, cell.bold)):
        text.append("".join(cell.data for cell in run), Style(color=_colour(colour), bold=bold))
    text.rstrip()
    return text


def _colour(name: str) -> str | None:
    """A colour of pyte's as rich calls it."""
    if re.fullmatch("[0-9a-f]{6}", name):
        return f"#{name}"
    return None if name == "default" else re.sub("^bright", "bright_", name.replace("brown", "yellow"))


def main() -> int:
    """Records the session; the exit code."""
    text = picture()
    SESSION.write_text(text, encoding="utf-8", newline="\n")
    print(f"{SESSION}: {len(text.encode()):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
