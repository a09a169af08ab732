"""Tags that a recipe writes with placeholders: ``{revision}``, ``{date}``, ``{base}``, ``{version}`` and ``{digest}``.

All but ``{date}`` follow from the lock and the recipe, and ``{date}`` from ``SOURCE_DATE_EPOCH`` where that is set
(reproducible-builds.org), so that the same lock gives the same tags wherever and whenever it is pushed.
"""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Callable, Iterable, Mapping

from buildkit.errors import InvalidInput, Problem
from buildkit.oci.reference import Digest, is_tag
from buildkit.pin import Pins

MEANINGS = {
    "revision": "the model's commit, twelve digits",
    "date": "the day in UTC, as 20260131: of SOURCE_DATE_EPOCH, else today",
    "base": "the tag of the base image",
    "version": "the recipe's label org.opencontainers.image.version",
    "digest": "the image's digest, twelve digits",
}
VERSION_LABEL = "org.opencontainers.image.version"
PLACEHOLDER = re.compile(r"\{([a-z_]*)\}")
_DIGITS = 12
_DIGEST = "{digest}"


def expand(
    tags: Iterable[str], labels: Mapping[str, str], pins: Pins, environment: Mapping[str, str] = os.environ
) -> tuple[str, ...]:
    """The tags of an image, each once; ``{digest}`` stays, for :func:`with_digest`.

    Raises InvalidInput with every placeholder that means nothing here, and every tag that becomes none.
    """
    problems: list[Problem] = []
    values = _Values(labels, pins, environment)
    expanded = []
    for tag in tags:
        try:
            expanded.append(PLACEHOLDER.sub(lambda found: values.of(found[1]), tag))
        except InvalidInput as error:
            problems.append(Problem(f"tags: {tag}", error.what, error.hint))
    problems += [
        Problem(f"tags: {tag}", "is not a tag", "letters, digits, '.', '_' and '-', at most 128")
        for tag in expanded
        if not is_tag(tag.replace(_DIGEST, "0" * _DIGITS))
    ]
    if problems:
        raise InvalidInput("the recipe's tags cannot be written out", problems)
    return tuple(dict.fromkeys(expanded))


def with_digest(tags: Iterable[str], digest: Digest) -> tuple[str, ...]:
    """The tags with ``{digest}`` written out."""
    return tuple(tag.replace(_DIGEST, digest.hex[:_DIGITS]) for tag in tags)


def fixed(tags: Iterable[str]) -> tuple[str, ...]:
    """The tags that are known before the image is."""
    return tuple(tag for tag in tags if _DIGEST not in tag)


class _Values:
    """What each placeholder stands for, in one image."""

    def __init__(self, labels: Mapping[str, str], pins: Pins, environment: Mapping[str, str]) -> None:
        self._labels = labels
        self._pins = pins
        self._environment = environment

    def of(self, name: str) -> str:
        """The value; raises InvalidInput where there is none."""
        known: dict[str, Callable[[], str]] = {
            "revision": self._revision,
            "date": self._date,
            "base": self._base,
            "version": self._version,
            "digest": lambda: _DIGEST,
        }
        if name not in known:
            raise InvalidInput(
                f"{{{name}}} means nothing", hint=f"there are {', '.join(f'{{{one}}}' for one in known)}"
            )
        return known[name]()

    def _revision(self) -> str:
        commits = [inventory.commit for inventory in self._pins.sources.values() if inventory.commit]
        if not commits:
            raise InvalidInput(
                "{revision} is the commit of a model from a hub, and this one has none", hint="use {digest}"
            )
        return commits[0][:_DIGITS]

    def _base(self) -> str:
        pin = self._pins.images.get("base")
        if pin is None or not pin.reference.tag:
            raise InvalidInput("{base} is the tag of the base image, and there is none", hint="leave it out")
        return pin.reference.tag

    def _version(self) -> str:
        version = self._labels.get(VERSION_LABEL)
        if not version:
            raise InvalidInput(f"{{version}} is the label {VERSION_LABEL}, which is not set", hint="add it to 'labels'")
        return version

    def _date(self) -> str:
        epoch = self._environment.get("SOURCE_DATE_EPOCH", "")
        if not epoch:
            return datetime.datetime.now(datetime.UTC).strftime("%Y%m%d")
        try:
            return datetime.datetime.fromtimestamp(int(epoch), datetime.UTC).strftime("%Y%m%d")
        except (ValueError, OverflowError, OSError):
            raise InvalidInput(
                f"SOURCE_DATE_EPOCH is {epoch[:40]!r}, which is no time in seconds",
                hint="write seconds since 1970, as 'git log -1 --pretty=%ct' prints, or unset it",
            ) from None
