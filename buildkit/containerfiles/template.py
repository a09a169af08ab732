"""Containerfiles from templates, in which no value can become an instruction.

A template may only put out what a filter has quoted: a plain value in ``{{ }}`` is an error of the template. What both
BuildKit and buildah read the same way decides how a filter quotes (measured with BuildKit 0.13 and buildah 1.28).
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

from buildkit.errors import InvalidInput, Problem
from buildkit.reading.plain import described, hidden, shown

LONGEST_LINE = 65_000
"""Bytes. BuildKit and buildah refuse a line above 65,535 (Go's bufio.Scanner)."""
_PATTERNS = "$*?[]\\\"'"
"""What COPY reads as a variable, a pattern, an escape or a quote of its own, even inside the JSON form."""


class Quoted(str):
    """Text that may stand in a Containerfile as it is."""


def filled(package: str, **values: Any) -> str:
    """The ``Containerfile.j2`` of a kind's package, filled in; raises what :func:`render` raises."""
    return render((files(package) / "Containerfile.j2").read_text(encoding="utf-8"), **values)


def render(template: str, **values: Any) -> str:
    """Fills a template in; raises InvalidInput, by its name, for a value that cannot be quoted safely.

    The filters: ``shell`` for a word of a RUN line, ``value`` for what ENV sets, ``labels`` for the pairs of a LABEL,
    ``paths`` for the JSON form of COPY, ``program`` for that of CMD and ENTRYPOINT,
    ``word`` for what must need no quotes (a reference, a stage, a version).
    """
    from jinja2 import StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    environment = SandboxedEnvironment(
        undefined=StrictUndefined,
        finalize=_only_quoted,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "shell": shell,
        "value": value,
        "labels": labels,
        "paths": paths,
        "program": program,
        "word": word,
    }
    text = environment.from_string(template).render(values)
    too_long = [line for line in text.split("\n") if len(line.encode()) > LONGEST_LINE]
    if too_long:
        raise _refused(
            "a line", too_long[0], f"it would be {len(too_long[0].encode())} bytes long, and engines read 65,535"
        )
    return text


def shell(text: object, name: str = "a value") -> Quoted:
    """A word for the shell of a RUN line, in single quotes where it needs them: nothing in it is expanded."""
    return Quoted(shlex.quote(_checked(text, name)))


def value(text: object, name: str = "a value") -> Quoted:
    r"""A value of LABEL or ENV in double quotes. Engines expand ``$`` in it, so it is escaped, as ``"`` and ``\`` are."""
    return Quoted('"' + re.sub(r'(["$\\])', r"\\\1", _checked(text, name)) + '"')


def labels(pairs: Mapping[str, object]) -> Quoted:
    """The pairs of a LABEL, one a line."""
    return Quoted(
        " \\\n      ".join(f"{word(key, 'the label')}={value(text, f'the label {key}')}" for key, text in pairs.items())
    )


def paths(named: Iterable[object], name: str = "a path") -> Quoted:
    """The sources and the destination of a COPY in its JSON form; what COPY would expand all the same is refused."""
    checked = [_checked(text, name) for text in named]
    for text in checked:
        if not copyable(text):
            raise _refused(
                name, text, f"a COPY cannot name a path with one of {' '.join(_PATTERNS)}, or with spaces at an end"
            )
    return Quoted(json.dumps(checked, ensure_ascii=False))


def program(words: Iterable[object], name: str = "the command") -> Quoted:
    """A command in its JSON form, in which engines expand nothing."""
    return Quoted(json.dumps([_checked(word, name) for word in words], ensure_ascii=False))


def copyable(path: str) -> bool:
    """Whether a COPY can name this path and mean only it."""
    trimmed = all(part == part.strip() for part in path.split("/"))
    return trimmed and not any(character in path for character in _PATTERNS)


def word(text: object, name: str = "a value") -> Quoted:
    """A word that needs no quotes anywhere; anything else is refused."""
    checked = _checked(text, name)
    if not re.fullmatch(r"(?:\w|\[[0-9a-fA-F:]+\])[\w./:@+-]*", checked, re.ASCII):
        raise _refused(name, checked, "it is not a plain word")
    return Quoted(checked)


def _checked(value: object, name: str) -> str:
    text = str(value)
    found = hidden(text)
    if found:
        raise _refused(name, text, f"it has {described(found)}")
    return text


def _refused(name: str, text: str, why: str) -> InvalidInput:
    return InvalidInput("a value cannot stand in a Containerfile", [Problem(f"{name} {shown(text)}", why)])


def _only_quoted(value: object) -> object:
    from jinja2 import StrictUndefined, TemplateError

    if isinstance(value, Quoted | StrictUndefined):
        return value
    raise TemplateError(f"the template puts out {value!r}, which no filter has quoted")
