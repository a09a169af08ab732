"""``recipe.lock``."""

from __future__ import annotations

from buildkit.lockfile.form import SECTIONS, VERSION, schema
from docs.generate.markdown import code, plain
from docs.generate.schemas import keys

_ORDER = (
    "InputsForm",
    "PinsForm",
    "ImagePinForm",
    "SourceForm",
    "FileForm",
    "ImageForm",
    "DescriptorForm",
    "LayerForm",
)


def _heading(name: str) -> str:
    return name.removesuffix("Form")


def _link(name: str) -> str:
    return f"[{_heading(name)}](#{_heading(name).lower()})"


def page() -> str:
    """The page, from the schema that ``modelpack schema --lock`` prints."""
    whole = schema()
    sections = ", ".join(code(section) for section in SECTIONS)
    text = [
        "# The lock",
        f"`recipe.lock` lies beside its recipe (`granite.yaml` has `granite.lock`), and is committed with it. It is JSON, in form"
        f" {VERSION}; `modelpack schema --lock` prints its JSON Schema. modelpack alone writes it: each of the sections {sections} has a"
        " checksum, and what was edited by hand is refused with its line. One thing may be edited, as bots do: the digest in a base"
        " image's `reference`.",
        "## Keys",
        keys(whole, whole["$defs"], _link),
    ]
    for name in (*_ORDER, "SumsForm"):
        part = whole["$defs"][name]
        text += [f"## {_heading(name)}", plain(part["description"]), keys(part, whole["$defs"], _link)]
    missing = set(whole["$defs"]) - {*_ORDER, "SumsForm"}
    assert not missing, f"docs/generate/lock.py does not describe {missing}"
    return "\n\n".join(text)
