"""What no image for serving holds: compilers, caches, histories, and what is a secret by its name."""

from __future__ import annotations

import re
from collections.abc import Iterable

_UNWANTED = {
    "a compiler": re.compile(
        r"(?:^|/)bin/(?:gcc|g\+\+|cc|c\+\+|clang|make|cmake|ld|as|rustc|go)(?:-[\d.]+)?$|/cc1(?:plus)?$"
    ),
    "a package manager of Python's": re.compile(r"(?:^|/)bin/uvx?$"),
    "a cache": re.compile(
        r"(?:^|/)(?:\.cache|pip-cache|uv-cache)/.|^var/(?:cache/apt/archives/.+\.deb|lib/apt/lists/.+_Packages.*)$|/conda/pkgs/."
    ),
    "a history": re.compile(r"(?:^|/)\.(?:git|hg|svn)(?:/|$)"),
    "a secret by its name": re.compile(
        r"(?:^|/)(?:\.env(?:\..*)?|\.netrc|id_rsa|id_ed25519|\.git-credentials|\.pypirc)$"
    ),
    "what was installed from": re.compile(r"(?:^|/)(?:Mini(?:forge|conda)[^/]*\.sh|installer/[^/]+\.sh)$"),
}


def unwanted(names: Iterable[str]) -> list[str]:
    """Every file that should not be there, with what it is."""
    return [f"{name}: {what}" for name in sorted(names) for what, shape in _UNWANTED.items() if shape.search(name)]
