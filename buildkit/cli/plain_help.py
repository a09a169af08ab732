"""``--help`` as a person reads it at 80 columns: commands in groups, and arguments without the names of Python's types."""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperCommand, TyperGroup

_TYPE = re.compile(r" <[^<>]*>$")
_REQUIRED = re.compile(r"^\{(.*)\}")

RECIPES, PLATFORMS, FLEETS, TRUST, PLACES = (
    "From a recipe to an image",
    "What platforms want",
    "Many images",
    "Trust",
    "Registries and this machine",
)
GROUPS = (RECIPES, PLATFORMS, FLEETS, TRUST, PLACES)
"""The groups of commands, in the order of the help."""


class Command(TyperCommand):
    """A command."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The usage line: what must be given stands there as it is, what may be left out in brackets."""
        return [_REQUIRED.sub(r"\1", piece) for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments, then options."""
        records: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for one in self.get_params(ctx):
            is_argument = one.param_type_name == "argument"
            if record := one.get_help_record(ctx):
                name = _TYPE.sub("", record[0]) if is_argument else record[0]
                records["Arguments" if is_argument else "Options"].append((name, record[1]))
        for heading, rows in records.items():
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)


class Group(TyperGroup):
    """The commands together."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The commands in their groups, all names in one column."""
        groups: dict[str, list[tuple[str, str]]] = {name: [] for name in GROUPS}
        widest = max(map(len, self.commands))
        for name, command in self.commands.items():
            row = name.ljust(widest), command.get_short_help_str(formatter.width - widest - 4)
            groups[getattr(command, "rich_help_panel", None) or PLACES].append(row)
        for heading, rows in groups.items():
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)
