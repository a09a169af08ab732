"""What a recipe says of a Containerfile, read from its folder before anything is pinned: with every problem at its line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from buildkit.containerfiles.instructions import Trouble, Written, read
from buildkit.containerfiles.shell_words import raw_words
from buildkit.errors import InvalidInput, Problem
from buildkit.oci.reference import Platform
from buildkit.plan import Secret
from buildkit.reading.plain import hidden
from recipes.containerfile.secrets import left_in, mounted, unmounted
from recipes.containerfile.stages import Stages, resolve

NAMES = ("Containerfile", "Dockerfile")
"""What is looked for, in this order, as podman does."""
OFFICIAL = re.compile(r"(?:docker\.io/)?docker/dockerfile(?::(?:1(?:\.\d+){0,2}|latest))?(?:@sha256:[0-9a-f]{64})?")
"""The stable frontend, which every BuildKit has built in; its experiments (``-labs``) are another language."""
_LARGEST = 1024 * 1024
_PREDEFINED = re.compile(r"(?:(?:HTTPS?|FTP|NO|ALL)_PROXY|(?:TARGET|BUILD)(?:PLATFORM|OS|ARCH|VARIANT))", re.IGNORECASE)


@dataclass(frozen=True)
class Read:
    """A Containerfile as it lies in a project: its path from the recipe, what is in it, and its stages."""

    path: str
    written: Written
    stages: Stages

    @property
    def fetches(self) -> bool:
        """Whether a line of it can reach for the network."""
        kept = [one for one in self.written.instructions if one.pieces[0][1] < self.stages.end]
        return any(one.keyword == "RUN" or (one.keyword == "ADD" and "://" in one.text) for one in kept)


def found(folder: Path, context: str, named: str | None) -> str:
    """The path of the Containerfile from the recipe's folder; raises InvalidInput where there is none."""
    wanted = [named] if named else [_joined(context, name) for name in NAMES] + list(NAMES)
    path = next((path for path in wanted if (folder / path).is_file()), None)
    if path is None:
        what = f"there is no {wanted[0]}" if named else f"there is no Containerfile and no Dockerfile in {folder}"
        raise InvalidInput(what, hint="write one, or name it: containerfile: ./FILE")
    return path


def _joined(context: str, name: str) -> str:
    return name if context == "." else f"{context}/{name}"


def read_project(
    folder: Path,
    path: str,
    platforms: Sequence[Platform],
    build_args: Mapping[str, str],
    secrets: Mapping[str, Secret],
    target: str,
) -> Read:
    """Reads the Containerfile of a recipe in ``folder``; raises InvalidInput with every problem and its line."""
    place = folder / path
    written = read(_text(place))
    troubles = list(written.troubles)
    stages = resolve(written, platforms, build_args, target, troubles)
    troubles += left_in(written)
    troubles += unmounted(written, secrets)
    troubles += _frontend(written)
    problems = [
        Problem(f"{place}:{one.line}", one.what, one.hint) for one in sorted(troubles, key=lambda one: one.line)
    ]
    problems += _unused(place, written, build_args, secrets)
    ignore = place.with_name(f"{place.name}.dockerignore")
    if ignore.exists():
        problems.append(Problem(str(ignore), "is read by one engine alone", "name it .dockerignore"))
    if problems:
        count = f"{len(problems)} problems" if len(problems) > 1 else "a problem"
        raise InvalidInput(f"{place} has {count}", dict.fromkeys(problems))
    return Read(path, written, stages)


def _text(place: Path) -> str:
    raw = place.read_bytes()
    if len(raw) > _LARGEST:
        raise InvalidInput(f"{place} is larger than 1 MiB, and no Containerfile is")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise InvalidInput(f"{place}:{line} is not UTF-8", hint="save the file as UTF-8") from None
    for number, written in enumerate(text.split("\n"), 1):
        character = hidden(written.removesuffix("\r"), allowed="\t")
        if character and not written.lstrip().startswith("#"):
            problem = Problem(f"{place}:{number}", f"has the invisible character U+{ord(character):04X}", "remove it")
            raise InvalidInput(f"{place} cannot be used", [problem])
    return text


def _frontend(written: Written) -> list[Trouble]:
    named = [one for one in written.directives if one.name == "syntax" and not OFFICIAL.fullmatch(one.value)]
    hint = "remove the line; what an engine understands by itself is built"
    return [
        Trouble(one.line, f"asks for another language than a Containerfile's: {one.value[:80]}", hint) for one in named
    ]


def _unused(
    place: Path, written: Written, build_args: Mapping[str, str], secrets: Mapping[str, Secret]
) -> list[Problem]:
    """What the recipe gives and no line takes: most often a word that is spelled otherwise there."""
    declared = {
        one.text[start:end].partition("=")[0]
        for one in written.instructions
        if one.keyword == "ARG"
        for start, end in raw_words(one.text, written.escape) or ()
    }
    unknown = [name for name in build_args if name not in declared and not _PREDEFINED.fullmatch(name)]
    idle = [name for name in secrets if name not in mounted(written)]
    hint = f"its ARGs are {', '.join(sorted(declared)) or 'none'}"
    return [
        *(Problem(str(place), f"has no ARG {name}, which the recipe gives in build_args", hint) for name in unknown),
        *(Problem(str(place), f"mounts no secret {name!r}, which the recipe names under secrets") for name in idle),
    ]
