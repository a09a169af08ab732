"""The variables that a platform keeps for itself, looked for wherever somebody could have set them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildkit.checks.rule import Found, NotKnown
from buildkit.checks.subject import Subject
from buildkit.containerfiles.instructions import assigned, read
from buildkit.oci.files import is_small_text
from buildkit.target_settings import ServerSettings
from buildkit.targets.reading import variables


def said(subject: Subject) -> dict[str, str]:
    """The variables that the recipe's target sets at deployment."""
    return dict(subject.settings.env) if isinstance(subject.settings, ServerSettings) else {}


def reserved(subject: Subject, shape: str, owner: str) -> Iterator[Found]:
    """Where a variable whose name matches is set: the recipe, the Containerfile, the image, a .env file in it."""
    name = re.compile(shape)
    for key in said(subject):
        if name.fullmatch(key):
            yield Found(f"targets, env {key}", f"is {owner}")
    if subject.given.plan is not None:
        for number, key, _ in assigned(read(_containerfile(subject))):
            if name.fullmatch(key):
                yield Found(f"Containerfile:{number}", f"sets {key}, which is {owner}")
    yield from _in_env_files(subject, name, owner)
    for key in variables(subject.process):
        if name.fullmatch(key):
            yield Found(f"variable {key}", f"is {owner}, and the image sets it")


def _containerfile(subject: Subject) -> str:
    try:
        return subject.containerfile
    except NotKnown:
        return ""


def _in_env_files(subject: Subject, name: re.Pattern[str], owner: str) -> Iterator[Found]:
    if subject.given.files is None:
        return
    for member in subject.given.files.merged.values():
        base = member.path.rpartition("/")[2]
        if (base == ".env" or base.endswith(".env")) and is_small_text(member):
            content = subject.given.files.content(member) or b""
            for line in content.decode("utf-8", "replace").splitlines():
                key = line.removeprefix("export ").partition("=")[0].strip()
                if "=" in line and name.fullmatch(key):
                    yield Found(f"/{member.path}", f"sets {key}, which is {owner}")
