"""A JSON Schema in words: the keys of an object as a table, types as a person says them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from docs.generate.markdown import code, plain, table

Schema = Mapping[str, Any]
Link = Callable[[str], str]
"""A link to where the part of that name is described."""

_LONGEST_DEFAULT = 60


def keys(part: Schema, parts: Schema, link: Link, *, without: frozenset[str] = frozenset()) -> str:
    """The keys of an object: each with its type, its default and what it says. ``parts`` are what its types refer to."""
    required = set(part.get("required", ()))
    rows = [
        (code(key), words(one, link), "must be given" if key in required else default(one), plain(_said(one, parts)))
        for key, one in part.get("properties", {}).items()
        if key not in without
    ]
    return table(("key", "type", "default", "what it says"), rows)


def _said(one: Schema, parts: Schema) -> str:
    """The description; pydantic leaves out one that its part has, too."""
    said = one.get("description") or parts.get(reference(one), {}).get("description")
    assert said, f"give {one} a description"
    return str(said)


def default(one: Schema) -> str:
    """What holds where a key is left out."""
    value = one.get("default")
    if value in (None, "", [], {}):
        return "none"
    if isinstance(value, dict):
        value = value.get("path") if one.get("type") == "string" else _without_empty(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "see there" if value in ({}, None) or len(text) > _LONGEST_DEFAULT else code(text)


def _without_empty(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: one for key, one in value.items() if one not in (None, "", [], {})}


def words(one: Schema, link: Link) -> str:
    """A type as a person says it."""
    if name := reference(one):
        return link(name)
    if "enum" in one:
        return " or ".join(code(str(value)) for value in one["enum"])
    if "const" in one:
        return code(str(one["const"]))
    alternatives = one.get("anyOf") or one.get("oneOf")
    if alternatives:
        return _either(alternatives, link)
    match one.get("type"):
        case "array":
            return f"list of {words(one.get('items', {}), link)}"
        case "object":
            return _mapping(one, link)
        case list() as several:
            return " or ".join(_NAMES[name] for name in several)
        case str() as name:
            return _NAMES[name] + _limits(one)
    return "anything"


_NAMES = {"string": "text", "integer": "number", "number": "number", "boolean": "`true` or `false`", "null": "null"}


def _either(alternatives: list[Schema], link: Link) -> str:
    names = {reference(one) for one in _flat(alternatives)}
    if "HuggingFaceRef" in names:
        # A list of URLs is one source.
        lists = [one for one in alternatives if one.get("type") == "array" and "HuggingFaceRef" in parts_of(one)]
        return f"{link('source')}{', or a list of them' if lists else ''}"
    if "KServe" in names:
        return link("target")
    told = dict.fromkeys(words(one, link) for one in alternatives if one.get("type") != "null")
    return " or ".join(told)


def _flat(alternatives: list[Schema]) -> Iterator[Schema]:
    for one in alternatives:
        yield one
        yield from _flat(one.get("anyOf") or one.get("oneOf") or [])


def _mapping(one: Schema, link: Link) -> str:
    values = one.get("additionalProperties") or next(iter(one.get("patternProperties", {}).values()), None)
    if isinstance(values, Mapping):
        return f"mapping to {words(values, link)}"
    known = ", ".join(code(key) for key in one.get("properties", {}))
    return f"mapping of {known}" if known else "mapping"


def _limits(one: Schema) -> str:
    low, high = one.get("minimum", one.get("exclusiveMinimum")), one.get("maximum")
    if low is not None and high is not None:
        return f", {low} to {high}"
    if "exclusiveMinimum" in one:
        return f" above {low}"
    return f" from {low}" if low is not None else ""


def reference(one: Schema) -> str:
    """The name of the part that a schema refers to; "" where it is told in place."""
    return str(one.get("$ref", "")).rpartition("/")[2]


def parts_of(one: Any) -> Iterator[str]:
    """The names of the parts that a schema refers to, directly."""
    if isinstance(one, Mapping):
        if name := reference(one):
            yield name
        for key, value in one.items():
            if key not in ("discriminator", "$defs"):
                yield from parts_of(value)
    elif isinstance(one, list):
        for value in one:
            yield from parts_of(value)
