"""``recipe.yaml``: what every kind may say, and a page for each kind that comes with modelpack."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any

from buildkit.kinds import Kind, kinds
from buildkit.recipe import schema
from buildkit.spec import Spec
from buildkit.tags import MEANINGS
from buildkit.target_settings import SETTINGS
from docs.generate.markdown import anchor, code, fence, plain, table
from docs.generate.schemas import keys, parts_of

SHARED = {"HuggingFaceRef": "A hub", "FolderRef": "A folder", "UrlsRef": "URLs", "Download": "One URL"}
"""The parts of a source, and the headings under which they are described."""
_EVERYWHERE = frozenset(Spec.model_fields) - {"kind"}


def ours() -> dict[str, Kind]:
    """The kinds that come with modelpack, whatever else is installed here."""
    return {name: kind for name, kind in kinds().items() if type(kind).__module__.startswith("recipes.")}


def _link(name: str) -> str:
    places = {
        "source": "[source](recipe.md#where-a-model-is)",
        "target": "[target](targets.md)",
        "Waiver": "[waiver](recipe.md#waivers)",
        "Download": "[URL](recipe.md#one-url)",
    }
    return places.get(name) or f"[{name}](#{anchor(name)})"


def _definitions() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in ours():
        found |= schema(name)["$defs"]
    return found


def page() -> str:
    """The page about what all recipes share."""
    parts = _definitions()
    every = Spec.model_json_schema()
    listed = [(f"[`{name}`](recipe-{name}.md)", plain(_summary(kind))) for name, kind in ours().items()]
    text = [
        "# The recipe",
        "`recipe.yaml` says what an image is made of. Which keys there are decides its `kind`; these are the kinds:",
        table(("kind", "what it makes"), listed),
        "`modelpack init KIND` writes a recipe to start from, and `modelpack schema` prints the JSON Schema for an editor. A key that"
        " is not listed is refused, with its line; so is everything else that is wrong, all at once.",
        "## Keys of every kind",
        keys(every, parts, _link),
        "## Tags",
        "A tag may hold placeholders, which are written out when the image is pushed:",
        table(
            ("placeholder", "what becomes of it"), [(code(f"{{{key}}}"), plain(what)) for key, what in MEANINGS.items()]
        ),
        "## Waivers",
        "A rule of a platform that a recipe breaks on purpose. The [rules](rules.md) have ids.",
        keys(parts["Waiver"], parts, _link),
        "## Where a model is",
        fence("yaml", _SOURCES),
        "Patterns are read as the hub's own library reads them. A short form stands for one of these mappings:",
    ]
    for name, heading in SHARED.items():
        text += [f"### {heading}", plain(parts[name]["description"]), keys(parts[name], parts, _link)]
    return "\n\n".join(text)


_SOURCES = """\
model: hf://ORG/NAME@REVISION        # a hub; without @REVISION its branch main
model: {hf: ORG/NAME, revision: v1, include: ["*.json", "*.safetensors"]}
model: ./models                      # a folder beside the recipe; or a link there, to a disk with more room
model: {path: ./models, exclude: ["*.tmp"]}
model: ["https://example.org/model.onnx"]
model: [{url: "https://example.org/model.onnx", path: 1/model.onnx}]
"""


def kind_pages() -> dict[str, str]:
    """A page for each kind."""
    return {name: _kind_page(name, kind) for name, kind in ours().items()}


def _summary(kind: Kind) -> str:
    return (kind.spec.__doc__ or "").strip().partition("\n")[0]


def _kind_page(name: str, kind: Kind) -> str:
    """What the kind's README says, with the keys as the code knows them, and the recipe to start from."""
    written = schema(name)
    parts = written["$defs"]
    spec = parts[written["allOf"][0]["then"]["$ref"].rpartition("/")[2]]
    before, after = _readme(kind)
    common = frozenset(key for key in _EVERYWHERE if _same(key, spec))
    text = [f"# Kind {code(name)}", before, "## Keys", keys(spec, parts, _link, without=common | {"targets"})]
    named = ", ".join(
        f"[`{key}`](recipe.md#keys-of-every-kind)" for key in Spec.model_fields if key in common - {"targets"}
    )
    text += [f"And as in every recipe: {named}, [`targets`](targets.md)."]
    for part in sorted(_own_parts(spec, parts)):
        text += [f"### {part}", plain(parts[part].get("description", "")), keys(parts[part], parts, _link)]
    text += [after, "## To start from", f"`modelpack init {name}` writes:"]
    text += [fence("yaml", kind.starter("example")["recipe.yaml"])]
    return "\n\n".join(piece for piece in text if piece)


def _same(key: str, spec: dict[str, Any]) -> bool:
    """Whether a key means in this kind what it means in every other."""
    everywhere = {name: one for name, one in Spec.model_json_schema()["properties"][key].items() if name != "title"}
    return bool(everywhere == spec["properties"][key])


def _own_parts(spec: dict[str, Any], parts: dict[str, Any]) -> set[str]:
    """The parts that this kind alone has: those of sources, waivers and targets are described for all kinds."""
    told = {*SHARED, "Waiver"} | {settings.__name__ for settings in SETTINGS.values()}
    found: set[str] = set()
    waiting = [spec]
    while waiting:
        names = set(parts_of(waiting.pop())) - found - told
        found |= names
        waiting += [parts[name] for name in names]
    return found


def _readme(kind: Kind) -> tuple[str, str]:
    """A kind's README without its title and its table of keys: what stands before them, and what behind."""
    package = type(kind).__module__.rpartition(".")[0]
    text = (files(package) / "README.md").read_text(encoding="utf-8")
    before, heading, after = text.partition("\n## Keys\n")
    if not heading:
        before, heading, after = text.partition("\n## ")
        after = f"## {after}" if heading else ""
    else:
        after = re.sub(r"^\s*(\|.*\n)+", "", after)
    return before.partition("\n")[2].strip(), after.strip()
