"""What of a project never gets into its image."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit.errors import InvalidInput
from buildkit.pin import Inventory
from buildkit.settings import Settings
from buildkit.sources import open_source
from buildkit.spec import ProjectRef


def taken(folder: Path) -> list[str]:
    inventory: Inventory = open_source(ProjectRef(), folder, Settings(), lambda event: None).inventory()
    return [file.path for file in inventory.files]


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def test_secrets_histories_and_the_recipe_stay_outside(tmp_path: Path) -> None:
    """A token in .env is published, or every lock changes the image that it locks."""
    write(tmp_path, "agent.py", "uv.lock", "pyproject.toml", "data/a.json")
    write(tmp_path, ".env", "sub/.env.local", ".git/config", "recipe.yaml", "recipe.lock", "other.yaml", "other.lock")
    write(
        tmp_path, "__pycache__/a.pyc", "sub/b.pyc", ".venv/bin/python", "modelpack.yaml", "Dockerfile", "out/oci-layout"
    )
    assert taken(tmp_path) == ["agent.py", "data/a.json", "pyproject.toml", "uv.lock"]


@pytest.mark.parametrize("name", [".containerignore", ".dockerignore"])
def test_an_ignore_file_is_read_as_docker_reads_it(tmp_path: Path, name: str) -> None:
    """What a person keeps out of an image is in it, or what is needed is missing."""
    write(
        tmp_path,
        "a.md",
        "sub/b.md",
        "deep/er/c.md",
        "keep/notes.txt",
        "keep/me.txt",
        "x1.log",
        "x12.log",
        "sub/x1.log",
        "q[1].txt",
    )
    (tmp_path / name).write_text("# a comment\n*.md\n**/c.md\nkeep\n!keep/me.txt\nx?.log\n/sub/x1.log\n\nq\\[1].txt\n")
    assert taken(tmp_path) == ["keep/me.txt", "sub/b.md", "x12.log"]


def test_the_first_ignore_file_is_the_only_one(tmp_path: Path) -> None:
    """podman takes .containerignore alone where both are there."""
    write(tmp_path, "a", "b")
    (tmp_path / ".containerignore").write_text("a\n")
    (tmp_path / ".dockerignore").write_text("b\n")
    assert taken(tmp_path) == ["b"]


def test_an_ignore_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    """A binary file by that name ends in a traceback, or is taken for an empty one."""
    write(tmp_path, "a")
    (tmp_path / ".dockerignore").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidInput, match=r"\.dockerignore is not a text"):
        taken(tmp_path)


def test_a_line_that_is_no_pattern_is_named(tmp_path: Path) -> None:
    """A slip in an ignore file looks like a fault of the program."""
    write(tmp_path, "a")
    (tmp_path / ".containerignore").write_text("# what stays outside\n[z-a]*\n")
    with pytest.raises(InvalidInput, match=r"\.containerignore:2: '\[z-a\]\*' is no pattern: bad character range"):
        taken(tmp_path)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "pattern", ["[[:alpha:]]", "[a&&b]x", "[a||b]x", "[a~~b]x", "[--a]x", "[a-]x", "[^--]x", "[\\w]x"]
)
def test_between_brackets_only_a_range_has_a_meaning(tmp_path: Path, pattern: str) -> None:
    """What another language reads into a pattern is a warning amid the results, or leaves out other files than docker."""
    write(tmp_path, "ax", "l]", "-x", "zx")
    (tmp_path / ".dockerignore").write_text(f"{pattern}\n")
    left = {"[[:alpha:]]": "l]", "[^--]x": "ax zx", "[a-]x": "ax -x", "[--a]x": "ax -x", "[\\w]x": ""}.get(
        pattern, "ax"
    )
    assert taken(tmp_path) == sorted({"ax", "l]", "-x", "zx"} - set(left.split()))
