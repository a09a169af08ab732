"""The command line: every command with its words, arguments and options, read from the functions that are its commands."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from typer.models import ArgumentInfo, CommandInfo, OptionInfo

from buildkit.cli.commands import app
from buildkit.cli.plain_help import GROUPS
from docs.generate.markdown import anchor, code, fence, plain, table


@dataclass(frozen=True)
class Parameter:
    """An argument or an option. ``default`` is what is told of it; ``names`` are an option's, a flag's alone without value.

    ``several`` says whether it may be given more than once.
    """

    names: tuple[str, ...]
    value: str
    help: str
    default: str
    option: bool
    required: bool
    several: bool


def commands() -> list[tuple[str, CommandInfo]]:
    """Every command by its name, in the order of ``modelpack --help``."""
    return [(one.name or _callback(one).__name__.replace("_", "-"), one) for one in app.registered_commands]


def _callback(one: CommandInfo) -> Any:
    assert one.callback is not None
    return one.callback


def page() -> str:
    """The page."""
    text = [
        "# The command line",
        "stdout has results alone (`name:tag@sha256:…`, or JSON with `--json`), everything else goes to stderr; the"
        " [exit codes](exit-codes.md) are the same everywhere. `NO_COLOR`, `TERM=dumb` and `CI` are heeded. Every command has `--help`.",
        *(piece for group in GROUPS for piece in _group(group)),
        "`modelpack --version` prints the version. `modelpack --install-completion` teaches bash, zsh, fish and PowerShell to complete"
        " commands, options, kinds, targets and the registries of `modelpack.yaml`; `--show-completion` prints what it would install.",
    ]
    for name, one in commands():
        text += _command(name, one)
    return "\n\n".join(text)


def _group(group: str) -> list[str]:
    listed = [(name, one) for name, one in commands() if one.rich_help_panel == group]
    rows = [(f"[{code(name)}](#{anchor(f'modelpack {name}')})", plain(_words(one)[0])) for name, one in listed]
    return [f"**{group}**", table(("command", "what it does"), rows)]


def _command(name: str, one: CommandInfo) -> list[str]:
    told = [line for line in _words(one) if not line.startswith("Example:")]
    examples = [line.removeprefix("Example:").strip() for line in _words(one) if line.startswith("Example:")]
    found = list(parameters(one))
    arguments = [each for each in found if not each.option]
    usage = " ".join(["modelpack", name, "[OPTIONS]", *(_usage(each) for each in arguments)])
    text = [f"## modelpack {name}", *(plain(line) for line in told), fence("text", usage)]
    text += [fence("console", "\n".join(f"$ {example}" for example in examples))]
    if arguments:
        rows = [
            (code(each.value), plain(each.help), "must be given" if each.required else each.default)
            for each in arguments
        ]
        text += [table(("argument", "what it is", "default"), rows)]
    options = [(_written(each), plain(each.help), each.default) for each in found if each.option]
    return [*text, table(("option", "what it does", "default"), options)] if options else text


def _usage(each: Parameter) -> str:
    return (each.value if each.required else f"[{each.value}]") + ("..." if each.several else "")


def _written(each: Parameter) -> str:
    value = f" {each.value}" if each.value else ""
    return ", ".join(code(f"{name}{value}" if name == each.names[-1] else name) for name in each.names)


def _words(one: CommandInfo) -> list[str]:
    """The paragraphs of a command's help, each on one line; every example is one of its own."""
    text = one.help or inspect.getdoc(_callback(one)) or ""
    paragraphs = []
    for piece in text.split("\n\n"):
        lines = [line for line in piece.splitlines() if line.strip() != "\b"]
        paragraphs += lines if piece.strip().startswith("\b") else [" ".join(lines)]
    return paragraphs


def parameters(one: CommandInfo) -> Iterator[Parameter]:
    """The parameters of a command, arguments and options, as they are declared."""
    hints = get_type_hints(_callback(one), include_extras=True)
    for name, parameter in inspect.signature(_callback(one)).parameters.items():
        declared, *said = get_args(hints[name])
        info = next(each for each in said if isinstance(each, ArgumentInfo | OptionInfo))
        option = isinstance(info, OptionInfo)
        # Within Annotated the first of the names stands where a default would.
        declarations = (info.default, *(info.param_decls or ()))
        names = tuple(each for each in declarations if isinstance(each, str) and each.startswith("-"))
        names = names or (f"--{name.replace('_', '-')}",)
        flag = declared is bool
        default = info.default_factory() if callable(info.default_factory) else parameter.default
        value = "" if flag else info.metavar or _value(declared, name, option)
        help_text = f"{info.help} {_range(info)}".strip()
        yield Parameter(
            tuple(sorted(names, key=len)) if option else (),
            value,
            help_text,
            ("on" if default else "off") if flag else _default(default),
            option,
            default is inspect.Parameter.empty,
            _is_list(declared),
        )


def _range(info: ArgumentInfo | OptionInfo) -> str:
    return f"From {info.min} to {info.max}." if info.min is not None and info.max is not None else ""


def _default(value: object) -> str:
    if value in (None, False, "", inspect.Parameter.empty):
        return "none"
    if isinstance(value, Enum):
        return code(str(value.value))
    if isinstance(value, list):
        return ", ".join(map(_default, value))
    return code(value.as_posix() if isinstance(value, Path) else str(value))


def _is_list(declared: Any) -> bool:
    return any(get_origin(each) is list for each in (declared, *get_args(declared)))


def _value(declared: Any, name: str, option: bool) -> str:
    """What stands for a value that has no name of its own: the choices, or what sort of value it is."""
    if get_origin(declared) in (Union, UnionType):
        declared = next(each for each in get_args(declared) if each is not type(None))
    if get_origin(declared) is list:
        declared = get_args(declared)[0]
    if isinstance(declared, type) and issubclass(declared, Enum):
        return "|".join(str(each.value) for each in declared)
    return name.upper() if not option else {int: "N", Path: "PATH"}.get(declared, "TEXT")
