"""The model artefact of OCI Data Science: a zip of a folder, which a deployment mounts, and where that looks for it."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from buildkit.deployment import Piece
from buildkit.errors import InvalidInput
from buildkit.machine.atomic import AtomicFile
from buildkit.pin import Inventory, Source, proven
from buildkit.recipe import Recipe
from buildkit.spec import FolderRef
from buildkit.target_settings import OciDataScience, TargetSettings
from buildkit.targets.oci_data_science.facts import MOUNT, REPOSITORY, TRITON_COMMAND
from buildkit.targets.reading import shown_few
from buildkit.world import World

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can name: a clock would change its bytes."""


def refuse_unseen(recipe: Recipe, world: World, said: TargetSettings, pieces: Sequence[Piece]) -> None:
    """Raises InvalidInput for files of an artefact that lie beside the repository which the deployment gives Triton.

    What a recipe starts itself, by ``cmd`` or ``entrypoint``, may read the artefact as it likes.
    """
    if not isinstance(said, OciDataScience) or not said.artifact or said.cmd or said.entrypoint:
        return
    if TRITON_COMMAND[-1] not in _command(pieces):
        return
    _, inventory = _listed(recipe, replace(world, lists=True), said.artifact)
    beside = [file.path for file in inventory.files if not file.path.startswith(f"{REPOSITORY}/")]
    if beside:
        raise InvalidInput(
            f"the artefact {said.artifact} has {shown_few(beside)} outside {REPOSITORY}/, and Triton is started over {MOUNT}/{REPOSITORY}",
            hint=f"move the models to {said.artifact}/{REPOSITORY}/NAME/1/..., or write the target's 'cmd' yourself",
        )


def _command(pieces: Sequence[Piece]) -> list[str]:
    documents = [piece.document for piece in pieces if piece.judged and piece.document]
    details = "modelDeploymentConfigurationDetails", "environmentConfigurationDetails"
    return [word for one in documents for word in one[details[0]][details[1]].get("cmd", ())]


def _listed(recipe: Recipe, world: World, folder: str) -> tuple[Source, Inventory]:
    source = world.source(FolderRef(path=folder), recipe.folder)
    inventory = source.inventory()
    if not inventory.files:
        raise InvalidInput(
            f"{folder} has no files for the model artefact",
            hint="put the model's files there, or name their folder as 'artifact' of the target",
        )
    return source, inventory


def write_artifact(recipe: Recipe, world: World, folder: str, path: Path) -> tuple[Path, list[str]]:
    """The model artefact: the folder's files, sorted, stored, without times or owners: the same files, the same bytes.

    Returns the path and the names in the zip, which the container sees below :data:`MOUNT`.
    """
    source, inventory = _listed(recipe, world, folder)
    with AtomicFile(path.parent) as atomic:
        with zipfile.ZipFile(atomic.file, "w", zipfile.ZIP_STORED, allowZip64=True) as written:
            for file in inventory.files:
                info = zipfile.ZipInfo(file.path, _EPOCH)
                info.create_system, info.external_attr = 3, 0o100644 << 16
                with written.open(info, "w", force_zip64=file.size >= zipfile.ZIP64_LIMIT) as member:
                    for piece in proven(source, file):
                        member.write(piece)
        atomic.keep(path)
    return path, [file.path for file in inventory.files]
