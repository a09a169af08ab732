"""The registries that are known."""

from __future__ import annotations

import re

from buildkit.registries.profile import MOST_LAYERS, Profile
from buildkit.registries.profiles import PROFILES
from docs.generate.markdown import code, plain, table

_MIB, _GIB = 1024**2, 1024**3
_NO_HOST = r"(?!)"


def page() -> str:
    """The page, from the profiles that a push goes by."""
    rows = [
        (
            f"[{code(one.name)}](#{one.name})",
            _size(one.largest_layer) if one.largest_layer else "not known",
            " or ".join({"oci": "OCI", "docker": "Docker"}[form] for form in one.forms),
            "one PUT" if one.upload == "put" else "POST, PATCH, PUT",
            {True: "yes", False: "no", None: "asked"}[one.referrers],
        )
        for one in PROFILES
    ]
    text = [
        "# The registries",
        "A host tells what is behind it; `type` in [modelpack.yaml](settings.md#a-registry) says it where the name does not. What a registry"
        " is known to refuse is refused before the first byte. Everything else is spoken to as the distribution specification says."
        f" Images with more than {MOST_LAYERS} layers are refused everywhere: overlay file systems take no more.",
        table(("type", "largest layer", "manifests", "upload", "referrers API"), rows),
    ]
    for one in PROFILES:
        text += [f"## {one.name}", "\n".join(f"- **{name}**: {fact}" for name, fact in _facts(one))]
    return "\n\n".join(text)


def _facts(one: Profile) -> list[tuple[str, str]]:
    hosts = "any that the settings name" if one.hosts == _NO_HOST else code(re.sub(r"\?P<\w+>|\?:", "", one.hosts))
    facts = [("hosts", hosts if one.name != "distribution" else "every other one")]
    if one.login:
        facts.append(("login", plain(one.login)))
    if one.create:
        facts.append(("before the first push", plain(one.create)))
    if one.largest_layer:
        facts.append(("a layer has at most", f"{_size(one.largest_layer)} ({plain(one.source)})"))
    facts.append(("a manifest has at most", _size(one.largest_manifest)))
    facts.append(("several platforms under a tag", "yes" if one.index else "no"))
    facts.append(("layers mounted from other repositories", "yes" if one.mounts else "no"))
    if one.per_second:
        facts.append(("requests a second", f"{one.per_second:g}"))
    return facts


def _size(amount: int) -> str:
    return f"{amount // _GIB:,} GiB" if amount % _GIB == 0 else f"{amount // _MIB:,} MiB"
