"""What a shell is told when somebody presses the tab key: names of kinds, targets, rules and registries.

Nothing is imported until it is asked for. What cannot be read completes to nothing: a shell shows no errors.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator, MutableMapping, Sequence
from pathlib import Path

VARIABLE = "_MODELPACK_COMPLETE"
"""By its value a shell's script asks: ``complete_bash``, ``complete_zsh``, ``complete_fish``."""


def kinds() -> list[str]:
    """The kinds of recipes that are installed."""
    from importlib.metadata import entry_points

    from buildkit.kinds import GROUP

    return sorted({entry.name for entry in entry_points(group=GROUP)})


def targets() -> list[tuple[str, str]]:
    """The targets, each with what it is."""
    from buildkit.targets import TARGETS

    alone = {target.platform: target.title for target in reversed(TARGETS.values())}
    return sorted({**alone, **{target.name: target.title for target in TARGETS.values()}}.items())


def targets_and_rules(incomplete: str) -> list[tuple[str, str]]:
    """The targets; behind a capital letter the rules."""
    if not incomplete[:1].isupper():
        return targets()
    from buildkit.targets import TARGETS

    return sorted({rule.id: rule.title for target in TARGETS.values() for rule in target.rules}.items())


def registries() -> list[tuple[str, str]]:
    """The registries of the ``modelpack.yaml`` that counts here, each with where it is; and ``ocir``."""
    from buildkit.errors import ModelpackError
    from buildkit.settings import find

    with contextlib.suppress(ModelpackError, OSError):
        named = find(Path.cwd()).registries.values()
        places = {one.name: f"{one.host}/{one.prefix}".rstrip("/") for one in named}
        return [*places.items(), *([] if "ocir" in places else [("ocir", "by OCIR_REGION and OCIR_NAMESPACE")])]
    return []


def pipelines() -> list[str]:
    """The systems that a pipeline is written for."""
    from buildkit.pipelines import SYSTEMS

    return list(SYSTEMS)


def severities() -> list[str]:
    """The severities of vulnerabilities."""
    from buildkit.trust.scan import SEVERITIES

    return list(SEVERITIES)


@contextlib.contextmanager
def asked(environment: MutableMapping[str, str] = os.environ) -> Iterator[None]:
    """Answers as the shell wants it that asks, where one asks.

    bash takes ``kserve:native`` for three words (COMP_WORDBREAKS), and puts in only what stands behind the last colon.
    """
    if environment.get(VARIABLE) != "complete_bash" or not environment.get("COMP_CWORD", "").isdigit():
        yield
        return
    words, here = joined(environment.get("COMP_WORDS", "").split("\n"), int(environment["COMP_CWORD"]))
    environment["COMP_WORDS"], environment["COMP_CWORD"] = "\n".join(words), str(here)
    typed = words[here] if here < len(words) else ""
    before = typed[: typed.rfind(":") + 1]
    answer = io.StringIO()
    try:
        with contextlib.redirect_stdout(answer):
            yield
    finally:
        sys.stdout.write("".join(f"{line.removeprefix(before)}\n" for line in answer.getvalue().splitlines()))


def joined(words: Sequence[str], here: int) -> tuple[list[str], int]:
    """Words that bash tore at their colons, as they were typed; ``here`` is the word that is completed."""
    whole: list[str] = []
    place = 0
    open_end = False
    for index, word in enumerate(words):
        is_colon = bool(word) and not word.strip(":")
        if whole and (is_colon or open_end):
            whole[-1] += word
        else:
            whole.append(word)
        open_end = is_colon
        if index == here:
            place = len(whole) - 1
    return whole, place
