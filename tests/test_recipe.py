"""Recipes as people write them: if these fail, a mistake is told at the wrong place, in the wrong words, or not at all."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from ruamel.yaml import YAML

from buildkit.errors import InvalidInput
from buildkit.fleet.found import recipes_in
from buildkit.kinds import kinds
from buildkit.recipe import Recipe, load, schema
from buildkit.spec import FolderRef, HuggingFaceRef
from recipes.modelcar.kind import ModelcarSpec

GOOD = "kind: modelcar\nname: granite\nmodel: hf://org/granite@v1\n"
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(content: str | bytes, name: str = "recipe.yaml") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return written


def refused(path: Path) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        load(path)
    return caught.value


def told(path: Path) -> list[str]:
    """Every problem as ``LINE: key: what``."""
    return [str(problem).removeprefix(f"{path}:").strip() for problem in refused(path).problems]


def test_a_recipe_is_read(write: Write) -> None:
    """The first recipe of the README does not load."""
    path = write(GOOD + "tags: [v1, latest]\nbase: scratch\n")
    recipe = load(path)
    assert isinstance(recipe, Recipe)
    assert isinstance(recipe.spec, ModelcarSpec)
    assert recipe.spec.model == HuggingFaceRef(hf="org/granite", revision="v1")
    assert (recipe.path, recipe.folder, recipe.kind.name) == (path, path.parent, "modelcar")
    assert recipe.spec.tags == ("v1", "latest")


def test_the_lock_lies_beside_the_recipe(write: Write) -> None:
    """Two recipes in one folder share a lock."""
    assert load(write(GOOD)).lock_path.name == "recipe.lock"
    assert load(write(GOOD, "granite-3.0.yaml")).lock_path.name == "granite-3.0.lock"


def test_a_folder_stands_for_its_recipe(write: Write, tmp_path: Path) -> None:
    """``modelpack build samples/quickstart`` does not work."""
    path = write(GOOD)
    assert load(tmp_path).path == path


def test_a_folder_without_a_recipe_names_those_below(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a fleet's folder a newcomer is sent to the settings, which are no recipe."""
    monkeypatch.chdir(tmp_path)
    write("registries: {}\n", "modelpack.yaml")
    assert "modelpack init" in refused(Path()).hint
    (tmp_path / "granite").mkdir()
    write(GOOD, "granite/recipe.yaml")
    assert refused(Path()).hint == f"name the recipe: {Path('granite', 'recipe.yaml')}"


def test_a_folder_without_a_recipe_says_which_files_there_are(write: Write, tmp_path: Path) -> None:
    """A person with one recipe under another name has to guess."""
    assert "init" in refused(tmp_path).hint
    write(GOOD, "granite.yml")
    assert "granite.yml" in refused(tmp_path).hint


@pytest.mark.parametrize("name", ["granite", "recipe"])
def test_two_recipes_never_share_a_lock(write: Write, tmp_path: Path, name: str) -> None:
    """Two images in one folder overwrite each other's lock, and each night rebuilds both."""
    pair = write(GOOD, f"{name}.yaml"), write(GOOD.replace("granite", "other"), f"{name}.yml")
    for path, other in (pair, pair[::-1]):
        assert str(refused(path)) == f"{path} and {other} would share {tmp_path / name}.lock"
    write("apiVersion: v1\nkind: Service\n", "mini.yml")
    assert load(write(GOOD, "mini.yaml")).lock_path == tmp_path / "mini.lock"
    (tmp_path / "also.yml").symlink_to(write(GOOD, "also.yaml"))
    assert load(tmp_path / "also.yml").spec.name == "granite"


@pytest.mark.parametrize("inside", [False, True])
def test_a_link_that_leads_nowhere_is_told_as_that(tmp_path: Path, inside: bool) -> None:
    """Who is told to write a new recipe, where the old one was moved away from below a link, loses what was locked."""
    link = tmp_path / "recipe.yaml"
    named = tmp_path if inside else link
    link.symlink_to("moved.yaml")
    assert str(refused(named)) == f"{link} is a link to moved.yaml, which is not there"
    assert recipes_in([named]) == [link]
    link.unlink()
    link.symlink_to(link)
    assert str(refused(named)) == f"{link} is a link that leads back to itself"
    assert recipes_in([named]) == [link]


def test_the_digest_is_of_the_meaning(write: Write) -> None:
    """A comment, a shorthand or an order of keys makes the lock out of date."""
    plain = load(write(GOOD)).digest
    spelled = "# a comment\nmodel: {revision: 'v1', hf: org/granite}\nname: granite\nkind: modelcar\ntags: [latest]\n"
    assert load(write(spelled, "b.yaml")).digest == plain
    assert load(write(GOOD.replace("v1", "v2"), "c.yaml")).digest != plain


@pytest.mark.parametrize(
    "content", [b"\xef\xbb\xbf" + GOOD.encode(), GOOD.replace("\n", "\r\n").encode(), GOOD.replace("\n", "\r").encode()]
)
def test_files_from_other_systems_are_read(write: Write, content: bytes) -> None:
    """What Windows' editors save is refused."""
    assert load(write(content)).spec.name == "granite"


def test_everything_is_told_at_once(write: Write) -> None:
    """A person mends one line, runs again, and meets the next mistake."""
    path = write(
        "kind: modelcar\n"
        "nmae: x\n"
        "name: Bad Name\n"
        "model:\n"
        "  hf: org/granite\n"
        "  revision: 1e5\n"
        '  exclude: "*.bin"\n'
        "base: quay.io/UPPER:x\n"
        "tags: [1.0, yes, v1]\n"
        "layers: perfile\n"
        "labels:\n"
        '  team: "a\\u202eb"\n'
        "name: again\n"
        "platforms: [linux]\n"
    )
    assert told(path) == [
        "2: nmae: is not a key here",
        "3: name: 'Bad Name' is not an image's name",
        "6: model.revision: must be a text; 1e5 without quotes is a number",
        "7: model.exclude: must be a list, and is a text",
        "8: base: is not an image reference: 'UPPER' is not a repository name",
        "9: tags[0]: must be a text; 1.0 without quotes is a number",
        "9: tags[1]: must be a text; yes without quotes is true or false",
        "10: layers: must be 'squashed' or 'per-file'",
        "12: labels.team: has the invisible character U+202E",
        "13: name: is there twice, first in line 3",
        "14: platforms[0]: 'linux' is not a platform",
    ]
    hints = {str(problem).partition(": ")[2]: problem.hint for problem in refused(path).problems}
    assert hints["nmae: is not a key here"] == "did you mean 'name'?"
    assert hints["model.revision: must be a text; 1e5 without quotes is a number"] == 'quote it: "1e5"'
    assert hints["model.exclude: must be a list, and is a text"] == 'write ["*.bin"]'
    assert hints["layers: must be 'squashed' or 'per-file'"] == "did you mean 'per-file'?"


def test_a_target_is_offered_its_own_keys(tmp_path: Path) -> None:
    """A key of another target is told to be wrong, and the very same key is offered."""
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "kind: modelcar\nname: a\nmodel: ./models\ntargets:\n  - {name: kubernetes, gpus: 1}\n  - {name: kserve, gpu: 1}\n"
    )
    first, second = refused(path).problems
    assert "the keys are: name, mount_path" in first.hint
    assert second.hint == "did you mean 'gpus'?"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("model: {hf: org/x, inclde: []}", "3: model.inclde: is not a key here"),
        ("model:\n  path: ../x", "4: model.path: the folder '../x' must not leave its folder with '..'"),
        ("model: ../x", "3: model: the folder '../x' must not leave its folder with '..'"),
        ("model: hf://org/na--me@v1", "3: model: 'org/na--me' is not a repository of a hub"),
        ("model: s3://bucket/x", "3: model: 's3://bucket/x' is not a source"),
        ("model: https://x.org/a", "3: model: is one URL, and not a list of them"),
        ("model: [https://x.org/a,\n  http://x.org/b]", "4: model[1]: must be https; http is for loopback alone"),
        ("model:\n- https://x.org/a\n- url: https://x.org/b\n  sha256: 12", "6: model[1].sha256: must be a text; 12 without quotes is a number"),
        ("model:\n  urls:\n  - url: https://x.org/\n", "5: model.urls[0]: the URL ends in no file name"),
        ("model:\n- 5\n", "4: model[0]: must be a mapping, and is a number"),
        ("model:\n", "3: model: does not say where the model is"),
        ("model: {hf: a/b, path: c}", "3: model: names 2 sources at once: hf, path"),
        ("model: ./x\nbuilder: [a]", "4: builder: must be a text, and is a list"),
        ("model: ./x\nlabels: {5: a}", '4: labels.5: is a number where a key should be'),
        ("model: ./x\nlabels:\n  n: null", "5: labels.n: is empty"),
        ("model: ./x\nlabels: {a: {b: c}}", "4: labels.a: must be a text, and is a mapping"),
        ("model: ./x\nlabels:\n  'a b': c", "5: labels.'a b': 'a b' is not a label's name"),
        ("model: ./x\nlabels:\n  a: |\n    two\n    lines", "5: labels.a: has the control character U+000A (a line break)"),
        ("model: ./x\nkin: modelcar", "4: kin: is not a key here"),
        ("model: &m ./x", "3: model: has the YAML anchor '&m'"),
        ("model: ./x\ntags: [*m]", "4: tags[0]: is the YAML reference '*m'"),
        ("model: !!python/object ./x", "3: model: has the YAML tag '!!python/object'"),
        ("model: ./x\ntags: [0777]", "4: tags[0]: must be a text; 0777 without quotes is a number"),
        ("model: ./x\ntags: [~]", "4: tags[0]: is empty"),
        ("model: ./x\ntags: []", "4: tags: must not be empty"),
        ("model: ./x\n# \u202e", "4: has the invisible character U+202E"),
        ("model: ./x\ntags: [a\x07]", "4: tags[0]: has the control character U+0007"),
        ('model: ./x\ntags: ["a\\0"]', "4: tags[0]: has the control character U+0000"),
        ("model: ./x\0", "3: model: has the control character U+0000"),
        ("model: ./\u200bx", "3: model: has the invisible character U+200B"),
        ("model: ./x\u2028tags: [a]", "3: model: has the invisible character U+2028"),
        ('model: ./x\n"a\\u0085": 1', "4: 'a\\x85': has the control character U+0085"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_where_it_is(write: Write, written: str, expected: str) -> None:
    """The line or the key that is named is not the one that the person wrote."""
    assert expected in told(write(f"kind: modelcar\nname: x\n{written}\n"))


def test_what_is_missing_is_said(write: Write) -> None:
    """The key that is not there has no line, and would be told nowhere."""
    assert told(write("kind: modelcar\n")) == ["1: model: is missing", "1: name: is missing"]


EVERY_KIND = f"the kinds are: {', '.join(kinds())}"


@pytest.mark.parametrize(
    ("written", "expected", "hint"),
    [
        ("name: x", "1: kind: is missing", EVERY_KIND),
        ("kind: zzz", "1: kind: there is no kind 'zzz'", EVERY_KIND),
        ("kind: 5", "1: kind: must be a text", EVERY_KIND),
        ("\nkind: Model-Car\n", "2: kind: there is no kind 'Model-Car'", "did you mean 'modelcar'?"),
    ],
)
def test_the_kind_is_one_that_there_is(write: Write, written: str, expected: str, hint: str) -> None:
    """A person has to read the source to learn the kinds."""
    path = write(written)
    assert expected in told(path)
    assert hint in [problem.hint for problem in refused(path).problems]


def test_a_kind_with_a_slip_is_read_as_the_one_that_was_meant(write: Write) -> None:
    """The slip hides every other mistake."""
    assert told(write("kind: modelcat\nname: 5\nmodel: ./x\n")) == [
        "1: kind: there is no kind 'modelcat'",
        "2: name: must be a text; 5 without quotes is a number",
    ]


@pytest.mark.parametrize(
    ("written", "line"),
    [
        ("a: b: c", 1), ("a: 1\nb: 'x\n\n\n", 2), ("a:\n\t- b", 2), ("a: 1\nb: [1,\nc: 2\n", 2), ("kind: modelcar\n name: x", 2),
        ("a: 1\nname\nb: 2", 2), ("%YAML 1.1\n---\na: 1", 2), ("a: 1\n---\nb: 1", 2), ("a: 1\n...\nb: 2", 3), ('a: "\\q"', 1), ("a: @b", 1),
        ("? [a]\n: b", 1), ("- a", 1), ("a", 1), ("[" * 1000, 1), ("a: " + "[" * 1000, 1), ("- " * 1000, 1), ("&a : 1", 1), ("*a", 1),
        ("a: 1\nb: \"\\U99999999\"", 2), ("}", 1), ("a: 1\n}", 2), ("!<a", 1), ("a: !<", 1), ("a: %b", 1),
    ],
)  # fmt: skip
def test_what_is_no_yaml_names_its_line(write: Write, written: str, line: int) -> None:
    """A traceback of a parser, or a line that is far from the mistake."""
    assert told(write(written))[0].split(":")[0] == str(line)


def test_an_empty_file_says_how_to_begin(write: Write) -> None:
    """An empty file ends in a traceback."""
    for content in ("", "\n\n", "# nothing\n", "---\n", "~\n", "\ufeff"):
        problem = refused(write(content)).problems[0]
        assert problem.what == "is empty"
        assert "modelpack init" in problem.hint


def test_what_is_no_text_is_refused(write: Write, tmp_path: Path) -> None:
    """A model file given by mistake fills the memory, or a UTF-16 file is a puzzle."""
    assert told(write(GOOD.encode() + b"# \xff\n")) == ["4: is not UTF-8"]
    assert "not UTF-8" in told(write(GOOD.encode("utf-16")))[0]
    assert "larger" in told(write(b"a" * 2_000_000))[0]
    assert "init" in refused(tmp_path / "absent.yaml").hint


def test_a_small_file_cannot_be_read_for_ever(write: Write) -> None:
    """A few kilobytes keep the command busy for minutes: references that grow, brackets that nest."""
    bomb = "a: &a [x, x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(24)
    )
    assert any("YAML anchor" in problem for problem in told(write("kind: modelcar\n" + bomb)))
    assert (
        told(write("x: " + "[" * 400_000)) == ["1: x" + "[0]" * 20 + ": is more than 20 levels deep"]
        or "levels deep" in told(write("x: " + "[" * 400_000))[0]
    )


def test_very_many_problems_are_counted(write: Write) -> None:
    """A wrong file scrolls everything else away."""
    problems = refused(write("kind: modelcar\n" + "".join(f"k{n}: 1\n" for n in range(500)))).problems
    assert len(problems) == 101
    assert problems[-1].what == "402 more"


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text() | st.text(":-[]{}&*!|>'\"%@`#?,\n\t ab01~\\\u2028\x85\ufeff", max_size=60) | st.binary(max_size=60))
def test_no_file_ends_in_a_traceback(write: Write, content: str | bytes) -> None:
    """Whatever lies there, the answer is a line and a sentence."""
    path = write(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    error = refused(path)
    assert error.problems
    for problem in error.problems:
        assert problem.where.startswith(str(path)), problem
        assert problem.what
        assert f"{problem}{problem.hint}".isprintable(), "a message carries what steers a terminal"


BLOCKS: tuple[tuple[str, tuple[tuple[int, str], ...]], ...] = (
    ("tags: [a, b]", ()),
    ("tags:\n- a\n\n# between\n- 1.0\n- b c", ((4, "tags[1]"), (5, "tags[2]"))),
    ("tags: [a,\n  5,\n  b]", ((1, "tags[1]"),)),
    ("platforms:\n  - linux/amd64", ()),
    ("platforms:\n  -\n    linux", ((2, "platforms[0]"),)),
    ("labels:\n  a: b", ()),
    ("labels:\n  # c\n  a: b\n  n: 5\n  'x y': z", ((3, "labels.n"), (4, "labels.'x y'"))),
    ("labels: {a: b,\n  n:\n    yes}", ((1, "labels.n"),)),
    ("base: 'quay.io/a/b:1'", ()),
    ("base:\n  UPPER", ((0, "base"),)),
    ("layers: both", ((0, "layers"),)),
    ("builder: [a]", ((0, "builder"),)),
    ("unknown: 1", ((0, "unknown"),)),
    ("odd:\n  deep: [1]", ((0, "odd"),)),
)
MODELS: tuple[tuple[str, tuple[tuple[int, str], ...]], ...] = (
    ("model: hf://a/b", ()),
    ("model: ../up", ((0, "model"),)),
    ("model:\n  hf: a/b\n  revision: 12", ((2, "model.revision"),)),
    ("model:\n  include: [a, '']\n  path: ok\n  exlude: []", ((1, "model.include[1]"), (3, "model.exlude"))),
    (
        "model:\n- https://x.org/a\n- url: ftp://x.org/b\n  path: /c\n- https://x.org/",
        ((2, "model[1].url"), (3, "model[1].path"), (4, "model[2]")),
    ),
    ("model:\n  urls:\n\n  - {url: https://x.org/a, sha: b}", ((3, "model.urls[0].sha"),)),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_lines_are_right_wherever_a_mistake_stands(write: Write, data: st.DataObject) -> None:
    """Comments, blank lines, the order of keys or Windows' line ends move the line that is named."""
    fillers = st.lists(st.sampled_from(["", "# a comment: [", "   ", "# \u00fc\u6a21"]), max_size=3)
    chosen = data.draw(st.lists(st.sampled_from(BLOCKS), unique_by=lambda block: block[0].split(":")[0], max_size=6))
    blocks = data.draw(
        st.permutations([*chosen, data.draw(st.sampled_from(MODELS)), ("kind: modelcar", ()), ("name: x", ())])
    )
    lines: list[str] = []
    expected = set()
    for block, problems in blocks:
        lines += data.draw(fillers)
        expected |= {f"{len(lines) + 1 + offset}: {key}" for offset, key in problems}
        lines += block.split("\n")
    ends = data.draw(st.sampled_from(["\n", "\r\n"]))
    path = write(data.draw(st.sampled_from(["", "\ufeff"])) + ends.join(lines) + ends)
    if not expected:
        assert load(path).spec.name == "x"
        return
    assert {re.match(r"\d+: \S+?('.*?')?(?=: )", line)[0] for line in told(path)} == expected  # type: ignore[index]


# --- the schema


@cache
def validator() -> Any:
    jsonschema = pytest.importorskip("jsonschema")
    written = schema()
    jsonschema.Draft202012Validator.check_schema(written)
    return jsonschema.Draft202012Validator(written)


RECIPES: tuple[dict[str, Any], ...] = (
    {"kind": "modelcar", "name": "a", "model": "hf://a/b@c"},
    {"kind": "modelcar", "name": "a", "model": "./models", "base": "scratch", "layers": "per-file"},
    {
        "kind": "modelcar",
        "name": "a",
        "model": {"hf": "a/b", "revision": "main", "include": ["*"], "exclude": ["*.bin"]},
    },
    {
        "kind": "modelcar",
        "name": "a",
        "model": {"path": "models"},
        "tags": ["v1"],
        "platforms": ["linux/amd64", "linux/arm64"],
    },
    {"kind": "modelcar", "name": "a", "model": ["https://x.org/a"], "labels": {"a": "b"}},
    {
        "kind": "modelcar",
        "name": "a",
        "model": [{"url": "https://x.org/a", "path": "1/a", "sha256": "0" * 64}],
        "builder": "b:1",
    },
    {"kind": "modelcar", "name": "a", "model": {"urls": ["https://x.org/a", {"url": "https://x.org/b"}]}},
)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_schema_takes_what_is_taken(recipe: dict[str, Any]) -> None:
    """An editor marks a good recipe as wrong."""
    ModelcarSpec.model_validate(recipe)
    assert [error.message for error in validator().iter_errors(recipe)] == []


def test_the_schema_takes_the_starter(tmp_path: Path) -> None:
    """What ``modelpack init`` writes is underlined in red."""
    from recipes.modelcar.kind import modelcar

    for path, text in modelcar.starter("my-model").items():
        (tmp_path / path).write_text(text)
    spec = load(tmp_path).spec
    assert isinstance(spec, ModelcarSpec)
    assert spec.name == "my-model"
    assert not isinstance(spec.model, FolderRef)
    validator().validate(YAML(typ="safe").load((tmp_path / "recipe.yaml").read_text()))


WRONG_TYPES: tuple[Any, ...] = (None, 5, 1.5, True, "x", [], [5], {}, {"x": 5}, [None], ["x"])
TYPES = {
    "string_type",
    "tuple_type",
    "dict_type",
    "model_type",
    "missing",
    "extra_forbidden",
    "literal_error",
    "too_short",
    "string_too_short",
}


def places(content: Any, steps: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [steps, *(found for key, child in children for found in places(child, (*steps, key)))]


@settings(deadline=None)
@given(st.sampled_from(RECIPES), st.data())
def test_the_schema_refuses_every_type_that_is_refused(recipe: dict[str, Any], data: st.DataObject) -> None:
    """An editor says that all is well, and the command says that it is not."""
    content = copy.deepcopy(recipe)
    steps = data.draw(st.sampled_from([place for place in places(content) if place]))
    *above, last = steps
    target = content
    for step in above:
        target = target[step]
    how = data.draw(st.sampled_from(["replace", "remove", "add"]))
    if how == "replace":
        target[last] = data.draw(st.sampled_from(WRONG_TYPES))
    elif how == "remove":
        del target[last]
    elif isinstance(target, dict):
        target["unknown"] = 1
    try:
        ModelcarSpec.model_validate(content)
    except ValidationError as error:
        if {found["type"] for found in error.errors()} & TYPES:
            assert list(validator().iter_errors(content)), json.dumps(content)
    else:
        assert [found.message for found in validator().iter_errors(content)] == []


def test_the_schema_explains_every_key() -> None:
    """An editor completes a key and does not say what it is for."""
    written = schema("modelcar")
    assert written["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert written["properties"]["kind"]["enum"] == ["modelcar"]
    for name, definition in written["$defs"].items():
        for key, described in definition["properties"].items():
            assert described.get("description"), f"{name}.{key} has no description"


def test_a_schema_of_no_kind_is_refused() -> None:
    """A slip in the kind's name prints an empty schema."""
    with pytest.raises(InvalidInput, match="modelca"):
        schema("modelca")
