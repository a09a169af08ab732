"""Where a Containerfile names images: in FROM, in ``COPY --from=``, in ``RUN --mount=…,from=``, and in an ONBUILD of these."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from buildkit.containerfiles.instructions import Instruction, Trouble, Written, flags, read, replaced
from buildkit.oci.reference import Reference

_STAGE = re.compile(r"[a-z][a-z0-9._-]*")
_QUOTES = ("'", '"')


@dataclass(frozen=True)
class Named:
    """A place in the file, from ``start`` to ``end``, that names an image or a stage: ``text`` is what is written there.

    ``word`` is FROM, or the flag it stands in. Of a FROM, ``platform`` is its flag's value, and ``stage`` the name after AS,
    in lower case; ``first`` is where the flag begins, or the image.
    """

    line: int
    word: str
    text: str
    start: int
    end: int
    platform: str = ""
    stage: str = ""
    first: int = -1


def places(written: Written, troubles: list[Trouble]) -> Iterator[Named]:
    """Every such place from the top down; what cannot be read is added to ``troubles``."""
    for instruction in written.instructions:
        for one in (instruction, instruction.triggered):
            if one is None:
                continue
            if one.keyword == "FROM" and one is instruction:
                yield from _from(one, written.escape, troubles)
            elif one.keyword in ("FROM", "ONBUILD", "MAINTAINER") and one is not instruction:
                troubles.append(Trouble(one.line, f"an ONBUILD cannot hold a {one.keyword}"))
            elif one.keyword in ("COPY", "ADD", "RUN"):
                yield from _flagged(one, written.escape, troubles)


def _from(instruction: Instruction, escape: str, troubles: list[Trouble]) -> Iterator[Named]:
    options = flags(instruction)
    rest = options[-1][1] if options else 0
    words = [match.span() for match in re.finditer(r"\S+", instruction.text) if match.start() >= rest]
    platform = ""
    for start, end in options:
        name, _, value = instruction.text[start:end].partition("=")
        if name != "--platform" or platform or not value:
            troubles.append(Trouble(instruction.line, f"FROM has no flag {name[:40]!r}, or has it twice"))
        platform = value
    written = [instruction.text[start:end] for start, end in words]
    if len(written) not in (1, 3) or (len(written) == 3 and written[1].upper() != "AS"):
        troubles.append(Trouble(instruction.line, "must be FROM IMAGE, or FROM IMAGE AS NAME"))
        return
    stage = written[2].lower() if len(written) == 3 else ""
    if stage and not _STAGE.fullmatch(stage):
        troubles.append(Trouble(instruction.line, f"{written[2][:60]!r} cannot be a stage's name"))
    if any(sign in instruction.text for sign in (*_QUOTES, escape)):
        troubles.append(Trouble(instruction.line, "FROM must have no quotes and no escaped characters", "remove them"))
        return
    start, end = instruction.place(*words[0])
    first = instruction.place(*(options or words)[0])[0]
    yield Named(instruction.line, "FROM", written[0], start, end, platform, stage, first)


def _flagged(instruction: Instruction, escape: str, troubles: list[Trouble]) -> Iterator[Named]:
    for start, end in flags(instruction):
        flag = instruction.text[start:end]
        name, _, value = flag.partition("=")
        word = f"{instruction.keyword} {name}"
        if name == "--from":
            offset = len("--from=")
        elif name == "--mount" and "from" in flag.lower():
            found = re.search(r"(?:^|,)from=([^,]*)", value, re.IGNORECASE)
            value, offset = (found[1], len("--mount=") + found.start(1)) if found else ("", 0)
        else:
            continue
        if any(sign in flag for sign in (*_QUOTES, escape)):
            troubles.append(Trouble(instruction.line, f"{word} must have no quotes and no escaped characters"))
        elif "$" in value:
            hint = "name a stage for it, FROM IMAGE AS NAME, and take it from there"
            troubles.append(Trouble(instruction.line, f"{word} takes no variable in an image's name", hint))
        elif value:
            yield Named(instruction.line, word, value, *instruction.place(start + offset, start + offset + len(value)))
        elif name == "--from":
            troubles.append(Trouble(instruction.line, "--from= names nothing"))


def relocated(containerfile: str, locate: Callable[[Reference], Reference]) -> str:
    """The Containerfile with each pinned image taken from where ``locate`` says that it is (a mirror)."""
    return replaced(
        containerfile, [(one.start, one.end, str(locate(Reference.parse(one.text)))) for one in pinned(containerfile)]
    )


def pinned(containerfile: str) -> Sequence[Named]:
    """The places of images that are named by a digest."""
    return [one for one in places(read(containerfile), []) if "@sha256:" in one.text]


def binds(containerfile: str) -> bool:
    """Whether a RUN mounts files of the context, of a stage or of an image: ``type=bind``, which is also the default."""
    runs = (one for one in read(containerfile).instructions if one.keyword == "RUN")
    mounts = (one.text[start:end].lower() for one in runs for start, end in flags(one))
    return any(mount.startswith("--mount=") and ("type=" not in mount or "type=bind" in mount) for mount in mounts)
