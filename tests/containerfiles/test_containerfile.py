"""No value can become an instruction: if these fail, a recipe or a hub can run what it likes on the builder."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jinja2 import TemplateError

from buildkit.containerfiles.template import LONGEST_LINE, copyable, labels, paths, render, shell, value, word
from buildkit.errors import InvalidInput
from buildkit.reading.plain import hidden

BUILDKIT = re.compile(r"([^\\])\\[ \t]*$|^\\[ \t]*$")
BUILDAH = re.compile(r"\\[ \t]*$")
"""What continues a line: frontend/dockerfile/parser/parser.go of each."""


def instructions(text: str, continues: re.Pattern[str]) -> list[str]:
    """The instruction words of a Containerfile, read as an engine reads it: comments and blank lines never end a line."""
    words, inside = [], False
    for line in text.split("\n"):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not inside:
            words.append(line.split()[0].upper())
        inside = bool(continues.search(line))
    return words


def both(text: str) -> list[str]:
    """The instruction words, on which the two engines must agree."""
    read = instructions(text, BUILDKIT)
    assert read == instructions(text, BUILDAH), "BuildKit and buildah read two different Containerfiles"
    return read


def unquoted(text: str) -> str:
    """What is left of a line without its quoted parts."""
    return re.sub(r"""'[^']*'|"(?:\\.|[^"\\])*\"""", "", text)


texts = st.text(st.characters(codec="utf-8"), max_size=80) | st.text(
    "'\"\\$#`\n\r\t \u2028<EOF&;|{}[]%RUN:=-", max_size=40
)
HOSTILE = (
    "x\nRUN id",
    "x\\\nRUN id",
    "x \\",
    "'; id #",
    "$(id)",
    "`id`",
    "<<EOF",
    "0<<EOF",
    '"]\nRUN ["id"',
    "\\",
    "x\u2028RUN id",
    "--chmod=4755",
    "${HOME}",
    "# syntax=evil",
    "x\r\nRUN id",
    "x\0y",
    "{{ 7 * 7 }}",
    "{% raw %}",
    "\udc80",
)
TEMPLATE = """\
# Of {{ name | word("the name") }}.
FROM scratch AS files
RUN mkdir -p /lock && printf '%s\\n' \\
{% for one in many %}
      {{ one | shell("the file") }} \\
{% endfor %}
      > /lock/files
RUN echo {{ one | shell }}
COPY {{ copied | paths("the folder") }}
ENV A={{ one | value }}
LABEL {{ pairs | labels }}
USER 1
"""


def hostile(test: Callable[[str], None]) -> Callable[[str], None]:
    for text in HOSTILE:
        test = example(text)(test)
    return test


@hostile
@given(texts)
def test_a_value_is_refused_or_stays_a_value(text: str) -> None:
    """One line break too many, and a file's name runs as root in the build."""
    for wanted in (
        {"many": [text, "b", text]},
        {"one": text},
        {"copied": [text, text, "/x/"]},
        {"pairs": {"a": text, "b": text}},
        {"pairs": {text: "a"}},
        {"name": text},
    ):
        values = {"name": "n", "many": ["a"], "one": "a", "copied": ["a", "/x/"], "pairs": {"a": "b"}, **wanted}
        try:
            written = render(TEMPLATE, **values)
        except InvalidInput as error:
            assert error.problems[0].where, "the refusal does not say which value it means"
            continue
        assert both(written) == ["FROM", "RUN", "RUN", "COPY", "ENV", "LABEL", "USER"]
        assert "<<" not in "".join(map(unquoted, written.splitlines())), "BuildKit would read what follows as a heredoc"


@given(texts)
def test_a_word_of_the_shell_is_that_word(text: str) -> None:
    """A file is verified under another name than it has."""
    if hidden(text) is None:
        assert shlex.split(shell(text)) == [text]
    else:
        with pytest.raises(InvalidInput):
            shell(text)


def test_a_real_shell_reads_every_word_back() -> None:
    """What Python thinks of quotes is not what a shell does."""
    words = [text for text in (*HOSTILE, "", " ", "~", "*", "!x", "a=b", "-n", "ü 模", "it's") if hidden(text) is None]
    script = "printf '%s\\n' " + " ".join(shell(one) for one in words)
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:-1] == words


@given(texts)
def test_a_label_is_what_was_written(text: str) -> None:
    """An engine expands a variable, or eats a backslash, and three engines build three images."""
    if hidden(text) is not None:
        with pytest.raises(InvalidInput):
            value(text)
        return
    quoted = value(text)
    inside = quoted[1:-1]
    assert re.fullmatch(r'(?:[^"\\$]|\\["\\$])*', inside), "a quote, a dollar or a backslash has no backslash before it"
    assert re.sub(r"\\(.)", r"\1", inside) == text


@given(st.lists(texts.filter(lambda text: hidden(text) is None and copyable(text)), min_size=1, max_size=4))
def test_copied_paths_are_those_paths(named: list[str]) -> None:
    """A COPY takes another file than the recipe names."""
    assert json.loads(paths([*named, "/x/"])) == [*named, "/x/"]


@pytest.mark.parametrize("path", ["a$b", "a*", "a?", "[a]", "a]", "a\\b", "it's", 'a"b', "a ", "a /b"])
def test_a_path_that_copy_would_expand_is_refused(path: str) -> None:
    """COPY reads a pattern or a variable whatever the quotes, and copies something else."""
    assert not copyable(path)
    with pytest.raises(InvalidInput):
        paths([path, "/x/"])


@pytest.mark.parametrize("text", ["", "a b", "-a", "a'", "a=b", "a\n", "ä", "$a"])
def test_a_word_needs_no_quotes(text: str) -> None:
    """A reference or stage with a space in it is two words of an instruction."""
    with pytest.raises(InvalidInput):
        word(text)


@pytest.mark.parametrize(
    "text",
    ["[::1]:5000/a/b:1", "quay.io/a:v1@sha256:" + "0" * 64, "huggingface_hub", "1001", "refs/pr/1", "linux/amd64"],
)
def test_what_is_a_word_is_one(text: str) -> None:
    """A reference that everybody writes cannot be built."""
    assert word(text) == text


def test_labels_stand_one_a_line() -> None:
    """A label more is a line more in a Containerfile that is kept in git."""
    assert labels({"a": "1", "b.c": 'x"$'}) == 'a="1" \\\n      b.c="x\\"\\$"'


def test_a_template_cannot_forget_a_filter() -> None:
    """A kind's author leaves a filter out, and a recipe writes instructions."""
    for template in (
        "RUN {{ x }}\n",
        "RUN {{ x ~ (x | shell) }}\n",
        "RUN {{ [x | shell] | join }}\n",
        "RUN {{ x | shell | upper }}\n",
    ):
        with pytest.raises(TemplateError):
            render(template, x="a")
    with pytest.raises(TemplateError):
        render("RUN {{ missing | shell }}\n")


def test_a_line_that_no_engine_reads_is_refused() -> None:
    """Both engines stop at 64 KiB with an error that names no value."""
    assert render("RUN {{ x | shell }}\n", x="a" * 60_000)
    with pytest.raises(InvalidInput):
        render("RUN {{ x | shell }}\n", x="a" * LONGEST_LINE)
