"""Addresses of a hub that lead to pages for people and to no file, and what a recipe says instead."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

PUBLIC = "https://huggingface.co"
_PUBLIC_HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")
_PAGE = re.compile(r"/(?P<name>(?:[^/]+/)?[^/]+?)(?:/(?P<sort>tree|blob)/(?P<revision>[^/]+)(?P<path>/.*)?)?/?")
"""A repository's page, that of a folder and that of a file, as the hub's site links them; a file itself has /resolve/ or /raw/."""


def instead(url: str, hub: str = PUBLIC) -> str | None:
    """What to write for a page of a hub: the repository, or the address of the file that it shows; None for anything else.

    ``hub`` is the hub's URL; the pages of the public hub have two more hosts.
    """
    parts, own = urlsplit(url), urlsplit(hub)
    hosts = _PUBLIC_HOSTS if own.hostname in _PUBLIC_HOSTS else (own.netloc.lower(),)
    page = _PAGE.fullmatch(parts.path.removeprefix(own.path)) if parts.netloc.lower() in hosts else None
    if page is None:
        return None
    if page["sort"] == "blob":
        return url.replace("/blob/", "/resolve/", 1)
    return f"hf://{page['name']}@{unquote(page['revision'])}" if page["revision"] else f"hf://{page['name']}"
