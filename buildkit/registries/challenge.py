"""What a 401 asks for (RFC 9110, section 11.6.1)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

CHALLENGES = "WWW-Authenticate"
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = rf'(?P<key>{_TOKEN})\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^\s,"=][^\s,"]*))'
_SCHEME = rf"(?P<scheme>{_TOKEN})(?: +[A-Za-z0-9._~+/-]+=*(?=\s*(?:,|$)))?"
"""With the token68 that may follow it, which none of the schemes has that are known here."""
_PART = re.compile(f"{_PARAMETER}|{_SCHEME}")


@dataclass(frozen=True)
class Challenge:
    """One way of authentication that is offered: its scheme and the names of its parameters in lower case."""

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def realm(self) -> str:
        """For Bearer the URL of the token service."""
        return self.parameters.get("realm", "")


def challenges(header: str) -> list[Challenge]:
    """Every challenge of a ``WWW-Authenticate`` header, or of several joined by commas, which mean the same (5.3)."""
    found: list[Challenge] = []
    for part in _PART.finditer(header):
        if part["scheme"]:
            found.append(Challenge(part["scheme"].lower()))
        elif found:
            value = part["bare"] or re.sub(r"\\(.)", r"\1", part["quoted"] or "")
            found[-1].parameters[part["key"].lower()] = value
    return found


def lacks_permission(header: str) -> bool:
    """Whether a token was understood and is not enough (RFC 6750, 3.1)."""
    return any(one.parameters.get("error") == "insufficient_scope" for one in challenges(header))


def preferred(offered: Sequence[Challenge], is_usable: Callable[[str], bool]) -> Challenge | None:
    """The one to take: a token whose service's URL ``is_usable``, else the password itself; None where neither is known.

    A token whose service cannot be used is taken where nothing else is offered: it is told why it cannot.
    """
    tokens = [one for one in offered if one.scheme == "bearer"]
    usable = [one for one in tokens if is_usable(one.realm)]
    return next(iter([*usable, *(one for one in offered if one.scheme == "basic"), *tokens]), None)
