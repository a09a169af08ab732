"""At a terminal: if these fail, bars jump, logs are full of escape sequences, or a pipeline waits for an answer."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("there are no pseudo terminals", allow_module_level=True)

from rich.console import Console

from buildkit.cli.bars import bars
from buildkit.events import Began, Ended, Event, Moved, Said
from tests.cli.test_cli import modelpack
from tests.fakes.registry import Registry
from tests.fakes.registry_auth import Account, Auth
from tests.place import Place
from tests.targets.drafts import OVMS, write
from tests.terminal import COLUMNS, Screen, at_terminal

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
MB = 1_000_000


class Drawn(io.StringIO):
    """A terminal in memory, and the screen after every write to it."""

    def __init__(self) -> None:
        super().__init__()
        self.screens: list[list[str]] = []
        self._screen = Screen()
        self._seen = 0

    def flush(self) -> None:
        written = self.getvalue()
        self._screen.feed(written[self._seen :].replace("\n", "\r\n"))
        self._seen = len(written)
        self.screens.append(self._screen.lines())

    def isatty(self) -> bool:
        return True


def drawn(events: list[Event], seconds: float = 0.01, *, redraw: bool = True) -> Drawn:
    """The screens that somebody sees, one for each event; between two events the clock goes on by ``seconds``."""
    now = 0.0

    def clock() -> float:
        return now

    drawn = Drawn()
    terminal = Console(file=drawn, force_terminal=True, width=COLUMNS, height=50, color_system=None, get_time=clock)
    with bars(terminal, clock) as emit:
        for event in events:
            now += seconds
            emit(event)
            region = getattr(emit, "__self__").region  # noqa: B009 - a callable is all that a command has of it
            if redraw and region.live.is_started:
                region.refresh()
    return drawn


def shard(number: int, size: int = 200 * MB) -> list[Event]:
    key = f"shard {number}"
    return [
        Began(key, f"model-{number}.safetensors", size),
        Moved(key, size // 2),
        Moved(key, size // 2),
        Ended(key, "sent"),
    ]


def height(screen: list[str]) -> int:
    return sum(bool(re.search(r"/\d+(\.\d+)? [kMG]B|━", line)) for line in screen)


def test_the_region_of_bars_never_jumps() -> None:
    """Files come and go in their hundreds: a region whose height changes with each cannot be looked at."""
    together = [shard(number) for number in range(24)]
    events = [
        event
        for first in range(0, 24, 4)
        for step in range(4)
        for events in together[first : first + 4]
        for event in events[step : step + 1]
    ]
    seen = drawn(events)
    heights = [height(screen) for screen in seen.screens[:-1]]
    assert max(heights) == 4
    grown = heights[heights.index(4) :]
    assert set(grown) == {4}, "it shrank and grew again"
    assert height(seen.screens[-1]) == 0, "something of the region was left"
    told = [line for line in seen.screens[-1] if "sent" in line]
    assert told == [f"  model-{number}.safetensors: sent (200.0 MB)" for number in range(24)]
    for screen in seen.screens:
        assert len(screen) == len([line for line in screen if line.strip()]) or height(screen) == 0, "a hole in it"
    assert "\x1b[2J" not in seen.getvalue() and "\x1b[?1049h" not in seen.getvalue(), "the screen was cleared"
    assert seen.getvalue().rstrip().endswith("\x1b[?25h") or seen.getvalue().rfind("\x1b[?25h") > seen.getvalue().rfind(
        "\x1b[?25l"
    )


def test_small_files_share_one_bar() -> None:
    """A tokenizer's twenty thousand files, each with a bar, would be a flicker, and slower than the files."""
    events: list[Event] = [Began(f"small {number}", f"{number}.json", 1000) for number in range(2000)]
    for number in range(2000):
        events += [Moved(f"small {number}", 1000), Ended(f"small {number}", "read")]
        if number == 1000:
            events.append(Said("half of it"))
    seen = drawn(events, redraw=False)
    assert max(height(screen) for screen in seen.screens) == 1
    assert len(seen.screens) < 50, "it draws for every file"
    assert any("small ones" in line for screen in seen.screens for line in screen)
    assert seen.screens[-1][-1:] == ["half of it"]


def test_a_bar_that_nobody_follows_goes() -> None:
    """Seven bars that are done, above the one that still runs for an hour, hide it."""
    events = [event for step in range(4) for number in range(8) for event in shard(number)[step : step + 1]]
    last: list[Event] = [
        Began("last", "last.safetensors", 900 * MB),
        Moved("last", 400 * MB),
        Moved("last", 1 * MB),
        Said("now"),
    ]
    seen = drawn([*events, *last], seconds=0.6)
    assert height(seen.screens[-2]) == 1, seen.screens[-2]


@pytest.mark.parametrize(
    ("environment", "escapes"),
    [({"TERM": "dumb"}, False), ({"CI": "true"}, False), ({"NO_COLOR": "1"}, True), ({}, True)],
)
def test_what_steers_a_terminal_is_written_where_it_is_wanted(
    place: Place, environment: dict[str, str], escapes: bool
) -> None:
    """A log with escape sequences cannot be read, and who asked for no colours sees none."""
    recipe = str(place.recipe(targets=["kserve"]).path)
    shown = [
        at_terminal(
            "build", recipe, "--push", "--registry", f"{place.registry.address}/models", environment=environment
        ),
        at_terminal("check", recipe, environment=environment),
        at_terminal("targets", "KS-05", environment=environment),
        at_terminal("inspect", f"{place.registry.address}/models/granite:v1", environment=environment),
        at_terminal("build", str(place.folder / "nothing.yaml"), environment=environment),
    ]
    assert [one.code for one in shown] == [0, shown[1].code, 0, 0, 1]
    raw = "".join(one.raw for one in shown)
    assert "error:" in shown[-1].raw and "Traceback" not in raw
    assert ("\x1b" in raw) is escapes
    assert bool(COLOUR.search(raw)) is (not environment)
    digest = place.registry.tags["models/granite"]["v1"]
    assert f"{place.registry.address}/models/granite:v1@{digest}" in "".join(shown[0].lines)
    assert not height(shown[0].lines), "a bar was left"


@pytest.mark.parametrize("columns", ["0", "7"])
def test_a_width_that_nobody_knows_swallows_nothing(place: Place, columns: str) -> None:
    """Some programs say COLUMNS=0 to what they run: a table, a result or an error of no width is nowhere to be seen."""
    assert "kserve:modelcar" in modelpack("targets", COLUMNS=columns).stdout
    recipes = [str(place.recipe().path), str(place.folder / "nothing.yaml")]
    command = ["build", *recipes, "--push", "--registry", f"{place.registry.address}/models"]
    shown = at_terminal(*command, environment={"COLUMNS": columns})
    digest = place.registry.tags["models/granite"]["v1"]
    assert f"models/granite:v1@{digest}" in shown.raw
    assert "there is no recipe" in shown.raw


def test_what_comes_from_outside_steers_no_terminal(tmp_path: Path) -> None:
    """A name in a stranger's recipe must not repaint the screen of who builds it."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text('kind: "\\e[2J\\e]0;owned\\a"\nname: x\n')
    shown = at_terminal("build", str(recipe))
    assert shown.code == 1
    assert "\x1b[2J" not in shown.raw and "\x1b]" not in shown.raw
    assert COLOUR.search(shown.raw), "the test proves nothing without colours"


def test_what_a_registry_says_steers_no_terminal(tmp_path: Path) -> None:
    """A platform or a media type in a stranger's image repaints the screen, or ends the command as a fault of its own."""
    strange = replace(OVMS, architecture="\x1b]0;owned\a[/bold]", layer_type="application/x.\x1b[2Jtar[/x]")
    shown = at_terminal("inspect", write(strange, tmp_path))
    assert shown.code == 0, shown.raw
    assert "\x1b[2J" not in shown.raw and "\x1b]" not in shown.raw
    assert "[2Jtar[/x]" in shown.raw and "[/bold]" in shown.raw, "what looks like markup was left out"


def test_init_asks_at_a_terminal_and_tells_how_to_say_it_at_once(tmp_path: Path) -> None:
    """A newcomer is led; whoever writes a script is told what to write in it, and gets the same files."""
    answers = [
        ("Kind [modelcar]: ", "modlcar"),
        ("Kind [modelcar]: ", "triton"),
        ("Folder [.]: ", "my models"),
        ("[my-models]: ", "circle"),
    ]
    shown = at_terminal("init", cwd=tmp_path, answers=answers, environment={"NO_COLOR": "1"})
    assert shown.code == 0, shown.raw
    assert "There is no kind 'modlcar'" in shown.raw
    assert max(map(len, shown.lines)) <= COLUMNS
    told = next(line for line in shown.lines if line.startswith("The same without questions: "))
    assert told == "The same without questions: modelpack init triton 'my models' --name circle"
    asked = tmp_path / "my models"
    asked.rename(tmp_path / "asked")
    done = modelpack("init", "triton", "my models", "--name", "circle", cwd=tmp_path)
    assert done.returncode == 0
    files = {
        path.relative_to(tmp_path / "asked"): path.read_bytes()
        for path in (tmp_path / "asked").rglob("*")
        if path.is_file()
    }
    assert files == {path.relative_to(asked): path.read_bytes() for path in asked.rglob("*") if path.is_file()}


def test_nobody_is_asked_where_nobody_sits(tmp_path: Path) -> None:
    """A pipeline that waits for an answer waits until it is killed."""
    shown = at_terminal("init", cwd=tmp_path, environment={"CI": "true"})
    assert shown.code == 0 and "Kind" not in shown.raw
    (tmp_path / "recipe.yaml").unlink()
    assert at_terminal("init", "modelcar", cwd=tmp_path).raw.strip() == "recipe.yaml", "everything was said"
    (tmp_path / "recipe.yaml").unlink()
    done = modelpack("init", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "recipe.yaml\n", "")
    refused = at_terminal("login", "quay.io", environment={"CI": "true"})
    assert refused.code == 2 and "Username" not in refused.raw


def test_a_question_stays_where_it_is_read(tmp_path: Path) -> None:
    """Who is asked for a name must see the question, and nobody behind them the password."""
    with Registry(auth=Auth(mode="basic", accounts={"me": Account("s3cret")})) as registry:
        answers = [("Username: ", "me"), ("Password: ", "s3cret")]
        shown = at_terminal("login", registry.address, cwd=tmp_path, answers=answers)
    assert shown.code == 0, shown.raw
    assert "Username: me" in shown.lines and "Password:" in shown.lines, shown.lines
    assert any(line.startswith(f"logged in to {registry.address}") for line in shown.lines)
    assert "s3cret" not in shown.raw


@pytest.mark.parametrize(
    ("key", "code", "told"),
    [("\x03", 130, "interrupted: nothing was tagged"), ("\x04", 1, "error: the question {} has no answer")],
)
@pytest.mark.parametrize(
    ("answers", "command"),
    [
        ((("Kind [modelcar]: ", ""),), ("init",)),
        ((("Kind [modelcar]: ", "triton"), ("Folder [.]: ", "")), ("init",)),
        ((("Username: ", ""),), ("login", "127.0.0.1:1")),
        ((("Username: ", "me"), ("Password: ", "")), ("login", "127.0.0.1:1")),
    ],
)
def test_who_leaves_a_question_leaves_no_file(
    tmp_path: Path, answers: tuple[tuple[str, str], ...], command: tuple[str, ...], key: str, code: int, told: str
) -> None:
    """Ctrl-C at a question is told and counted as everywhere, Ctrl-D is told why it fails, and nothing is written."""
    question = answers[-1][0]
    environment = {"DOCKER_CONFIG": str(tmp_path), "REGISTRY_AUTH_FILE": "", "NO_COLOR": "1"}
    left = (*answers[:-1], (question, key))
    shown = at_terminal(*command, cwd=tmp_path, answers=left, environment=environment)
    assert shown.code == code, shown.raw
    assert any(line.startswith(told.format(repr(question.split()[0].rstrip(":")))) for line in shown.lines), shown.lines
    assert not list(tmp_path.iterdir())
    assert "Traceback" not in shown.raw and "Aborted" not in shown.raw


def test_a_pipe_sees_no_bar(place: Place) -> None:
    """``modelpack build … 2> log`` is a log, also when it was typed at a terminal."""
    recipe = str(place.recipe().path)
    command = f"{sys.executable} -m buildkit build '{recipe}' 2> log"
    done = subprocess.run(["sh", "-c", command], cwd=place.folder, capture_output=True, check=False)
    assert done.returncode == 0
    assert b"\x1b" not in (place.folder / "log").read_bytes() + done.stdout
