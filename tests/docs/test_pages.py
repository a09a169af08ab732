"""Pages besides the guides: if these fail, README shows what does not work, or a link or a command leads nowhere."""

from __future__ import annotations

import functools
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from tests.docs.blocks import blocks, commands
from tests.docs.outside import outside
from tests.docs.reader import WRITTEN, Reader
from tests.docs.test_guides import HERE, prepare

ROOT = Path(__file__).resolve().parents[2]
README, CONTRIBUTING = ROOT / "README.md", ROOT / "CONTRIBUTING.md"
PAGES = tuple(
    sorted(
        page.relative_to(ROOT).as_posix()
        for pattern in ("*.md", "docs/**/*.md", "recipes/*/README.md", "samples/*/README.md", "renovate/*.md")
        for page in ROOT.glob(pattern)
    )
)
BUILT = "python3 -m venv .venv && .venv/bin/pip install --quiet . && .venv/bin/modelpack build samples/quickstart\n"
TESTED = "python3 -m venv .venv && .venv/bin/pip install --quiet nox && .venv/bin/nox\n"
_FENCE = re.compile(r"^( *)(```+).*?^\1\2$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]+`")
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_TYPED = re.compile(r"`(modelpack [^`\n]+)`")


def prose(page: Path) -> str:
    """A page without its fences."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


@functools.cache
def anchors(page: Path) -> frozenset[str]:
    """What a link may lead to in a page: its headings, as GitHub and mkdocs name them."""
    headings = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(prose(page)))
    return frozenset(heading.replace(" ", "-") for heading in headings)


def broken(page: Path) -> list[str]:
    """The relative links of a page that lead nowhere."""
    found = []
    for link in _LINK.findall(_CODE.sub("", prose(page))):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if "://" in link or link.startswith("mailto:"):
            continue
        if not target.exists() or (anchor and anchor not in anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    """A reader clicks, and there is no such page or no such heading."""
    assert not broken(ROOT / name)


def test_a_broken_link_is_seen(tmp_path: Path) -> None:
    """The check above finds nothing, whatever is wrong."""
    page = tmp_path / "page.md"
    page.write_text(
        "# One two\n\n[a](#one-two) [b](#three) [c](page.md#one-two) [d](no.md) `[e](no.md)`\n```\n[f](no.md)\n```\n"
    )
    assert broken(page) == ["#three", "no.md"]


@functools.cache
def known() -> dict[str, frozenset[str]]:
    """The commands, and the options of each."""
    from buildkit.cli.commands import app

    group: Any = get_command(app)  # typer carries a click of its own, without types
    return {
        name: frozenset(option for one in command.params for option in (*one.opts, *one.secondary_opts)) | {"--help"}
        for name, command in group.commands.items()
    }


@pytest.mark.parametrize("name", PAGES)
def test_commands_in_sentences_are_there(name: str) -> None:
    """A sentence names a command or an option that was renamed or never was."""
    for typed in _TYPED.findall(prose(ROOT / name)):
        command, *rest = typed.split()[1:]
        if command.startswith("-"):
            continue
        assert command in known(), typed
        options = {word.partition("=")[0].rstrip("…,;") for word in rest if re.match(r"--?[a-z]", word)}
        assert options <= known()[command], typed


def nameless(page: Path) -> list[str]:
    """The files of a page whose names are only in the fence's title, which not every reader is shown."""
    found, said = [], ""
    for part in re.split(r"(^```.*?^```$)", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL):
        title = re.match(r'```\w+ title="([^"]+)"', part)
        if title and f"`{title[1]}`" not in said:
            found.append(title[1])
        said = part
    return found


@pytest.mark.parametrize("name", PAGES)
def test_files_are_named_in_sentences(name: str) -> None:
    """On a site that shows no titles of fences nobody knows into which file a text belongs."""
    assert not nameless(ROOT / name)


def test_readme_shows_what_happens(tmp_path: Path) -> None:
    """The first page that anybody reads shows a command that fails, or another answer."""
    shutil.copytree(ROOT / "samples", tmp_path / "work" / "samples")
    first, second = (block.body for block in blocks(README) if block.lang == "sh")
    assert (first, second) == (BUILT, TESTED)
    assert 'nox.options.sessions = ["tests"]' in (ROOT / "noxfile.py").read_text(encoding="utf-8")
    with outside(tmp_path) as world:
        prepare(world)
        reader = Reader(tmp_path, world.environment, HERE)
        reader.typed(f"modelpack build {BUILT.rsplit(maxsplit=1)[-1]}")
        reader.follow(README)
    assert not reader.wrong, "\n".join(reader.wrong)
    assert not reader.unread
    others = [block for block in blocks(README) if block.lang not in WRITTEN | {"console", "sh"}]
    assert not others, "nobody reads these"


def test_readme_is_short() -> None:
    """Nobody reads a manual before the first command; what is long belongs into docs."""
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 160


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "concepts").glob("*.md")), ids=lambda page: page.stem)
def test_concepts_are_followed_where_they_show_commands(page: Path, tmp_path: Path) -> None:
    """A page that explains shows a command that is not so."""
    with outside(tmp_path) as world:
        prepare(world)
        reader = Reader(tmp_path, world.environment, HERE)
        reader.follow(page)
    assert not reader.wrong, "\n".join(reader.wrong)
    assert not reader.unread
    assert all(commands(block) for block in blocks(page) if block.lang == "console")


def unindented(text: str) -> str:
    """Code whose lines can be found in other code, whatever they stand in there."""
    return "\n".join(line.strip() for line in text.strip().splitlines())


def test_contributing_shows_the_code_there_is() -> None:
    """Who adds a rule, a registry or a form of the lock learns from what the project has, and not from what it once had."""
    shown = [block for block in blocks(CONTRIBUTING) if block.note.startswith("from: ")]
    assert len(shown) == 4
    for block in shown:
        code = (ROOT / block.note.removeprefix("from: ")).read_text(encoding="utf-8")
        assert unindented(block.body) in unindented(code), block.line
    assert {block.lang for block in blocks(CONTRIBUTING) if not (block.title or block.note)} == {"text", "console"}


def installed(folder: Path) -> None:
    """Does what installing the project in a folder would: its entry points are found from now on."""
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    (info / "entry_points.txt").write_text(
        "".join(
            f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
            for group, points in project["entry-points"].items()
        )
    )


def test_contributing_shows_a_kind_that_builds(tmp_path: Path) -> None:
    """Who writes a kind begins with what stands there, and it does not even load."""
    work = tmp_path / "work"

    def install(folder: Path) -> None:
        if (work / "pyproject.toml").exists():
            installed(work)

    with outside(tmp_path) as world:
        prepare(world)
        reader = Reader(tmp_path, {**world.environment, "PYTHONPATH": str(work)}, HERE, install)
        reader.follow(CONTRIBUTING)
    assert not reader.wrong, "\n".join(reader.wrong)
    assert [block.note for block in reader.unread] == ["needs: install"]
