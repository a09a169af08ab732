"""The reference and the site: if these fail, somebody reads there what the code does not do."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from buildkit import errors
from buildkit.cli.commands import app
from buildkit.registries.profiles import TYPES
from buildkit.settings_file import SettingsFile
from buildkit.target_settings import SETTINGS
from buildkit.targets import TARGETS
from docs.generate.commands import commands, parameters
from docs.generate.environment import VARIABLES
from docs.generate.pages import COMMAND, pages, stale
from docs.generate.recipes import ours

ROOT = Path(__file__).parent.parent.parent


def test_the_committed_pages_are_what_the_code_says() -> None:
    """Whoever reads the reference must find the options, keys and rules of this very version."""
    assert not stale(), f"run '{COMMAND}', and commit what it writes: {stale()}"


def test_a_stale_page_is_told_with_the_command_that_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who changes an option must be told in one line what to run, and running it must be enough."""
    from docs.generate import __main__ as script
    from docs.generate import pages as written

    folder = tmp_path / "docs" / "reference"
    monkeypatch.setattr(written, "REFERENCE", folder)
    monkeypatch.setattr(script, "REFERENCE", folder)
    monkeypatch.setattr(sys, "argv", ["generate"])
    assert script.main() == 0
    (folder / "cli.md").write_text("old")
    (folder / "gone.md").write_text("a page of a command that there is no more")
    (folder / "lock.md").unlink()
    monkeypatch.setattr(sys, "argv", ["generate", "--check"])
    assert script.main() == 1
    told = capsys.readouterr().err
    for name in ("cli.md is stale", "gone.md is written by nobody", "lock.md is not there"):
        assert f"docs/reference/{name}: run '{COMMAND}'" in told
    monkeypatch.setattr(sys, "argv", ["generate"])
    assert script.main() == 0
    assert not written.stale()


@pytest.mark.parametrize("kind", ["modelcar", "server", "batch", "triton"])
def test_several_sources_are_offered_where_they_are_taken(kind: str) -> None:
    """A user writes a list of sources into a modelcar, as the reference says, and is refused."""
    assert ("(recipe.md#where-a-model-is), or a list of them" in pages()[f"recipe-{kind}.md"]) == (kind == "triton")


def test_the_reference_leaves_nothing_out() -> None:
    """A command, key, rule, registry or exit code that is not in the reference is one that nobody finds."""
    text = pages()
    for name, command in commands():
        assert f"## modelpack {name}\n" in text["cli.md"]
        for one in parameters(command):
            for word in one.names or (one.value,):
                assert word in text["cli.md"], f"{name} {word}"
    for name, kind in ours().items():
        for key in kind.spec.model_fields:
            assert f"`{key}`" in text[f"recipe-{name}.md"], f"{name} {key}"
    for settings in SETTINGS.values():
        for key in settings.model_fields:
            assert f"| `{key}` |" in text["targets.md"], f"{settings.__name__} {key}"
    for target in TARGETS.values():
        for rule in target.rules:
            assert f"### {rule.id}\n" in text["rules.md"]
    for key in SettingsFile.model_fields:
        assert f"| `{key}` |" in text["settings.md"]
    for registry in TYPES:
        assert f"## {registry}\n" in text["registries.md"]
    codes = {value for name, value in vars(errors).items() if name.isupper() and isinstance(value, int)}
    assert set(errors.EXIT_CODES) == codes
    assert len(app.registered_commands) == len(commands()) > 20


def test_what_is_told_of_a_command_is_so() -> None:
    """Who reads that a flag is off, or that a recipe must be given, writes what is not needed, or gets what he did not ask for."""
    told = {name: {one.names or one.value: one for one in parameters(command)} for name, command in commands()}
    recipes = told["build"]["RECIPE"]
    assert (recipes.required, recipes.several, recipes.default) == (False, True, "`.`")
    assert "modelpack build [OPTIONS] [RECIPE]...\n" in pages()["cli.md"]
    assert "modelpack copy [OPTIONS] REF|oci:DIR REGISTRY...\n" in pages()["cli.md"]
    assert told["copy"][("--referrers/--no-referrers",)].default == "on"
    assert told["copy"][("--immutable",)].default == "off"
    for name, parts in told.items():
        for one in parts.values():
            assert not one.option or one.several == ("May be repeated." in one.help), f"{name} {one.names}"


def read_by_the_code() -> set[str]:
    """The variables that modelpack asks its environment for, by their names or by constants that hold them."""
    found: set[str] = set()
    # What targets and probes call an environment is the one of a container.
    ours = (path for path in (ROOT / "buildkit").rglob("*.py") if not {"targets", "probe"} & set(path.parts))
    for path in ours:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named: ast.expr | None = None
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
                named = node.args[0] if ast.unparse(node.func.value).endswith(("environ", "environment")) else None
            elif isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith(("environ", "environment")):
                named = node.slice
            elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).endswith("_VARIABLE"):
                named = node.value
            if isinstance(named, ast.Constant) and isinstance(named.value, str):
                found.add(named.value)
    return found


def test_every_variable_that_is_read_is_told() -> None:
    """A variable that nobody told of changes what a command does on one machine and not on another."""
    told = {name for variables in VARIABLES.values() for name in variables}
    by_libraries = {"HF_TOKEN", "MODELPACK_NAME_USERNAME", "MODELPACK_NAME_PASSWORD"}
    by_shells = {"COMP_CWORD", "COMP_WORDS"}
    assert read_by_the_code() - by_shells == told - by_libraries


class _Page(HTMLParser):
    """What a page loads, and what it shows."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.shown = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "img", "link", "iframe"):
            self.loaded += [value or "" for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.shown += data


def test_the_site_builds_without_a_warning_and_asks_nobody(tmp_path: Path) -> None:
    """A link that leads nowhere, or a page that is in no list, is found by a reader; a site that loads from others is dead offline."""
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    written = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    assert written <= {path.relative_to(tmp_path) for path in tmp_path.rglob("*.html")}
    menu = (tmp_path / "index.html").read_text(encoding="utf-8")
    for page in written:
        html = (tmp_path / page).read_text(encoding="utf-8")
        assert f'href="{page.as_posix()}"' in menu or page.name == "index.html", f"{page} is in no menu"
        read = _Page()
        read.feed(html)
        assert not [place for place in read.loaded if re.match(r"(https?:)?//", place)], page
        assert "```" not in read.shown and "](" not in read.shown, f"{page} shows its Markdown"
    style = "\n".join(path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.css"))
    assert not re.findall(r"(?:@import|url\()\s*['\"]?(?:https?:)?//", style)
