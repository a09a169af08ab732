"""What looks like a secret: by its shape, or by the name of the variable that has it. What was found is never repeated.

One idea for everything that is judged: a Containerfile before it is built, build arguments, an image's config and files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

SHAPES = {
    "a Hugging Face token": re.compile(r"\bhf_[A-Za-z0-9]{20,}\b"),
    "a GitHub token": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,})\b"),
    "a GitLab token": re.compile(r"\bglpat-[A-Za-z0-9_-]{20,}\b"),
    "an AWS access key": re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    "an OpenAI key": re.compile(r"\bsk-(?:proj-)?[A-Za-z0-9_-]{32,}\b"),
    "a Google API key": re.compile(r"\bAIza[A-Za-z0-9_-]{35}\b"),
    "a Slack token": re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{20,}\b"),
    "a private key": re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
    "a login of a registry": re.compile(r'"auth"\s*:\s*"[A-Za-z0-9+/=]{12,}"'),
    "a URL with a password": re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/:@'\"$]+:[^\s/@'\"$<{]{3,}@[\w.-]+"),
}
"""Shapes of secrets that are told from other text by themselves."""

_NAMED = re.compile(
    r"(?:^|[_-])(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|(?:API|ACCESS|SECRET|PRIVATE|SSH)_?KEY)$", re.I
)
"""By its last word: ``MAX_TOKENS`` and ``TOKEN_PATH`` are none."""
_NO_VALUE = re.compile(
    r"^(?:|none|null|true|false|changeme|\d{1,6}|[$<{].*|x{3,}|\*+|/.*|/?(?:[\w.-]+/)+[\w.-]*)$", re.I
)


def shapes(text: str) -> list[str]:
    """The kinds of secrets that a text holds by their shape."""
    return [kind for kind, shape in SHAPES.items() if shape.search(text)]


def is_secret_name(name: str) -> bool:
    """Whether a variable or build argument is named as a secret would be."""
    return bool(_NAMED.search(name))


def named(name: str, value: str) -> bool:
    """Whether a variable is named as a secret and has a value that could be one: a path, a number or a switch cannot."""
    return is_secret_name(name) and not _NO_VALUE.match(value)


_ASSIGNED = re.compile(r"\b([A-Za-z][A-Za-z0-9_]{2,60})=(?:\"([^\"]*)\"|'([^']*)'|(\S+))")


def assigned(text: str) -> Iterator[str]:
    """Names in a text (a history line, a RUN line) that are given a value that looks like a secret."""
    for found in _ASSIGNED.finditer(text):
        if named(found[1], next(value for value in found.groups()[1:] if value is not None)):
            yield found[1]
