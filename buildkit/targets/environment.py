"""The variables that a platform keeps for itself, looked for wherever somebody could have set them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildkit.checks.rule import WARNING, Found, NotKnown
from buildkit.checks.subject import Subject
from buildkit.containerfiles.instructions import assigned, read
from buildkit.oci.files import is_small_text
from buildkit.process import variables
from buildkit.target_settings import ServerSettings


def said(subject: Subject) -> dict[str, str]:
    """The variables that the recipe's target sets at deployment."""
    return dict(subject.settings.env) if isinstance(subject.settings, ServerSettings) else {}


def reserved(subject: Subject, shape: str, owner: str) -> Iterator[Found]:
    """Where a variable whose name matches is set: the recipe, the Containerfile, the image, a .env file or code in it."""
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
    for member in subject.files.merged.values():
        base = member.path.rpartition("/")[2]
        setting = _setting(base)
        if setting is None or not is_small_text(member):
            continue
        text = subject.text(member)
        # Whether a line of a program ever runs, nobody can tell.
        severity = None if setting is _ENV_LINE else WARNING
        for key in dict.fromkeys(setting.findall(text)):
            if name.fullmatch(key):
                yield Found(f"/{member.path}", f"sets {key}, which is {owner}", "", severity)


_ENV_LINE = re.compile(r"(?m)^[ \t]*(?:export[ \t]+)?([A-Za-z_]\w*)[ \t]*=")
_SHELL_LINE = re.compile(r"(?m)^[ \t]*export[ \t]+([A-Za-z_]\w*)=(?![\"']?\$\{?\1\b)")
"""Not ``export PORT=${PORT:-8080}``, which takes what is there."""
_PYTHON_LINE = re.compile(r"""(?m)^[ \t]*os\.environ\[["']([A-Za-z_]\w*)["']\][ \t]*=(?!=)""")


def _setting(base: str) -> re.Pattern[str] | None:
    """How a file of that name sets variables."""
    if base == ".env" or base.endswith(".env"):
        return _ENV_LINE
    return {"sh": _SHELL_LINE, "py": _PYTHON_LINE}.get(base.rpartition(".")[2])
