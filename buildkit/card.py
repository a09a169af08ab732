"""What a model's card says of it: the license above all. A value; a hub is asked for it elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from buildkit.errors import Problem

_NON_COMMERCIAL = re.compile(
    r"(?:^|[-_ ])nc(?:$|[-_ ])|non[-_ ]?commercial|(?:^|[-_ ])research(?:$|[-_ ])|^apple-amlr$|^deepfloyd-if-license$"
)
"""Licenses of a hub's list (huggingface.co/docs/hub/repositories-licenses) and names of others that forbid commercial use."""


@dataclass(frozen=True)
class Card:
    """A model's card. ``license`` is an identifier of the hub's list, or ``other`` with ``license_name`` and ``_link``.

    ``gated`` says that the hub asks for an agreement before it gives the files.
    """

    license: str = ""
    license_name: str = ""
    license_link: str = ""
    gated: bool = False
    task: str = ""
    library: str = ""
    languages: tuple[str, ...] = ()
    base_models: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    tags: tuple[str, ...] = field(default=(), repr=False)

    @property
    def licensed(self) -> str:
        """The license as a person calls it; "" where the card names none."""
        return self.license_name or self.license if self.license in ("", "other") else self.license

    @property
    def non_commercial(self) -> bool:
        """Whether the license's name says that it forbids commercial use. A name is no legal advice."""
        return any(_NON_COMMERCIAL.search(name.lower()) for name in (self.license, self.license_name) if name)

    @property
    def remarks(self) -> str:
        """What to add to the license's name: that it is non-commercial, that the model is gated."""
        remarks = [word for word, is_so in ((NON_COMMERCIAL, self.non_commercial), (GATED, self.gated)) if is_so]
        return f" ({', '.join(remarks)})" if remarks else ""

    @property
    def words(self) -> frozenset[str]:
        """Everything by which a policy may call this card, in lower case."""
        named = {self.license.lower(), self.license_name.lower()} - {""} or {UNKNOWN}
        also = {NON_COMMERCIAL: self.non_commercial, GATED: self.gated}
        return frozenset(named | {word for word, is_so in also.items() if is_so})


NON_COMMERCIAL, GATED, UNKNOWN = "non-commercial", "gated", "unknown"
"""Words that a policy may use besides licenses: what forbids commercial use, what asks for an agreement, what says nothing."""


@dataclass(frozen=True)
class LicensePolicy:
    """Licenses that are forbidden, and those that alone are allowed where any are named; ``*`` stands for anything."""

    forbid: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()

    @property
    def asks(self) -> bool:
        """Whether there is anything to judge."""
        return bool(self.forbid or self.allow)

    def judge(self, key: str, name: str, card: Card) -> Iterator[Problem]:
        """Why a model may not be used; nothing where it may."""
        told = (card.licensed or "no license") + card.remarks
        hint = "take another model, or change 'licenses' in modelpack.yaml"
        words = card.words
        hit = [pattern for pattern in self.forbid if any(fnmatchcase(word, pattern.lower()) for word in words)]
        if hit:
            yield Problem(key, f"{name} has {told}, and {', '.join(hit)} is forbidden", hint)
        elif self.allow and not any(fnmatchcase(word, pattern.lower()) for word in words for pattern in self.allow):
            yield Problem(key, f"{name} has {told}, and only {', '.join(self.allow)} is allowed", hint)
