"""Tables for a terminal of any width."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from buildkit.amounts import human
from buildkit.cli.render import printable
from buildkit.cli.terminal import console as stdout_console
from buildkit.inspect import Seen, SeenImage

_SHOWN_KEYS = ("User", "Entrypoint", "Cmd", "WorkingDir", "Env", "ExposedPorts")


def show_image(seen: Seen) -> None:
    """Prints what an image consists of."""
    console = stdout_console()
    console.print(f"[bold]{_told(seen.name)}[/]")
    console.print(f"{seen.top.digest}", soft_wrap=True)
    for image in seen.images:
        console.print()
        _show_platform(image, console)


def _show_platform(image: SeenImage, console: Console) -> None:
    console.print(f"[bold]{_told(image.platform)}[/]  {human(sum(layer.descriptor.size for layer in image.layers))}")
    table = Table(box=None, pad_edge=False, show_edge=False, expand=False)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("layer", no_wrap=True)
    table.add_column("form", no_wrap=True)
    table.add_column("from", overflow="fold")
    for layer in image.layers:
        form = layer.descriptor.media_type.rpartition(".")[2]
        table.add_row(human(layer.descriptor.size), layer.descriptor.digest[:19], _told(form), _told(layer.origin))
    console.print(table)
    for key in _SHOWN_KEYS:
        if image.config.process.get(key):
            console.print(f"  {key}: {_told(str(image.config.process[key]))}", soft_wrap=True)
    for name, value in sorted({**(image.config.process.get("Labels") or {}), **image.manifest.annotations}.items()):
        console.print(f"  {_told(f'{name}={value}')}", soft_wrap=True)


def _told(text: str) -> str:
    """What a registry says, which neither steers the terminal nor is markup."""
    return escape(printable(text))
