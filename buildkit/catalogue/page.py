"""The page itself: one file without anything to fetch, in which no value can become markup."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path

from buildkit import __version__
from buildkit.amounts import human
from buildkit.catalogue.entry import Entry
from buildkit.machine import atomic
from buildkit.oci.reference import Reference

PAGE = "index.html"


def page(entries: Sequence[Entry], title: str, *, asked: bool) -> str:
    """The catalogue as HTML. ``asked`` says whether hubs and registries were asked."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"human": human, "bare": lambda text: Reference.parse(text).name, "shell": shlex.quote}
    template = (files("buildkit.catalogue") / "page.html.j2").read_text(encoding="utf-8")
    counted = sorted(Counter(entry.state for entry in entries).items())
    return environment.from_string(template).render(
        entries=entries, title=title, states=counted, asked=asked, version=__version__, anchors=list(_anchors(entries))
    )


def write(text: str, folder: Path) -> Path:
    """Writes the page into a folder, whole or not at all; returns its path."""
    atomic.write(folder / PAGE, text.encode(errors="backslashreplace"))
    return folder / PAGE


def _anchors(entries: Iterable[Entry]) -> Iterable[str]:
    """A name for each entry's place in the page, so that it can be linked to; the second of a name gets a number."""
    seen: Counter[str] = Counter()
    for entry in entries:
        name = re.sub(r"[^a-z0-9]+", "-", entry.name.lower()).strip("-") or "image"
        seen[name] += 1
        yield f"image-{name}" if seen[name] == 1 else f"image-{name}-{seen[name]}"
