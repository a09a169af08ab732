"""Files that lie outside the program: where a recipe wants them in the image, and the layer that holds them."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import AfterValidator

from buildkit.oci.tar import Entry
from buildkit.pin import Inventory
from buildkit.placing import placed
from buildkit.plan import PlannedFile, PlannedLayer
from buildkit.reading.plain import Refusal, relative_path, shown
from buildkit.spec import FolderRef, ProjectRef
from recipes.agent.packages import ROOT
from recipes.agent.served import APP

_TAKEN = (APP, ROOT, "proc", "sys", "dev", "run", "tmp")
"""What the image has already, what a kernel mounts, and what is empty whenever the container starts."""


def _places(files: dict[str, str]) -> dict[str, str]:
    for place, path in files.items():
        inside = place.removeprefix("/").rstrip("/")
        try:
            relative_path(inside)
            relative_path(path.removeprefix("./").rstrip("/"))
        except ValueError as error:
            raise Refusal(
                f"{shown(place)}: {shown(path)}: {error}", "write {/etc/agent/rules.json: rules.json}"
            ) from None
        if not place.startswith("/"):
            raise Refusal(f"{shown(place)} is not a place in the image", "begin it with /")
        if place.endswith("/") != path.endswith("/"):
            raise Refusal(f"{shown(place)}: {shown(path)} is a file on one side", "a folder ends in / on both sides")
        taken = next((root for root in _TAKEN if f"{inside}/".startswith(f"{root}/")), None)
        if taken:
            raise Refusal(f"{shown(place)} lies in /{taken}", "put it somewhere else, such as /srv")
    return files


ExtraFiles = Annotated[dict[str, str], AfterValidator(_places)]
"""Paths beside the recipe by their places in the image."""


def _key(place: str) -> str:
    return f"extra_files.{place}"


def extra_sources(files: Mapping[str, str]) -> Iterator[tuple[str, FolderRef]]:
    """Each of them as a source: a folder, or the one file of one."""
    for place in sorted(files):
        path = files[place].removeprefix("./")
        folder, _, name = path.rstrip("/").rpartition("/") if not path.endswith("/") else (path.rstrip("/"), "", "")
        yield _key(place), ProjectRef(path=folder or ".", include=(glob.escape(name),) if name else ())


def extra_layer(files: Mapping[str, str], sources: Mapping[str, Inventory]) -> PlannedLayer | None:
    """One layer with all of them; None where there are none."""
    parts = [_part(place, files[place], sources[_key(place)]) for place in sorted(files)]
    if not parts:
        return None
    directories = {entry.name: entry for part in parts for entry in part.directories}
    planned = {file.entry.name: file for part in parts for file in part.files}
    return PlannedLayer(
        "extra files",
        tuple(directories[name] for name in sorted(directories) if name not in planned),
        tuple(planned[name] for name in sorted(planned)),
    )


def _part(place: str, path: str, inventory: Inventory) -> PlannedLayer:
    inside = place.strip("/")
    if path.endswith("/"):
        return placed("extra files", inventory.files, _key(place), inside)
    folder = inside.rpartition("/")[0]
    file = next(file for file in inventory.files if file.path == path.rpartition("/")[2])
    planned = PlannedFile(Entry(inside, 0o644, file.size), _key(place), file)
    # A directory directly below the root is the base's own.
    directories = (Entry(folder, 0o755, directory=True),) if "/" in folder else ()
    return PlannedLayer("extra files", directories, (planned,))
