"""What buildx and podman made: exported as an OCI layout into the project's cache, it becomes an Image.

Its new layers are taken from there; the base's layers are taken as they stand in the base's registry, so that they are
mounted or found there and never sent again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from buildkit.build import Context
from buildkit.engines.embedded import base_of
from buildkit.errors import EngineFailed
from buildkit.machine.cache import cache_folder
from buildkit.oci.image import EPOCH, Blob, Image, Layer
from buildkit.oci.layout import Layout
from buildkit.oci.manifest import OCI_LAYER, Descriptor, ImageConfig, Manifest
from buildkit.oci.process import merged
from buildkit.oci.reference import Digest, Platform
from buildkit.oci.timeless import Timeless
from buildkit.plan import TITLE, Plan

KEPT = "modelpack"
"""The tag of this project's own image in an export."""


def export_folder(engine: str, platform: Platform, context: Context) -> Path:
    """Where an engine's last build of a recipe is kept: one folder, replaced by the next build."""
    place = Digest.of(os.fsencode(context.recipe.resolve())).hex[:16]
    return cache_folder() / "images" / f"{place}-{engine}-{str(platform).replace('/', '-')}"


@contextmanager
def fresh_folder(folder: Path) -> Iterator[Path]:
    """An empty folder that takes the place of ``folder`` when all went well; the old one stays else."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".building-", dir=folder.parent, ignore_cleanup_errors=True) as temporary:
        fresh = Path(temporary) / "layout"
        fresh.mkdir()
        yield fresh
        if folder.exists():
            shutil.rmtree(folder)
        fresh.rename(folder)


def adopt(layout: Layout, plan: Plan, platform: Platform, context: Context) -> None:
    """Turns what an engine exported into this project's image, manifest and config beside it in the layout.

    The layers above the base lose their times: an engine gives the folders of the base that it touches the time of its build.
    Raises EngineFailed where it is not the base with the planned layers above it.
    """
    document = layout.resolve("")
    if document is None:
        raise EngineFailed("the engine exported no image")
    manifest = Manifest.read(document)
    config, base = _above(plan, ImageConfig.read(b"".join(layout.fetch(manifest.config))), platform, context)
    base_ids = tuple(layer.diff_id for layer in base)
    above = len(config.diff_ids) - len(base)
    if config.diff_ids[: len(base)] != base_ids or (above != len(plan.layers) and not plan.own_layers):
        raise EngineFailed(
            f"the engine's image has {len(config.diff_ids)} layers, which are not the base's {len(base)} and"
            f" {len(plan.layers)} more",
            hint="this is a fault of modelpack or of the engine: please report it with both versions",
        )
    exported = _uncompressed(manifest, config, base)
    clock = Timeless()
    timeless = {digest: _timeless(layout, digest, clock) for digest in dict.fromkeys(one.digest for one in exported)}
    own = [replace(one, digest=timeless[one.digest]) for one in exported]
    sealed = _image(layout, own, config, base, plan, platform).seal()
    layout.put(sealed.config, lambda amount: None)
    layout.publish(sealed.manifest.document, KEPT)


def _uncompressed(manifest: Manifest, config: ImageConfig, base: list[Layer]) -> list[Descriptor]:
    """The layers above the base; raises EngineFailed where one is not the tar that the config names."""
    own = manifest.layers[len(base) :]
    for descriptor, diff_id in zip(own, config.diff_ids[len(base) :], strict=True):
        if descriptor.digest != diff_id:
            raise EngineFailed(f"the engine exported the layer {descriptor.digest} compressed")
    return list(own)


def _timeless(layout: Layout, digest: Digest, clock: Timeless) -> Digest:
    """Takes the times out of a layer of the layout; its digest afterwards, under which it lies there."""
    path = layout.path(digest)
    if not clock.forget_times(path):
        return digest
    with path.open("rb") as file:
        changed = Digest(f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}")
    path.rename(layout.path(changed))
    return changed


def last(layout: Layout, plan: Plan, platform: Platform, context: Context) -> Image:
    """The image that :func:`adopt` left in a layout."""
    document = layout.resolve(KEPT)
    image = _kept(layout, plan, platform, document.digest, context) if document else None
    if image is None:
        raise EngineFailed("the engine's image vanished from the cache while it was built", hint="build again")
    return image


def recalled(engine: str, plan: Plan, platform: Platform, manifest: Digest, context: Context) -> Image | None:
    """What an engine's last build exported, where it still is that image."""
    return _kept(Layout(export_folder(engine, platform, context)), plan, platform, manifest, context)


def _kept(layout: Layout, plan: Plan, platform: Platform, manifest: Digest, context: Context) -> Image | None:
    """The image that :func:`adopt` kept in the layout, where it still is that one."""
    document = layout.resolve(manifest) if layout.folder.is_dir() else None
    if document is None:
        return None
    read = Manifest.read(document)
    if not layout.path(read.config.digest).is_file():
        return None
    config, base = _above(plan, ImageConfig.read(b"".join(layout.fetch(read.config))), platform, context)
    own = _uncompressed(read, config, base)
    there = all(layout.path(one.digest).is_file() for one in own)
    return _image(layout, own, config, base, plan, platform) if there else None


def _above(plan: Plan, config: ImageConfig, platform: Platform, context: Context) -> tuple[ImageConfig, list[Layer]]:
    """An engine's config, and the base's layers below its own: of a flat image none, and the process is the base's."""
    below, layers = base_of(plan, platform, context)
    if plan.flat:
        process = merged(below.process, plan.process)
        return ImageConfig({**config.content, "config": process, "history": _uncommented(config, 0)}), []
    inherited = len(below.content.get("history") or [])
    return ImageConfig({**config.content, "history": _uncommented(config, inherited)}), layers


def _uncommented(config: ImageConfig, inherited: int) -> list[dict[str, Any]]:
    """The history, where what an engine remarks of its own steps is left out, behind those that it found in the base.

    buildah names there what a step began from: the base's mirror, or an image of its own store.
    """
    history = config.content.get("history") or []
    own = [{key: value for key, value in entry.items() if key != "comment"} for entry in history[inherited:]]
    return [*history[:inherited], *own]


def calm(content: Mapping[str, Any], platform: Platform) -> dict[str, Any]:
    """An engine's config without clocks, without empty keys, and with what engines write differently written one way."""
    written = content.get("config") or {}
    process = {key: value for key, value in written.items() if value not in _NOTHING and key not in _WINDOWS}
    process.setdefault("WorkingDir", "/")
    history = [{**entry, "created": EPOCH} for entry in content.get("history") or []]
    named = {
        "os": platform.os,
        "architecture": platform.architecture,
        "variant": platform.variant or content.get("variant"),
    }
    return {
        **{key: value for key, value in named.items() if value},
        "created": EPOCH,
        "config": process,
        "history": history,
    }


def _image(
    layout: Layout, own: list[Descriptor], config: ImageConfig, base: list[Layer], plan: Plan, platform: Platform
) -> Image:
    numbered = [f"layer {number} of {len(own)}" for number in range(1, len(own) + 1)]
    titles = numbered if plan.own_layers else [layer.title for layer in plan.layers]
    layers = [_layer(one, title, layout) for one, title in zip(own, titles, strict=True)]
    return Image(platform, _config(config, plan, platform), (*base, *layers), plan.annotations)


def _config(config: ImageConfig, plan: Plan, platform: Platform) -> dict[str, Any]:
    """The engine's config; what the plan decided stands in it as the plan says it, whichever engine wrote it."""
    content = calm(config.content, platform)
    if not plan.own_layers:
        return content
    process = merged(content["config"], plan.process)
    return {**content, "config": {key: process[key] for key in sorted(process) if process[key] not in _NOTHING}}


_WINDOWS = ("ArgsEscaped",)
"""BuildKit writes it wherever there is a CMD; image-spec, config.md: deprecated, and for Windows alone."""
_NOTHING: tuple[object, ...] = (None, "", [], {}, False)


def _layer(descriptor: Descriptor, title: str, layout: Layout) -> Layer:
    blob = Blob(
        descriptor.digest, OCI_LAYER, descriptor.size, lambda: layout.fetch(descriptor), descriptor.digest, title
    )
    return Layer(blob, annotations={TITLE: title})
