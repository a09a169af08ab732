"""A model's card as the hub tells it: only what has the shape of a card is believed."""

from __future__ import annotations

from collections.abc import Mapping

from buildkit.card import OTHER, Card
from buildkit.reading.plain import hidden

_LONGEST = 200
_MOST = 50


def read(info: Mapping[str, object]) -> Card:
    """The card that a hub's answer about a model holds; what is missing or of another shape is left out."""
    data = info.get("cardData")
    content: Mapping[str, object] = data if isinstance(data, Mapping) else {}
    name = _text(content.get("license_name"))
    return Card(
        licenses=_texts(content.get("license")) or ((OTHER,) if name else ()),
        license_name=name,
        license_link=_text(content.get("license_link")),
        gated=bool(info.get("gated")),
        task=_text(info.get("pipeline_tag")) or _text(content.get("pipeline_tag")),
        library=_text(info.get("library_name")) or _text(content.get("library_name")),
        languages=_texts(content.get("language")),
        base_models=_texts(content.get("base_model")),
        datasets=_texts(content.get("datasets")),
        tags=_texts(content.get("tags")),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) and len(value) <= _LONGEST and not hidden(value) else ""


def _texts(value: object) -> tuple[str, ...]:
    listed = value if isinstance(value, list | tuple) else [value]
    return tuple(dict.fromkeys(text for one in listed[:_MOST] if (text := _text(one))))
