"""``modelpack.yaml``."""

from __future__ import annotations

import io
from typing import Any

from ruamel.yaml import YAML

from buildkit.settings_file import SettingsFile
from docs.generate.markdown import anchor, code, fence, plain
from docs.generate.schemas import keys

EXAMPLE = """\
registries:
  team: {host: quay.io, prefix: our-team/models, immutable: true}
  ocir: {type: ocir, region: ap-osaka-1, namespace: axabc123}
  lab: {host: "registry.lab.example:5000", type: harbor, prefix: models}
mirrors:
  registry.access.redhat.com: mirror.example.com/redhat
hub: {endpoint: https://hub.example.com}
licenses: {forbid: [non-commercial, unknown]}
attest: {sign: true, key: cosign.key}
"""
_HEADINGS = {
    "RegistryEntry": "A registry",
    "HubEntry": "The hub",
    "LicensesEntry": "Licenses",
    "AttestEntry": "Attestations",
}
_WORDS = {"RegistryEntry": "registry", "HubEntry": "hub", "LicensesEntry": "licenses", "AttestEntry": "attestations"}


def _link(name: str) -> str:
    return f"[{_WORDS[name]}](#{anchor(_HEADINGS[name])})"


def page() -> str:
    """The page; its example is read as a file of a user's would be."""
    SettingsFile.model_validate(YAML(typ="safe").load(io.StringIO(EXAMPLE)))
    whole: dict[str, Any] = SettingsFile.model_json_schema()
    text = [
        "# The settings",
        "`modelpack.yaml` says what a recipe cannot know: where images go, and where things come from at this place. The nearest one"
        " counts, beside the recipe or in a folder above it; without any, everything has its default. No password belongs there.",
        fence("yaml", EXAMPLE),
        "## Keys",
        keys(whole, whole["$defs"], _link),
    ]
    for name, heading in _HEADINGS.items():
        part = whole["$defs"][name]
        text += [f"## {heading}", plain(part["description"])]
        if name == "RegistryEntry":
            text += ["The types are those of [the registries](registries.md), and `--registry` takes the name."]
        text += [keys(part, whole["$defs"], _link)]
    text += [
        f"An unknown key is refused with its line. {code('modelpack doctor')} says which file was found and who is logged in."
    ]
    return "\n\n".join(text)
