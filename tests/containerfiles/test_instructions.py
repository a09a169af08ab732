"""Reading a Containerfile: if these fail, an image is built from something that nobody pinned, or another file than was written."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from buildkit.containerfiles.image_places import Named, binds, pinned, places, relocated
from buildkit.containerfiles.instructions import assigned, read, replaced
from buildkit.containerfiles.shell_words import Unreadable, expanded, raw_words, unquoted
from buildkit.oci.reference import Reference

DIGEST = "sha256:" + "a" * 64


def named(text: str) -> list[tuple[int, str, str]]:
    troubles: list = []  # type: ignore[type-arg]
    found = [(one.line, one.word, one.text) for one in places(read(text), troubles)]
    assert not troubles, troubles
    return found


def troubles(text: str) -> list[tuple[int, str]]:
    written = read(text)
    found = list(written.troubles)
    list(places(written, found))
    return [(one.line, one.what) for one in found]


def test_every_place_that_names_an_image() -> None:
    """An image that is overlooked is pulled by its tag, whatever it is that day."""
    text = (
        "# syntax=docker/dockerfile:1\n"
        "ARG V=3\n"
        "from --platform=$BUILDPLATFORM python:${V} as build\n"
        "RUN --mount=type=cache,target=/c --mount=type=bind,FROM=uv:1,source=/uv,target=/uv \\\n"
        "    # a comment in between\n"
        "\n"
        "    --mount=from=tools,target=/t  /uv sync\n"
        "FROM \\\n"
        "   registry.example.com:5000/a/b\n"
        "COPY --chown=1:1 --from=other:2 /a /b\n"
        "\tcopy --from=build /a /b\n"
        "ONBUILD COPY --from=late:3 /x /y\n"
        'RUN ["--mount=from=x"]\n'
        "RUN echo --mount=from=no FROM x\n"
    )
    assert named(text) == [
        (3, "FROM", "python:${V}"),
        (4, "RUN --mount", "uv:1"),
        (4, "RUN --mount", "tools"),
        (8, "FROM", "registry.example.com:5000/a/b"),
        (10, "COPY --from", "other:2"),
        (11, "COPY --from", "build"),
        (12, "COPY --from", "late:3"),
    ]


def test_here_documents_are_no_instructions() -> None:
    """A script in a Containerfile is taken for its lines, or its lines are taken for a script."""
    text = (
        "FROM a\n"
        "RUN <<EOF cat && 3<<-'B' cat\nFROM x\nEOF\n\tFROM y\n\tB\n"
        'COPY <<"two words" /a\nFROM z\ntwo words\n'
        "RUN echo \"<<NO\" '<<NO' <<< here 1<2\n"
        'RUN ["cat", "<<NO"]\n'
        "RUN echo it's <<NO\n"
        "FROM b\n"
    )
    written = read(text)
    assert not written.troubles
    assert [(one.keyword, one.documents) for one in written.instructions] == [
        ("FROM", ()),
        ("RUN", ("FROM x", "\tFROM y")),
        ("COPY", ("FROM z",)),
        ("RUN", ()),
        ("RUN", ()),
        ("RUN", ()),
        ("FROM", ()),
    ]


def test_another_escape_character() -> None:
    """A path of Windows continues a line that nobody continued."""
    text = "# escape=`\n# check=skip=all\nFROM a\nRUN dir C:\\\nFROM `\n  b\n"
    assert named(text) == [(3, "FROM", "a"), (5, "FROM", "b")]
    assert read(text).escape == "`"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("FROM a\nRUN a \\\\\nFROM b\n", 2, "engines do not agree"),
        ("FROM a\nRUN a \\\n", 2, "nothing follows"),
        ("FROM a\nRUN <<EOF\nx\n", 2, "does not end"),
        ("FROM a\nRUN <<RUN\nx\nRUN\n", 2, "takes for an instruction"),
        ("FROM a\nONBUILD RUN <<EOF\nx\nEOF\n", 2, "in an ONBUILD"),
        ("FROM a\nFORM b\n", 2, "is not an instruction"),
        ("FROM\u00a0a\n", 1, "is not an instruction"),
        ("FROM a AS\n", 1, "must be FROM IMAGE"),
        ("FROM a b\n", 1, "must be FROM IMAGE"),
        ("FROM a AS 1x\n", 1, "cannot be a stage's name"),
        ('FROM "a"\n', 1, "no quotes"),
        ("FROM --pull=x a\n", 1, "no flag"),
        ("FROM a\nCOPY --from=$X /a /b\n", 2, "no variable"),
        ('FROM a\nRUN --mount=type=bind,"from=b",target=/x y\n', 2, "no quotes"),
        ("FROM a\nONBUILD FROM b\n", 2, "cannot hold a FROM"),
        ("FROM a\rFROM b\n", 1, "carriage return"),
        ("# a comment\n# escape=`\nFROM a\n", 2, "too far down"),
    ],
)
def test_what_engines_read_in_two_ways_is_refused(text: str, line: int, said: str) -> None:
    """One engine builds from an image that the other, and this program, never saw."""
    assert any(at == line and said in what for at, what in troubles(text)), troubles(text)


def test_a_mirror_moves_images_alone() -> None:
    """A label that quotes a reference is rewritten, or a FROM on two lines is not."""
    text = f"FROM --platform=$BUILDPLATFORM \\\n a/b:1@{DIGEST} AS x\nLABEL base=a/b:1@{DIGEST}\nCOPY --from=c/d@{DIGEST} / /\nFROM x\n"
    moved = relocated(text, lambda one: Reference("mirror", one.repository, one.tag, one.digest))
    assert moved == (
        f"FROM --platform=$BUILDPLATFORM \\\n mirror/a/b:1@{DIGEST} AS x\nLABEL base=a/b:1@{DIGEST}\n"
        f"COPY --from=mirror/c/d@{DIGEST} / /\nFROM x\n"
    )
    assert [one.line for one in pinned(text)] == [1, 4]


@pytest.mark.parametrize(
    ("mount", "does"),
    [
        ("source=a,target=/a", True),
        ("type=bind,from=a,target=/a", True),
        ("type=secret,id=a", False),
        ("type=cache,target=/a", False),
    ],
)
def test_what_a_step_mounts(mount: str, does: bool) -> None:
    """podman takes a step from its cache whose files changed."""
    assert binds(f"FROM a\nRUN --mount={mount} \\\n x\n") is does
    assert not binds("FROM a\nRUN echo --mount=source=a\n")


def test_the_variables_of_a_file() -> None:
    """A name that a platform keeps for itself stands on a second line, or in the old form, and nobody sees it."""
    text = "FROM a\nENV A=1 \\\n # B=2\n    C='x y'  D=\nenv E f g\nONBUILD ENV F=1\nLABEL G=1\nRUN H=1 x\n"
    assert list(assigned(read(text))) == [
        (2, "A", "1"), (2, "C", "'x y'"), (2, "D", ""), (5, "E", "f g"), (6, "F", "1"),
    ]  # fmt: skip


# --- words


@pytest.mark.parametrize(
    ("word", "is_"),
    [
        ("python:${V}-slim", "python:3-slim"),
        ("$V$NONE.x", "3.x"),
        ("${NONE:-a${V}}", "a3"),
        ("${EMPTY:-a}${EMPTY-b}", "a"),
        ("${V:+yes}${NONE:+no}", "yes"),
        ("'$V'\"$V\"\\$V", "$V3$V"),
        ("$", "$"),
    ],
)
def test_variables(word: str, is_: str) -> None:
    """An ARG in a FROM names another image here than in the engine."""
    assert expanded(word, {"V": "3", "EMPTY": ""}, "\\") == is_


@pytest.mark.parametrize("word", ["${V", "'a", '"a', "${V%x}", "${}", "${V/a/b}"])
def test_what_not_every_engine_expands_is_refused(word: str) -> None:
    """buildah knows fewer forms than BuildKit."""
    with pytest.raises(Unreadable):
        expanded(word, {"V": "3"}, "\\")


def test_words_with_quotes() -> None:
    """A here-document in quotes is none."""
    text = 'a \'b c\'d "e \\" f" ${g:-h i} j\\ k'
    words = raw_words(text, "\\")
    assert words is not None
    assert [text[start:end] for start, end in words] == ["a", "'b c'd", '"e \\" f"', "${g:-h i}", "j\\ k"]
    assert raw_words("it's", "\\") is None
    assert unquoted("'a'\"b\"\\c", "\\") == "abc"


# --- properties

IMAGES = st.sampled_from(["a", "b/c:1", "h.io:5000/x/y", f"p/q@{DIGEST}", "é", "${V}"])
NOISE = st.sampled_from(
    ["", "# FROM x", "   ", "RUN echo FROM y", "LABEL a=b", "RUN <<EOF\nFROM z\nCOPY --from=z / /\nEOF", "ARG V=1"]
)
GAPS = st.sampled_from([" ", "\t", "  ", " \\\n ", " \\\n# FROM w\n  ", " \\ \n\n"])


@st.composite
def files(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A Containerfile of parts that are known to name images, and of parts that are known not to."""
    parts, wanted = [], []
    for _ in range(draw(st.integers(1, 6))):
        image, gap, form = draw(IMAGES), draw(GAPS), draw(st.sampled_from(["FROM", "from", "COPY", "RUN", "ONBUILD"]))
        parts += [draw(NOISE)]
        match form:
            case "COPY":
                line = f"COPY{gap}--chown=1{gap}--from={image}{gap}/a{gap}/b"
            case "RUN":
                line = f"RUN{gap}--mount=type=bind,from={image},target=/x{gap}true"
            case "ONBUILD":
                line = f"ONBUILD{gap}COPY{gap}--from={image}{gap}/a{gap}/b"
            case _:
                line = f"{form}{gap}--platform=linux/amd64{gap}{image}{gap}AS{gap}x"
        if "$" in image and "FROM" not in line.upper()[:4]:
            continue
        parts.append(line)
        wanted.append(image)
    return "\n".join(parts) + draw(st.sampled_from(["", "\n", "\r\n"])), wanted


@settings(max_examples=300, deadline=None)
@given(files())
def test_no_place_is_missed_and_rewriting_changes_only_them(made: tuple[str, list[str]]) -> None:
    """An image of a file that nobody foresaw is not pinned, or a command beside it is changed."""
    text, wanted = made
    written = read(text)
    found = list(places(written, []))
    assert [one.text for one in found] == wanted
    assert [text[one.start : one.end] for one in found] == wanted
    rewritten = replaced(text, [(one.start, one.end, f"new/{number}") for number, one in enumerate(found)])
    again = read(rewritten)
    assert [one.text for one in places(again, [])] == [f"new/{number}" for number in range(len(found))]
    assert [one.keyword for one in again.instructions] == [one.keyword for one in written.instructions]
    back = replaced(rewritten, [(one.start, one.end, old) for one, old in zip(places(again, []), wanted, strict=True)])
    assert back == text


@settings(max_examples=300, deadline=None)
@given(
    st.text(st.characters(codec="utf-8"), max_size=120) | st.text("FROM aCOPY--from=\\\n`'\"$#<>EOF{}[]\t", max_size=80)
)
@example("\\\nFROM a")
@example("FROM a\nRUN <<A <<B\nA\n")
def test_any_text_is_read_or_refused(text: str) -> None:
    """A file that somebody mistyped ends in a traceback."""
    written = read(text)
    found: list[Named] = list(places(written, []))
    for one in found:
        assert 0 <= one.start < one.end <= len(text)
    from_lines = [line for line in text.split("\n") if re.match(r"[ \t]*FROM[ \t]+\w", line)]
    if from_lines and not written.troubles and "<<" not in text and "\\" not in text and "`" not in text:
        assert len([one for one in written.instructions if one.keyword == "FROM"]) >= len(from_lines)
