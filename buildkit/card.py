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
    """A model's card. ``licenses`` are identifiers of the hub's list, or ``other`` with ``license_name`` and ``_link``.

    ``gated`` says that the hub asks for an agreement before it gives the files.
    """

    licenses: tuple[str, ...] = ()
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
        """The licenses as a person calls them; "" where the card names none."""
        return ", ".join(map(self.called, self.licenses))

    def called(self, license: str) -> str:
        """One of the licenses as a person calls it."""
        return self.license_name or license if license == OTHER else license

    @property
    def non_commercial(self) -> bool:
        """Whether a license's name says that it forbids commercial use. A name is no legal advice."""
        return any(map(_is_non_commercial, (*self.licenses, self.license_name)))

    @property
    def remarks(self) -> str:
        """What to add to the licenses' names: that one is non-commercial, that the model is gated."""
        remarks = [word for word, is_so in ((NON_COMMERCIAL, self.non_commercial), (GATED, self.gated)) if is_so]
        return f" ({', '.join(remarks)})" if remarks else ""

    @property
    def words(self) -> frozenset[str]:
        """Everything by which a policy may call this card, in lower case."""
        return self._words(*self.licenses, self.license_name)

    @property
    def words_of_each(self) -> tuple[frozenset[str], ...]:
        """The same for every license by itself."""
        return tuple(self._words(license, self.called(license)) for license in self.licenses) or (self.words,)

    def _words(self, *names: str) -> frozenset[str]:
        named = {name.lower() for name in names if name} or {UNKNOWN}
        also = {NON_COMMERCIAL: any(map(_is_non_commercial, names)), GATED: self.gated}
        return frozenset(named | {word for word, is_so in also.items() if is_so})


def _is_non_commercial(name: str) -> bool:
    return bool(_NON_COMMERCIAL.search(name.lower()))


OTHER = "other"
"""What the hub's list calls a license that is not on it."""
NON_COMMERCIAL, GATED, UNKNOWN = "non-commercial", "gated", "unknown"
"""Words that a policy may use besides licenses: what forbids commercial use, what asks for an agreement, what says nothing."""


@dataclass(frozen=True)
class LicensePolicy:
    """Licenses that are forbidden, and those that alone are allowed where any are named; ``*`` stands for anything.

    Of a model with several licenses none may be forbidden, and every one must be allowed.
    """

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
        hit = [pattern for pattern in self.forbid if _names(pattern, card.words)]
        if hit:
            yield Problem(key, f"{name} has {told}, and {', '.join(hit)} is forbidden", hint)
        elif self.allow and not all(
            any(_names(pattern, words) for pattern in self.allow) for words in card.words_of_each
        ):
            yield Problem(key, f"{name} has {told}, and only {', '.join(self.allow)} is allowed", hint)


def _names(pattern: str, words: frozenset[str]) -> bool:
    return any(fnmatchcase(word, pattern.lower()) for word in words)
