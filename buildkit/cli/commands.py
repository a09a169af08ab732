"""Every command, on the one app. Each reads its options, calls one function, and prints what came of it."""

from __future__ import annotations

# isort: off
# Each module puts its commands on the app, and help lists them in this order.
from buildkit.cli import (  # noqa: F401
    recipe_commands,
    project_commands,
    catalog_commands,
    check_commands,
    doctor_commands,
    fleet_commands,
    probe_commands,
    registry_commands,
    trust_commands,
)

# isort: on
from buildkit.cli.app import app
from buildkit.cli.plain_help import Command

__all__ = ["app"]

for _command in app.registered_commands:
    _command.cls = Command
