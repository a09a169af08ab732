"""Model configurations, ``config.pbtxt``, as Triton's own message reads them: tritonclient's ModelConfig.

A text is read on after a fault where that is possible, so that one run tells every fault of a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from buildkit.errors import InvalidInput, Problem
from buildkit.reading.checked import choice, closest
from buildkit.reading.plain import Refusal, shown

FILE = "config.pbtxt"
_MOST_FAULTS = 25
_ENUM = re.compile(r'Enum type "([\w.]+)" has no value named ([\w+-]+)')
_FIELD = re.compile(r'Message type "([\w.]+)" has no field named "([^"]+)"')


@dataclass(frozen=True)
class Config:
    """A configuration: the message (None where the text could not be read), and what is wrong with the text.

    ``guessed``: a value of the text was no value, and stands as 0 in the message.
    """

    message: Any
    problems: tuple[Problem, ...] = ()
    guessed: bool = field(default=False)


@cache
def messages() -> ModuleType:
    """tritonclient's module of messages, by itself: its package would import grpc, which is not needed for reading."""
    package = find_spec("tritonclient")
    if package is None or not package.submodule_search_locations:
        raise InvalidInput("tritonclient is not installed, which reads config.pbtxt", hint="pip install tritonclient")
    path = Path(package.submodule_search_locations[0]) / "grpc" / "model_config_pb2.py"
    spec = spec_from_file_location("model_config_pb2", path)
    if spec is None or spec.loader is None:
        raise InvalidInput(f"tritonclient has no {path.name}", hint="pip install --upgrade tritonclient")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parse(text: str, where: str) -> Config:
    """Reads a ``config.pbtxt``; ``where`` begins the place of every problem."""
    from google.protobuf import text_format

    problems: list[Problem] = []
    guessed = lenient = False
    while len(problems) < _MOST_FAULTS:
        message = messages().ModelConfig()
        try:
            text_format.Parse(text, message, allow_unknown_field=lenient)
            return Config(message, tuple(problems), guessed)
        except text_format.ParseError as error:
            line, column = error.GetLine() or 1, error.GetColumn() or 1
            told = str(error)
            problems.append(_explained(told, f"{where}:{line}"))
            if found := _ENUM.search(told):
                text, guessed = _without(text, line, column, found[2]), True
            elif _FIELD.search(told) and not lenient:
                lenient = True
            else:
                break
        except RecursionError:
            problems.append(Problem(where, "cannot be read: it is nested without end"))
            break
    return Config(None, tuple(problems))


def _without(text: str, line: int, column: int, token: str) -> str:
    """The text with a token replaced by 0, everything else in its place."""
    lines = text.split("\n")
    before, rest = lines[line - 1][: column - 1], lines[line - 1][column - 1 :]
    lines[line - 1] = before + rest.replace(token, "0".ljust(len(token)), 1)
    return "\n".join(lines)


def _explained(told: str, where: str) -> Problem:
    if found := _ENUM.search(told):
        return Problem(where, f"{shown(found[2])} is not a value here", _values(found[1], found[2]))
    if found := _FIELD.search(told):
        fields = [one.name for one in _message(found[1]).fields]
        what = f"{shown(found[2])} is not a field of {found[1].rpartition('.')[2]}"
        return Problem(where, what, choice(found[2], fields, "the fields are"))
    reason = re.sub(r"^\d+:\d+ : ", "", told).strip()
    return Problem(where, f"cannot be read: {reason.rpartition(chr(39) + ': ')[2]}")


def _values(enum: str, written: str) -> str:
    """A hint that names the value that was probably meant, else all of them."""
    values = {name.lower(): name for name in _enum(enum).values_by_name if name != "TYPE_INVALID"}
    word = written.lower().removeprefix("type_")
    meant = values.get(f"type_{_OTHERS.get(word, word)}") or values.get(closest(written, values) or "")
    return f"did you mean {meant}?" if meant else f"the values are: {', '.join(values.values())}"


_OTHERS = {
    "float": "fp32",
    "float16": "fp16",
    "half": "fp16",
    "float32": "fp32",
    "float64": "fp64",
    "double": "fp64",
    "bfloat16": "bf16",
    "int": "int32",
    "long": "int64",
    "boolean": "bool",
    "str": "string",
    "bytes": "string",
}
"""What numpy, torch and people call Triton's types (model_configuration.md, "Datatypes")."""


def _enum(name: str) -> Any:
    return messages().DESCRIPTOR.pool.FindEnumTypeByName(name)


def _message(name: str) -> Any:
    return messages().DESCRIPTOR.pool.FindMessageTypeByName(name)


def of_mapping(model: str, mapping: Mapping[str, Any]) -> tuple[Any, list[tuple[tuple[str | int, ...], Refusal]]]:
    """The configuration that a recipe writes for a model, and what is wrong with it, each with its steps."""
    message = messages().ModelConfig()
    refusals: list[tuple[tuple[str | int, ...], Refusal]] = []
    for steps, key, value in _pieces(mapping):
        refusal = _take(message, key, value)
        if refusal:
            refusals.append((steps, refusal))
    if message.name not in ("", model):
        refusals.append((("name",), Refusal(f"must be {shown(model)}, as the model is called", "remove it")))
    message.name = model
    return message, refusals


def _pieces(mapping: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str, Any]]:
    for key, value in mapping.items():
        if isinstance(value, list | tuple) and value and all(isinstance(item, Mapping) for item in value):
            yield from (((key, number), key, [item]) for number, item in enumerate(value))
        else:
            yield (key,), key, value


def _take(message: Any, key: str, value: Any) -> Refusal | None:
    """Adds one key to a message; what is wrong with it, or None."""
    from google.protobuf import json_format

    one = messages().ModelConfig()  # what is parsed into a message replaces a list that is there
    try:
        json_format.ParseDict({key: _spelled_out(value, key)}, one)
    except json_format.ParseError as error:
        told = str(error).rstrip(". ")
        if found := _FIELD.search(told):
            return Refusal(
                f"{shown(found[2])} is not a field of {found[1].rpartition('.')[2]}",
                choice(found[2], [one.name for one in _message(found[1]).fields], "the fields are"),
            )
        if found := re.search(r"Invalid enum value (\S+) for enum type ([\w.]+)", told):
            return Refusal(f"{shown(found[1])} is not a value here", _values(found[2], found[1]))
        return Refusal(re.sub(r"^(Failed to parse \w+ field: )+", "", told))
    message.MergeFrom(one)
    return None


def _spelled_out(value: Any, key: str = "") -> Any:
    """A value with ``FP32`` as ``TYPE_FP32`` where a data type stands, as people say it."""
    if isinstance(value, Mapping):
        return {name: _spelled_out(item, name) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_spelled_out(item, key) for item in value]
    if key == "data_type" and isinstance(value, str) and f"TYPE_{value}" in _enum("inference.DataType").values_by_name:
        return f"TYPE_{value}"
    return value


def as_text(message: Any) -> str:
    """The ``config.pbtxt`` of a message, with the name and the backend first."""
    from google.protobuf import text_format

    return str(text_format.MessageToString(message))


def data_type(number: int) -> str:
    """Triton's name of a data type."""
    return str(_enum("inference.DataType").values_by_number[number].name)
