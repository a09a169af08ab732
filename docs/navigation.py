"""What mkdocs is told as it builds the site: a page that is added to a folder is found, and links stay within the site."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

PARTS = {
    "Guides": (
        "guides",
        ("kserve", "oci-generative-ai", "oci-data-science", "modelarts", "azure-ml", "targets", "fleet"),
    ),
    "Concepts": ("concepts", ("nouns", "engines", "lock", "layers")),
    "Reference": (
        "reference",
        ("cli", "recipe", "settings", "lock", "targets", "rules", "registries", "environment", "exit-codes"),
    ),
}
"""The parts by their names: the folder, and the pages that come first."""
_OUTSIDE = re.compile(r"\[([^\]]+)\]\((?:\.\./){2,}[^)]*\)")


def on_config(config: Any) -> Any:
    """Lists every page of every part."""
    folder = Path(config.docs_dir)
    parts = {name: _pages(folder / place, first) for name, (place, first) in PARTS.items()}
    config.nav = ["index.md", *({name: pages} for name, pages in parts.items() if pages)]
    return config


def _pages(folder: Path, first: tuple[str, ...]) -> list[str]:
    """A folder's pages: those that come first, and each other one behind what its name begins with, else by its name."""
    names = [path.stem for path in folder.glob("*.md")]

    def order(name: str) -> tuple[int, str]:
        begins = [index for index, one in enumerate(first) if name == one or name.startswith(f"{one}-")]
        return (begins[0] if begins else len(first), name)

    return [f"{folder.name}/{name}.md" for name in sorted(names, key=order)]


def on_page_markdown(markdown: str, **_: Any) -> str:
    """A link to a file of the repository is text on the site, which does not have the file."""
    return _OUTSIDE.sub(r"\1", markdown)
