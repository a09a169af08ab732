"""Reads a Containerfile that a person wrote, and keeps of every piece where in the file it stands.

What is read follows BuildKit's parser (frontend/dockerfile/parser, instructions/parse_heredoc.go). Where buildah's, an older
copy of it, reads the same text differently, the text is refused: two engines would build two images from it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from buildkit.containerfiles.shell_words import raw_words, unquoted
from buildkit.oci.parsing import parse

KEYWORDS = frozenset(
    {
        "ADD",
        "ARG",
        "CMD",
        "COPY",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "FROM",
        "HEALTHCHECK",
        "LABEL",
        "MAINTAINER",
        "ONBUILD",
    }
    | {"RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"}
)
_DIRECTIVE = re.compile(r"#[ \t]*([A-Za-z][A-Za-z0-9]*)[ \t]*=[ \t]*(.+?)[ \t]*")
_DIRECTIVES = frozenset({"syntax", "escape", "check"})
_HEREDOC = re.compile(r"\d*<<(-?)([^<]*)", re.DOTALL)


@dataclass(frozen=True)
class Trouble:
    """Something that is wrong in a line of a Containerfile, and what to do about it."""

    line: int
    what: str
    hint: str = ""


@dataclass(frozen=True)
class Instruction:
    """One instruction: its word in capitals, its line, and what follows the word with continued lines joined.

    ``pieces`` say for positions of ``text`` where they stand in the file. ``documents`` are the here-documents behind it.
    """

    keyword: str
    line: int
    text: str
    pieces: tuple[tuple[int, int], ...]
    documents: tuple[str, ...] = ()

    def place(self, start: int, end: int) -> tuple[int, int]:
        """Where a non-empty part of ``text`` begins and ends in the file."""
        return self._offset(start), self._offset(end - 1) + 1

    def _offset(self, position: int) -> int:
        logical, offset = self.pieces[bisect_right(self.pieces, (position, 1 << 60)) - 1]
        return offset + position - logical

    @property
    def triggered(self) -> Instruction | None:
        """The instruction that an ONBUILD keeps for later."""
        return _instruction(self.line, self.text, self.pieces) if self.keyword == "ONBUILD" else None


@dataclass(frozen=True)
class Directive:
    """A line at the top that tells the reader something: ``# escape=`` and the like. ``start`` and ``end`` in the file."""

    name: str
    value: str
    line: int
    start: int
    end: int


@dataclass(frozen=True)
class Written:
    """A Containerfile as it was read."""

    text: str
    instructions: tuple[Instruction, ...]
    directives: tuple[Directive, ...] = ()
    troubles: tuple[Trouble, ...] = ()

    @property
    def escape(self) -> str:
        r"""What continues a line and takes a character's meaning away: a backslash, or a backquote where the file says so."""
        return next((one.value for one in self.directives if one.name == "escape"), "\\")


@dataclass
class _Reader:
    """The lines of a file, each with its offset, read from the top down."""

    lines: list[tuple[int, str]]
    escape: str = "\\"
    number: int = 0
    troubles: list[Trouble] = field(default_factory=list)

    def trouble(self, line: int, what: str, hint: str = "") -> None:
        self.troubles.append(Trouble(line, what, hint))

    def instruction(self) -> Instruction | None:
        """The next instruction; None where the line holds none."""
        first = self.number + 1
        joined, pieces = "", list[tuple[int, int]]()
        goes_on = True
        while goes_on and self.number < len(self.lines):
            offset, line = self.lines[self.number]
            self.number += 1
            if line.lstrip(_SPACE).startswith("#") or (pieces and not line.strip(_SPACE)):
                goes_on = bool(pieces)
                continue
            kept, goes_on = self._continued(line)
            pieces.append((len(joined), offset))
            joined += kept
        if goes_on:
            self.trouble(first, "the last line goes on, and nothing follows", "remove what continues it")
        return self._of(first, joined, tuple(pieces))

    def _of(self, first: int, joined: str, pieces: tuple[tuple[int, int], ...]) -> Instruction | None:
        if not joined.strip(_SPACE):
            return None
        found = _instruction(first, joined, pieces)
        if found.keyword not in KEYWORDS:
            self.trouble(first, f"{found.keyword[:40]!r} is not an instruction")
        documents = tuple(self._documents(found)) if "<<" in joined else ()
        return Instruction(found.keyword, first, found.text, found.pieces, documents)

    def _continued(self, line: str) -> tuple[str, bool]:
        bare = line.rstrip(" \t")
        if not bare.endswith(self.escape):
            return line, False
        if bare.endswith(self.escape * 2):
            what = f"ends in {self.escape * 2}, and engines do not agree on whether the next line belongs to it"
            self.trouble(self.number, what, "end it otherwise")
            return line, False
        return bare[:-1], True

    def _documents(self, instruction: Instruction) -> Iterator[str]:
        target = instruction.triggered or instruction
        names = [] if target.keyword not in ("ADD", "COPY", "RUN") or _is_list(target) else self._names(target)
        if names and target is not instruction:
            self.trouble(instruction.line, "has a here-document, which engines read differently in an ONBUILD")
        for chomp, name in names:
            if name.upper() in KEYWORDS:
                what = (
                    f"the here-document ends in {name}, which an engine without here-documents takes for an instruction"
                )
                self.trouble(instruction.line, what, "end it with another word, such as EOF")
            yield self._document(instruction.line, chomp, name)

    def _names(self, instruction: Instruction) -> list[tuple[bool, str]]:
        words = raw_words(instruction.text, self.escape)
        found = [match for start, end in words or () if (match := _HEREDOC.fullmatch(instruction.text[start:end]))]
        named = [(bool(match[1]), unquoted(match[2], self.escape)) for match in found]
        return [(chomp, name) for chomp, name in named if name]

    def _document(self, line: int, chomp: bool, name: str) -> str:
        held: list[str] = []
        while self.number < len(self.lines):
            _, text = self.lines[self.number]
            self.number += 1
            if (text.lstrip("\t") if chomp else text) == name:
                return "\n".join(held)
            held.append(text)
        self.trouble(line, f"the here-document {name!r} does not end", f"write {name} on a line of its own")
        return "\n".join(held)


_SPACE = " \t\v\f\r"


def read(text: str) -> Written:
    """Reads a Containerfile; what is wrong with it stands in ``troubles``. The text must have no byte order mark."""
    reader = _Reader(list(_lines(text)))
    directives = tuple(_directives(reader))
    for number, (_, line) in enumerate(reader.lines, 1):
        if "\r" in line:
            reader.trouble(number, "has a carriage return inside a line", "save it with the line ends of Linux")
    reader.escape = next((one.value for one in directives if one.name == "escape"), "\\")
    reader.number = len(directives)
    found = []
    while reader.number < len(reader.lines):
        instruction = reader.instruction()
        if instruction:
            found.append(instruction)
    return Written(text, tuple(found), directives, tuple(sorted(reader.troubles, key=lambda one: one.line)))


def _lines(text: str) -> Iterator[tuple[int, str]]:
    offset = 0
    for line in text.split("\n"):
        yield offset, line.removesuffix("\r")
        offset += len(line) + 1


def _directives(reader: _Reader) -> Iterator[Directive]:
    """The directives at the top. What would be one behind a line that is none is refused: readers disagree there."""
    at_top, seen = True, set[str]()
    for number, (offset, line) in enumerate(reader.lines, 1):
        match = _DIRECTIVE.fullmatch(line)
        name = match[1].lower() if match else ""
        if not line.startswith("#"):
            return
        if not match or name not in _DIRECTIVES:
            at_top = False
        elif not at_top or name in seen:
            if name == "escape" or name in seen:
                reader.trouble(number, f"# {name}= stands too far down", "make it the first line, and write it once")
        else:
            seen.add(name)
            if name == "escape" and match[2] not in ("\\", "`"):
                reader.trouble(number, "# escape= must be a backslash or a backquote")
                return
            yield Directive(name, match[2], number, offset, offset + len(line))


def _instruction(line: int, joined: str, pieces: Iterable[tuple[int, int]]) -> Instruction:
    match = re.match(rf"[{_SPACE}]*([^{_SPACE}]*)[{_SPACE}]*", joined)
    assert match
    kept = joined[match.end() :].rstrip(_SPACE)
    moved = tuple((position - match.end(), offset) for position, offset in pieces)
    return Instruction(match[1].upper() if match[1].isascii() else match[1], line, kept, moved)


def _is_list(instruction: Instruction) -> bool:
    """Whether it is in the JSON form, in which no here-document can be."""
    text = instruction.text[max((end for _, end in flags(instruction)), default=0) :].strip(_SPACE)
    try:
        return text.startswith("[") and all(isinstance(word, str) for word in parse(text))
    except ValueError:
        return False


def flags(instruction: Instruction) -> list[tuple[int, int]]:
    """Where the ``--flags`` that an instruction begins with stand in its text."""
    found = []
    for match in re.finditer(rf"[{_SPACE}]*([^{_SPACE}]+)", instruction.text):
        if not match[1].startswith("--") or match[1] == "--":
            break
        found.append(match.span(1))
    return found


def assigned(written: Written) -> Iterator[tuple[int, str, str]]:
    """The variables that ENV lines set: line, name, and the value as it is written, in either form of ENV."""
    for line, words in _words(written, "ENV"):
        if words and "=" not in words[0][1]:
            yield line(words[0][0]), words[0][1], " ".join(word for _, word in words[1:])
        else:
            for place, word in words:
                name, _, value = word.partition("=")
                yield line(place), name, value


def arguments(written: Written) -> Iterator[tuple[int, str, str | None]]:
    """What ARG lines ask for: line, name, and the default as it is written where there is one."""
    for line, words in _words(written, "ARG"):
        for place, word in words:
            name, equals, default = word.partition("=")
            yield line(place), name, default if equals else None


def _words(written: Written, keyword: str) -> Iterator[tuple[Callable[[int], int], list[tuple[int, str]]]]:
    """The words of every such instruction, each with where it begins in the file, and what gives the line of a place."""

    def line(place: int) -> int:
        return written.text.count("\n", 0, place) + 1

    for one in written.instructions:
        instruction = one.triggered or one
        if instruction.keyword == keyword:
            spans = raw_words(instruction.text, written.escape) or ()
            yield line, [(instruction.place(start, end)[0], instruction.text[start:end]) for start, end in spans]


def replaced(text: str, changes: Iterable[tuple[int, int, str]]) -> str:
    """The text with parts replaced: each from ``start`` to ``end``."""
    for start, end, new in sorted(changes, reverse=True):
        text = text[:start] + new + text[end:]
    return text
