"""``modelpack deploy``: writes what a user applies next, from the digest in the lock."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from buildkit.adapting import planned
from buildkit.artefact import refuse_unseen, write_artifact
from buildkit.checks.rule import Finding, Judged
from buildkit.deployment import Order, Piece, Version
from buildkit.errors import InvalidInput, Problem
from buildkit.judging.chosen import chosen_targets
from buildkit.judging.deployments import check_deployment
from buildkit.judging.judged import refuse
from buildkit.lockfile import lock as locks
from buildkit.machine.atomic import write
from buildkit.oci.reference import Reference
from buildkit.opening import open_reference
from buildkit.plan import PlannedLayer
from buildkit.recipe import Recipe
from buildkit.registry_hosts import pulls_from
from buildkit.sources.ignored import WRITTEN
from buildkit.tags import expand
from buildkit.target_settings import OciDataScience, TargetSettings
from buildkit.targets import Target, load
from buildkit.targets.oci_data_science.facts import MOUNT
from buildkit.world import World


@dataclass(frozen=True)
class Wish:
    """What is asked for besides the recipe: an image other than the pushed one, the cluster's versions, Terraform."""

    image: str | None = None
    registry: str | None = None
    kubernetes: Version = ()
    kserve: Version = ()
    terraform: bool = False


@dataclass(frozen=True)
class Deployed:
    """What was written for a target, what its rules say of it, and what a person must do next."""

    target: str
    files: tuple[Path, ...]
    notes: tuple[str, ...]
    warnings: tuple[Finding, ...]


def deploy(recipe: Recipe, world: World, targets: Sequence[str], folder: Path, wish: Wish) -> list[Deployed]:
    """Writes the manifests of every target into a folder, each target into one of its own where there are several.

    Raises InvalidInput where nothing was pushed or an artefact would not be served, CheckFailed where a platform would refuse
    what would be written.
    """
    chosen = chosen_targets(recipe, targets)
    ordered = [(target, said, _pieces(recipe, target, said, world, wish, targets)) for target, said in chosen]
    judged = [_judged(recipe, said, pieces) for _, said, pieces in ordered]
    refuse([one for many in judged for one in many], recipe.spec.name)
    for _, said, pieces in ordered:
        refuse_unseen(recipe, world, said, pieces)
    _mark(folder)
    several = len(ordered) > 1
    return [
        _written(
            recipe, world, target, said, pieces, folder / target.name.replace(":", "-") if several else folder, found
        )
        for (target, said, pieces), found in zip(ordered, judged, strict=True)
    ]


def _pieces(
    recipe: Recipe, target: Target, said: TargetSettings, world: World, wish: Wish, named: Sequence[str]
) -> list[Piece]:
    order = Order(
        recipe.spec.name,
        image_of(recipe, target, world, wish),
        said,
        target.mode,
        model_files(recipe),
        wish.kubernetes,
        wish.kserve,
        wish.terraform,
        ":" in said.name or any(":" in one for one in named),
    )
    pieces: list[Piece] = load(target.deploy)(order)
    return pieces


def model_files(recipe: Recipe) -> tuple[str, ...]:
    """The files below /models as the locked plan lays them."""
    previous = locks.read(recipe.lock_path)
    if previous is None:
        return ()
    plan = planned(recipe, previous.pins)
    entries = [entry for layer in plan.layers if isinstance(layer, PlannedLayer) for entry in layer.entries]
    return tuple(
        entry.name.removeprefix("models/")
        for entry in entries
        if entry.name.startswith("models/") and not entry.directory
    )


def image_of(recipe: Recipe, target: Target, world: World, wish: Wish) -> Reference:
    """The image as the lock says that it was pushed, in the registry that the target pulls from where there are several."""
    if wish.image is not None:
        return _resolved(Reference.parse(wish.image), world)
    previous = locks.read(recipe.lock_path)
    pushed = [Reference.parse(name).at(digest) for name, digest in (previous.pushed if previous else {}).items()]
    if wish.registry is not None:
        wanted = world.settings.registry(wish.registry).repository(recipe.spec.name).name
        pushed = [one for one in pushed if one.name == wanted]
    tags = expand(recipe.spec.tags, recipe.spec.labels, previous.pins) if previous and pushed else ()
    pushed = [one for one in pushed if one.tag in tags] or pushed
    fitting = [one for one in pushed if pulls_from(target.platform, one.host)] or pushed
    if len({one.name for one in fitting}) > 1:
        problems = [Problem("", str(one)) for one in fitting]
        raise InvalidInput(
            f"{recipe.spec.name} was pushed to several places", problems, hint="choose one with --registry R"
        )
    if not fitting:
        hint = f"run: modelpack build {recipe.typed} --push --registry R; or name an image with --image REF@DIGEST"
        raise InvalidInput(f"{recipe.spec.name} was not pushed, so that nobody could pull it", hint=hint)
    order = {tag: number for number, tag in enumerate(tags)}
    return min(fitting, key=lambda one: order.get(one.tag or "", len(order)))


def _resolved(reference: Reference, world: World) -> Reference:
    """The reference with its digest, asked from the registry where it has none."""
    if reference.digest is not None:
        return reference
    return reference.at(open_reference(reference, world, world.settings.located(reference)).document().digest)


def _judged(recipe: Recipe, said: TargetSettings, pieces: Sequence[Piece]) -> list[Judged]:
    return [check_deployment(one.document, said, recipe) for one in pieces if one.judged and one.document is not None]


def _mark(folder: Path) -> None:
    """Marks a folder that has nothing of anybody else in it, so that no source takes it for a part of itself."""
    if not folder.exists() or not any(folder.iterdir()):
        write(folder / WRITTEN, b"'modelpack deploy' wrote this folder, and leaves it out of images.\n")


def _written(
    recipe: Recipe,
    world: World,
    target: Target,
    said: TargetSettings,
    pieces: Sequence[Piece],
    folder: Path,
    found: Sequence[Judged],
) -> Deployed:
    folder.mkdir(parents=True, exist_ok=True)
    files = [_write(folder / piece.file, piece.render().encode()) for piece in pieces]
    notes = [note for piece in pieces for note in piece.notes]
    if isinstance(said, OciDataScience) and said.artifact:
        path, paths = write_artifact(recipe, world, said.artifact, folder / "artifact.zip")
        files.append(path)
        notes += [f"save artifact.zip in the model catalog; the container sees {MOUNT}/{one}" for one in paths[:5]]
    notes = [_with_paths(note, files) for note in notes]
    warnings = tuple(one for each in found for one in each.findings)
    return Deployed(target.name, tuple(files), tuple(notes), warnings)


def _with_paths(note: str, files: Sequence[Path]) -> str:
    """A step as it is typed where modelpack was: the files that it names are in the folder that they were written to."""
    for path in files:
        written = str(path).replace("\\", r"\\")
        note = re.sub(rf"(^|\s|file://){re.escape(path.name)}(?=[\s;,]|$)", rf"\g<1>{written}", note)
    return note


def _write(path: Path, content: bytes) -> Path:
    write(path, content)
    return path
