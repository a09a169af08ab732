"""What a Containerfile must not hold: values that everybody reads who can read the image, its history or a process list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from buildkit.containerfiles.instructions import Trouble, Written, arguments, assigned, flags
from buildkit.containerfiles.shell_words import unquoted
from buildkit.plan import Secret
from buildkit.secret_shapes import is_secret_name, named, shapes

HINT = "mount it instead: RUN --mount=type=secret,id=NAME, and name it under 'secrets' in the recipe"


def left_in(written: Written) -> Iterator[Trouble]:
    """Every secret that a Containerfile holds or asks for in a way that leaves it in the image or its history."""
    shaped = set()
    for instruction in written.instructions:
        if any(shapes(text) for text in (instruction.text, *instruction.documents)):
            shaped.add(instruction.line)
            yield Trouble(instruction.line, f"{instruction.keyword} holds what looks like a secret", HINT)
    found = [
        (line, "ENV", name) for line, name, value in assigned(written) if named(name, unquoted(value, written.escape))
    ]
    found += [
        (line, "ARG", name)
        for line, name, value in arguments(written)
        if is_secret_name(name) and (value is None or named(name, unquoted(value, written.escape)))
    ]
    for line, keyword, name in found:
        if line not in shaped:
            yield Trouble(line, f"{keyword} {name} is read by everybody who can read the image", HINT)


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
