"""What ``--help`` says: if these fail, a person reads torn lines, or copies an example that does not work."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from buildkit.cli.commands import app
from buildkit.cli.plain_help import GROUPS
from docs.generate.commands import commands

COMMANDS = [name for name, _ in commands()]
ROOT = Path(__file__).parent.parent.parent


def told_by(*command: str) -> str:
    done = CliRunner().invoke(app, [*command, "--help"], prog_name="modelpack", env={"COLUMNS": "80", "TERM": "dumb"})
    assert (done.exit_code, done.stderr) == (0, "")
    return done.stdout


def examples(text: str) -> list[str]:
    return re.findall(r"^ +Example: (.+)$", text, re.MULTILINE)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_eighty_columns_and_has_an_example(command: str) -> None:
    """Help that wraps is not read, a sentence that is cut off says nothing, and an example is what is copied."""
    told = told_by(*([command] if command else []))
    lines = told.splitlines()
    assert not [line for line in lines if len(line) > 80]
    cut_off = [
        line for line in lines if line.endswith("...") and not line.startswith("Usage:") and "://..." not in line
    ]
    assert not cut_off, "a sentence is cut off"
    assert not re.search(r"<(?:path|str|int|list\[|int range)", told), "a type of Python's is no help"
    assert "\b" not in told
    assert examples(told), "there is no example"
    for example in examples(told):
        parse(example)


def parse(example: str) -> None:
    """Reads an example as the command line would; fails where there is no such option, argument or choice."""
    (words,) = (shlex.split(part.partition(">")[0]) for part in example.split(" | ") if part.startswith("modelpack"))
    group = typer.main.get_command(app)
    with group.make_context("modelpack", words[1:]) as context:
        found = group.commands[words[1]]  # type: ignore[attr-defined]
        found.make_context(words[1], words[2:], parent=context).close()


def test_an_example_that_does_not_work_is_noticed() -> None:
    """The examples must be held to the options that there are."""
    for wrong in ("modelpack build recipe.yaml --pushed", "modelpack ci", "modelpack build . --engine docker"):
        with pytest.raises(Exception, match=r"(?i)no such option|missing (argument|parameter)|not one of"):
            parse(wrong)


def test_every_command_has_its_place_in_the_help() -> None:
    """Two dozen commands in one list are not found again: each belongs to a group, and the groups are in order."""
    text = told_by()
    places = [text.index(f"\n{group}:\n") for group in GROUPS]
    assert places == sorted(places)
    for name, command in commands():
        assert command.rich_help_panel in GROUPS, f"{name} belongs to no group"
        assert text.count(f"\n  {name} ") == 1


def named_in_documents() -> Iterator[tuple[str, str]]:
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for name in re.findall(r"`modelpack ([a-z][a-z-]*)", page.read_text(encoding="utf-8")):
            yield page.name, name


def test_documents_name_commands_that_there_are() -> None:
    """A page that names a command of last month sends its reader away."""
    assert not [(page, name) for page, name in named_in_documents() if name not in COMMANDS]
