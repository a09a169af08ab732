"""The layers of a Triton image: one for each model, so that one that changes leaves the others alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from buildkit.errors import InvalidInput, Problem
from buildkit.oci.tar import Entry
from buildkit.pin import Inventory
from buildkit.placing import written
from buildkit.plan import PlannedFile, PlannedLayer, parents
from buildkit.reading.plain import shown
from buildkit.triton.config import FILE
from buildkit.triton.repository import Model, models_of
from recipes.triton.inputs import text_of

MODELS = "models"
"""Where the repository lies in an image that has it; KServe's image modes look there, too."""
_MOST_LAYERS = 60
"""Docker stores an image of at most 125 layers, and NVIDIA's images have several dozen already."""
_WHITEOUT = ".wh."


def layered(inventories: Mapping[str, Inventory], configs: Mapping[str, Any]) -> tuple[PlannedLayer, ...]:
    """A layer for every model of every source; of very many models one for each source."""
    layers = [
        _layer(f"model {model.name}", list(_files(key, inventory, model, configs)), _folders(model))
        for key, inventory in inventories.items()
        for model in models_of(file.path for file in inventory.files).values()
    ]
    if len(layers) <= _MOST_LAYERS:
        return tuple(layers)
    files = [file for layer in layers for file in layer.files]
    folders = {entry.name for layer in layers for entry in layer.directories}
    return (_layer("models", files, folders),)


def unfit(inventories: Mapping[str, Inventory]) -> None:
    """Raises InvalidInput for a file that would delete another one of the image."""
    deleting = [
        Problem(shown(file.path, 120), f"a name that begins with {_WHITEOUT!r} would delete a file of the image")
        for inventory in inventories.values()
        for file in inventory.files
        if any(part.startswith(_WHITEOUT) for part in file.path.split("/"))
    ]
    if deleting:
        raise InvalidInput("a file of the models cannot be in an image", deleting, hint="leave it out with 'exclude'")


def _files(key: str, inventory: Inventory, model: Model, configs: Mapping[str, Any]) -> Iterator[PlannedFile]:
    for file in inventory.files:
        if file.path.startswith(f"{model.name}/") and not (
            model.name in configs and file.path == f"{model.name}/{FILE}"
        ):
            yield PlannedFile(Entry(f"{MODELS}/{file.path}", 0o644, file.size), key, file)
    if model.name in configs:
        yield written(f"{MODELS}/{model.name}/{FILE}", text_of(configs[model.name], model.name))


def _folders(model: Model) -> set[str]:
    """A version's folder for what has none in its files: an ensemble's is empty, and no source knows empty folders."""
    return set() if model.versions else {f"{MODELS}/{model.name}/1"}


def _layer(title: str, files: list[PlannedFile], folders: set[str]) -> PlannedLayer:
    names = {*folders, *(above for name in (*folders, *(file.entry.name for file in files)) for above in parents(name))}
    directories = tuple(Entry(name, 0o755, directory=True) for name in sorted(names))
    return PlannedLayer(title, directories, tuple(sorted(files, key=lambda file: file.entry.name)))
