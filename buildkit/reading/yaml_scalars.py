"""What a word means that stands in YAML without quotes."""

from __future__ import annotations

import re
from typing import Any

_NUMBER = re.compile(r"[-+]?[0-9][0-9_]*|0o[0-7]+|0x[0-9a-fA-F]+")
_FRACTION = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_TRUTH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_OF_YAML_1_1 = ("y", "Y", "n", "N", "=", "<<")
"""Truth, a default value and a merge key: https://yaml.org/type, bool.html, value.html and merge.html."""
_LIKE_A_NUMBER = re.compile(r"[-+]?[0-9._]")
"""How numbers, times and dates begin, in YAML 1.1 also 1:30, 0b1 and 1_000; no two readers agree on all of them."""


def meant(text: str) -> Any:
    """What a word without quotes means: YAML 1.2.2, 10.3.2, and the yes, no, on and off of YAML 1.1 that other readers take
    for true and false."""
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text.lower() in _TRUTH and text in (text.lower(), text.upper(), text.capitalize()):
        return _TRUTH[text.lower()]
    if _FRACTION.fullmatch(text):
        digits = text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan")
        whole = _NUMBER.fullmatch(text) and len(digits) < 100
        return int(digits) if whole else float(digits)
    if _NUMBER.fullmatch(text):
        return int(text, 0) if len(text) < 100 else float("inf")
    return text


def is_text(text: str) -> bool:
    """Whether every reader of YAML takes a word without quotes for this very text, those of YAML 1.1 such as Kubernetes' too.

    Says nothing of the characters that steer YAML itself: a colon with a blank after it, quotes, line breaks.
    """
    return text not in _OF_YAML_1_1 and not _LIKE_A_NUMBER.match(text) and meant(text) is text


def sort_of(value: object) -> str:
    """What a value is, in a word or two: ``a number``, ``empty``."""
    if value is None:
        return "empty"
    named = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "a text",
        list: "a list",
        dict: "a mapping",
    }
    return named.get(type(value), "something else")
