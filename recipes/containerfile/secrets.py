"""What a Containerfile must not hold: values that everybody reads who can read the image, its history or a process list."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from buildkit.containerfiles.instructions import Trouble, Written, assigned, flags
from buildkit.containerfiles.shell_words import raw_words
from buildkit.plan import Secret

_NAME = re.compile(
    r"(?:.*_)?(?:TOKEN|PASSWORD|PASSWD|PASSPHRASE|SECRET|CREDENTIALS?|APIKEY|(?:API|ACCESS|SECRET|PRIVATE|SSH)_KEY)",
    re.IGNORECASE,
)
_VALUE = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{20,}|gh[opsu]_[A-Za-z0-9]{30,}|github_pat_\w{30,}|glpat-[\w-]{20,}|sk-[\w-]{32,}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}|xox[abprs]-[\w-]{20,})\b|-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|\b[a-z][a-z0-9+.-]*://[^\s/:@'\"$]+:[^\s/@'\"$]+@"
)
HINT = "mount it instead: RUN --mount=type=secret,id=NAME, and name it under 'secrets' in the recipe"


def names_secret(name: str) -> bool:
    """Whether a variable is named as a secret is: by its last word, so that ``MAX_TOKENS`` and ``TOKEN_PATH`` are none."""
    return bool(_NAME.fullmatch(name))


def holds_secret(text: str) -> bool:
    """Whether a text holds something that has a secret's shape: a token of a known form, a URL with a password."""
    return bool(_VALUE.search(text))


def left_in(written: Written) -> Iterator[Trouble]:
    """Every secret that a Containerfile holds or asks for in a way that leaves it in the image or its history."""
    shaped = set()
    for instruction in written.instructions:
        if any(holds_secret(text) for text in (instruction.text, *instruction.documents)):
            shaped.add(instruction.line)
            yield Trouble(instruction.line, f"{instruction.keyword} holds what looks like a secret", HINT)
    named = [(line, "ENV", name) for line, name, value in assigned(written) if _is_secret(name, value)]
    named += [
        (line, "ARG", name) for line, name, value in _arguments(written) if value is None or _is_secret(name, value)
    ]
    for line, keyword, name in named:
        if line not in shaped and names_secret(name):
            yield Trouble(line, f"{keyword} {name} is read by everybody who can read the image", HINT)


def _is_secret(name: str, value: str) -> bool:
    """Whether a variable is set to a secret by its name; empty, or a path, is none."""
    bare = value.strip("'\"")
    return names_secret(name) and bool(bare) and not bare.startswith("/")


def _arguments(written: Written) -> Iterator[tuple[int, str, str | None]]:
    """The names that ARG lines ask for, with their defaults where they have some."""
    for one in written.instructions:
        if one.keyword == "ARG":
            for start, end in raw_words(one.text, written.escape) or ():
                name, equals, default = one.text[start:end].partition("=")
                yield one.line, name, default if equals else None


def unmounted(written: Written, secrets: Mapping[str, Secret]) -> Iterator[Trouble]:
    """Secrets that a RUN cannot do without and the recipe does not name; and what no engine is handed, such as an ssh agent."""
    for line, mount in _mounts(written):
        options = dict(field.partition("=")[::2] for field in mount.split(","))
        if options.get("type") == "ssh":
            yield Trouble(line, "mounts an ssh agent, and none is handed to a build", "fetch with a secret instead")
        required = options.get("required", "false") if "required" in options else "false"
        if options.get("type") == "secret" and required in ("", "true") and _id(options) not in secrets:
            hint = f"name it in the recipe: secrets: {{{_id(options)}: {{env: VARIABLE}}}}"
            yield Trouble(line, f"needs the secret {_id(options)!r}, which the recipe does not name", hint)


def mounted(written: Written) -> frozenset[str]:
    """The ids of the secrets that the RUN lines mount."""
    found = (dict(field.partition("=")[::2] for field in mount.split(",")) for _, mount in _mounts(written))
    return frozenset(_id(options) for options in found if options.get("type") == "secret")


def _mounts(written: Written) -> Iterator[tuple[int, str]]:
    for one in written.instructions:
        if one.keyword == "RUN":
            for start, end in flags(one):
                name, _, value = one.text[start:end].partition("=")
                if name == "--mount":
                    yield one.line, value.strip("'\"")


def _id(options: Mapping[str, str]) -> str:
    """A secret's id; without one it is the last part of its target (BuildKit, docs/reference.md, "RUN --mount=type=secret")."""
    target = options.get("target") or options.get("dst") or options.get("destination") or ""
    return options.get("id") or target.rpartition("/")[2]
