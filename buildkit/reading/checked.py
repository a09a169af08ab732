"""A written file against its model: every problem at once, in our own short sentences, at what the person wrote."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from buildkit.errors import InvalidInput, Problem
from buildkit.reading.plain import Refusals, shown
from buildkit.reading.written import Written
from buildkit.reading.yaml_reader import Steps
from buildkit.reading.yaml_scalars import sort_of

Model = TypeVar("Model", bound=BaseModel)
_SHOWN = 12
"""Keys that a hint lists."""
_MOST = 100
"""Problems that are told one by one."""


def check(written: Written, model: type[Model], already: Iterable[tuple[Steps, Problem]] = (), hint: str = "") -> Model:
    """The file as its model; raises InvalidInput with every problem, sorted by line, those that are known ``already`` too.

    Validators find the file's folder as ``info.context["folder"]``, for what they must read beside it.
    """
    already = list(already)
    found = [*already, *((flaw.steps, written.problem(flaw)) for flaw in written.flaws)]
    result = None
    try:
        result = model.model_validate(written.content, context={"folder": written.path.parent})
    except ValidationError as error:
        told = {steps for steps, _ in already} | {flaw.steps for flaw in written.flaws if flaw.enough and flaw.steps}
        found += [(steps, problem) for steps, problem in _problems(error, written, model) if steps not in told]
    if result is None or found:
        raise refused(written, found, hint)
    return result


def refused(written: Written, found: Iterable[tuple[Steps, Problem]], hint: str = "") -> InvalidInput:
    """The error that tells what was found in a file, from the top down, and nothing twice."""
    problems = dict.fromkeys(problem for _, problem in sorted(found, key=lambda one: _order(written, *one)))
    count = f"{len(problems)} problems" if len(problems) > 1 else "a problem"
    more = [Problem(str(written.path), f"{len(problems) - _MOST} more")] if len(problems) > _MOST else []
    return InvalidInput(f"{written.path} has {count}", [*list(problems)[:_MOST], *more], hint)


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant."""
    return next(iter(get_close_matches(word.lower(), list(known), 1, 0.6)), None)


def choice(word: str, known: Iterable[str], names: str) -> str:
    """A hint that offers the known word that was probably meant, else all of them."""
    known = list(known)
    meant = closest(word, known)
    if meant:
        return f"did you mean {shown(meant)}?"
    return f"{names}: {', '.join(known[:_SHOWN])}{', ...' if len(known) > _SHOWN else ''}"


def _order(written: Written, steps: Steps, problem: Problem) -> tuple[int, str]:
    line = problem.where.removeprefix(f"{written.path}:").partition(":")[0]
    return int(line) if line.isdigit() else 0, problem.where


def _problems(error: ValidationError, written: Written, model: type[BaseModel]) -> Iterator[tuple[Steps, Problem]]:
    for found in error.errors(include_url=False):
        steps = _as_written(found["loc"], written.content, missing=found["type"] == "missing")
        refusal = found.get("ctx", {}).get("error")
        if isinstance(refusal, Refusals):
            yield from ((steps, problem) for problem in refusal.problems)
            continue
        what, hint = _sentence(found, written, steps, model)
        yield steps, Problem(written.where(steps), what, hint)


def _as_written(loc: tuple[int | str, ...], content: Any, *, missing: bool) -> Steps:
    """The steps of a location that the person wrote: what pydantic adds for unions and short forms is left out."""
    steps: list[int | str] = []
    for element in loc:
        in_list = isinstance(content, list) and isinstance(element, int) and element < len(content)
        if in_list or (isinstance(content, dict) and element in content):
            content = content[element]
            steps.append(element)
    if missing and isinstance(content, dict):
        return (*steps, loc[-1])
    return tuple(steps)


def _sentence(found: Any, written: Written, steps: Steps, model: type[BaseModel]) -> tuple[str, str]:
    sort, context = found["type"], found.get("ctx", {})
    if sort == "missing":
        return "is missing", _description(found["loc"], model)
    if sort == "extra_forbidden":
        return "is not a key here", choice(str(found["loc"][-1]), _keys(found["loc"][:-1], model), "the keys are")
    if sort == "value_error":
        refusal = context["error"]
        return str(refusal), getattr(refusal, "hint", "")
    if sort == "literal_error":
        words = [word.strip("'") for word in context["expected"].replace(" or ", ", ").split(", ")]
        return f"must be {context['expected']}", choice(str(found["input"]), words, "write one of")
    if sort in ("too_short", "string_too_short"):
        return "must not be empty", ""
    if sort == "string_pattern_mismatch":
        return f"{shown(str(found['input']))} is not what belongs here", _description(found["loc"], model)
    if sort in _WANTED:
        return _wrong_type(found["input"], _WANTED[sort], written, steps)
    message = str(found["msg"])
    return message[:1].lower() + message[1:], ""


_WANTED = {
    "string_type": str,
    "string_sub_type": str,
    "tuple_type": list,
    "list_type": list,
    "dict_type": dict,
    "model_type": dict,
    "model_attributes_type": dict,
    "mapping_type": dict,
    "bool_type": bool,
    "bool_parsing": bool,
    "int_type": int,
    "int_parsing": int,
    "int_from_float": int,
    "float_type": float,
    "float_parsing": float,
}


def _wrong_type(value: object, wanted: type, written: Written, steps: Steps) -> tuple[str, str]:
    place = written.places.get(steps)
    if value is None:
        return "is empty", "write a value, or remove the key"
    if wanted is str and place is not None and place.text is not None:
        return f"must be a text; {place.text} without quotes is {sort_of(value)}", f'quote it: "{place.text}"'
    hint = ""
    if wanted is list and place is not None and place.text is not None:
        hint = f'write ["{place.text}"]'
    return f"must be {_NAMES.get(wanted, 'something else')}, and is {sort_of(value)}", hint


_NAMES = {
    str: "a text",
    list: "a list",
    dict: "a mapping",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
}


def _keys(loc: tuple[int | str, ...], model: type[BaseModel]) -> list[str]:
    """The keys that may stand at a location."""
    return [key for one in _models_at(loc, model) for key in one.model_fields]


def _description(loc: tuple[int | str, ...], model: type[BaseModel]) -> str:
    fields = (one.model_fields.get(str(loc[-1])) for one in _models_at(loc[:-1], model))
    text = next((field.description for field in fields if field and field.description), "")
    return text[:1].lower() + text[1:].rstrip(".")


def _models_at(loc: tuple[int | str, ...], model: type[BaseModel]) -> list[type[BaseModel]]:
    """The models that a location of pydantic's leads to: by fields, and by the names that it gives a union's members."""
    models = [model]
    for element in loc:
        fields = [
            one.model_fields[element] for one in models if isinstance(element, str) and element in one.model_fields
        ]
        named = [one for one in models if one.__name__ == element]
        if fields:
            models = [inner for field in fields for inner in _models_in(field.annotation)]
        elif named:
            models = named
    return models


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
