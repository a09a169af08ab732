"""What buildx and podman have in common: a Containerfile is built elsewhere, and what came out becomes an Image.

The engine's result is exported as an OCI layout into the project's cache. Its new layers are taken from there; the base's
layers are taken as they stand in the base's registry, so that they are mounted or found there and never sent again.
"""

from __future__ import annotations

import hashlib
import os
import platform as platforms
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from buildkit.build import Context
from buildkit.containerfiles.image_places import pinned, relocated
from buildkit.containerfiles.instructions import replaced
from buildkit.engines.embedded import base_of, layer_stream
from buildkit.errors import EngineFailed, InvalidInput, Problem
from buildkit.machine.cache import cache_folder
from buildkit.machine.connections import is_loopback
from buildkit.oci.hashed import close
from buildkit.oci.image import EPOCH, Blob, Image, Layer
from buildkit.oci.layout import Layout
from buildkit.oci.manifest import INDEXES, OCI_LAYER, Descriptor, ImageConfig, Index, Manifest
from buildkit.oci.process import merged
from buildkit.oci.reference import Digest, Platform, Reference
from buildkit.oci.timeless import forget_times
from buildkit.pin import proven
from buildkit.plan import TITLE, Plan, PlannedLayer

KEPT = "modelpack"
"""The tag of this project's own image in an export."""


def for_this_machine(text: str, context: Context) -> str:
    """The Containerfile with images that run on another platform than the target's named by that platform's own manifest.

    podman 4.3 takes ``--platform=$BUILDPLATFORM`` and runs the stage on the target's platform all the same (measured), which
    needs an emulator for another architecture. A manifest's digest leaves no choice.
    """
    changes = []
    for one in pinned(text):
        platform = _fixed_platform(one.platform)
        if platform:
            reference = _for_platform(Reference.parse(one.text), platform, context)
            changes.append((one.first, one.end, str(reference)))
    return replaced(text, changes)


def _fixed_platform(written: str) -> Platform | None:
    """The platform that a FROM's flag names, where it is not the target's."""
    if written in ("$BUILDPLATFORM", "${BUILDPLATFORM}"):
        return this_platform()
    return Platform.parse(written) if written and "$" not in written else None


def _for_platform(reference: Reference, platform: Platform, context: Context) -> Reference:
    document = context.bases[reference].resolve(reference.digest or "")
    if document is None or document.media_type not in INDEXES:
        return reference
    chosen = Index.read(document).manifest_for(platform)
    if chosen is None:
        hint = "name another 'builder'" if platform == this_platform() else ""
        raise EngineFailed(f"{reference} has no image for {platform}", hint=hint)
    return Reference(reference.host, reference.repository).at(chosen.digest)


def this_platform() -> Platform:
    """What containers run on here: linux, on this processor, whatever the operating system is."""
    machine = platforms.machine().lower()
    return Platform("linux", {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine))


@contextmanager
def build_context(plan: Plan, context: Context, *, own_stage: bool = False) -> Iterator[tuple[Path, Path]]:
    """The Containerfile and the folder it is built in, as (file, folder); both are gone afterwards.

    The folder is the recipe's own where the plan copies from it, else an empty one: what else lies beside a recipe is
    never sent to a builder. ``own_stage``: see :func:`for_this_machine`.
    """
    with TemporaryDirectory(prefix="modelpack-") as temporary:
        folder = Path(temporary) / "context"
        folder.mkdir()
        file = Path(temporary) / "Containerfile"
        text = for_this_machine(plan.containerfile, context) if own_stage else plan.containerfile
        text = relocated(text, context.settings.located)
        file.write_text(text, encoding="utf-8", newline="\n")
        # What a project keeps out of its own images must not be missing from the model: BuildKit takes this file first.
        file.with_name(f"{file.name}.dockerignore").write_text("", encoding="utf-8")
        for name, layers in plan.archives.items():
            write_archive(layers, context, folder / name)
        if plan.copied:
            lay_out(plan.copied, context, folder)
        yield file, context.folder if plan.context is not None else folder


def write_archive(layers: tuple[PlannedLayer, ...], context: Context, path: Path) -> None:
    """Writes a tar that a Containerfile adds: the very layers that the embedded engine would lay, as one archive."""
    with path.open("wb") as file:
        for piece in layer_stream(layers, context):
            file.write(piece)


def lay_out(layer: PlannedLayer, context: Context, folder: Path) -> None:
    """Writes the files that a Containerfile copies into a folder: proven, with their planned modes, and without times."""
    for entry in layer.directories:
        (folder / entry.name).mkdir(parents=True, exist_ok=True)
    for planned in layer.files:
        place = folder / planned.entry.name
        with place.open("wb") as file:
            for piece in proven(context.sources[planned.source], planned.file):
                file.write(piece)
        place.chmod(planned.entry.mode)
    for entry in reversed(layer.entries):
        if entry.directory:
            (folder / entry.name).chmod(entry.mode)
        os.utime(folder / entry.name, (entry.mtime, entry.mtime))


def build_arguments(plan: Plan, context: Context) -> dict[str, str]:
    """What the Containerfile is told: the plan's own values, and about this machine the hub to download from."""
    hub = {"HF_ENDPOINT": context.settings.endpoint} if "ARG HF_ENDPOINT" in plan.containerfile else {}
    return {**hub, **plan.build_args}


def needs_host_network(plan: Plan, context: Context) -> bool:
    """Whether the build must see this machine's network: its own commands fetch something, or the hub is on loopback.

    A bridge between container and network is what build machines lack most often; a build that shares the network needs none.
    """
    if plan.network:
        return True
    from urllib.parse import urlsplit

    urls = [
        context.settings.endpoint,
        *(file.file.url for layer in plan.layers for file in layer.files if file.file.url),
    ]
    return any(is_loopback(urlsplit(url).hostname or "") for url in urls)


def check_readable(plan: Plan, context: Context) -> None:
    """Reads the beginning of each source's smallest file: a gated model is refused here, in words, and not by a build's log.

    Raises SourceFailed.
    """
    fetched = (file for layer in plan.layers for file in layer.files if file.content is None)
    files = sorted(fetched, key=lambda file: -file.file.size)
    for key, file in {file.source: file for file in files}.items():
        pieces = context.sources[key].open(file.file)
        next(pieces, None)
        close(pieces)


def plain_http_pulls(context: Context) -> bool:
    """Whether an image of the Containerfile comes from a registry that speaks plain HTTP (loopback, or marked insecure)."""
    located = [context.settings.located(reference) for reference in context.bases]
    return any(context.settings.plain_http(reference.host) for reference in located)


@contextmanager
def secret_files(plan: Plan, context: Context) -> Iterator[dict[str, Path]]:
    """The secrets that the plan's commands mount, by id, in files that only this user reads, gone afterwards.

    The hub's token is one of them where there is one. Raises InvalidInput with every secret that is not there.
    """
    contents = _secrets(plan, context)
    with TemporaryDirectory(prefix="modelpack-secret-") as folder:
        files = {name: Path(folder) / f"{number}" for number, name in enumerate(contents)}
        for name, path in files.items():
            path.touch(mode=0o600)
            path.write_bytes(contents[name])
        yield files


def _secrets(plan: Plan, context: Context) -> dict[str, bytes]:
    contents, problems = {}, []
    for secret in plan.secrets:
        try:
            contents[secret.id] = (
                os.environ[secret.variable].encode() if secret.variable else (context.folder / secret.path).read_bytes()
            )
        except KeyError:
            problems.append(Problem(secret.id, f"the environment variable {secret.variable} is not set", "set it"))
        except OSError as error:
            problems.append(Problem(secret.id, f"{secret.path} cannot be read: {error.strerror}"))
    if problems:
        raise InvalidInput("a secret of the build is not there", problems)
    if "id=hf_token" in plan.containerfile:
        from huggingface_hub import get_token

        token = get_token()
        contents |= {"hf_token": token.encode()} if token else {}
    return contents


def export_folder(engine: str, platform: Platform, context: Context) -> Path:
    """Where an engine's last build of a recipe is kept: one folder, replaced by the next build."""
    place = Digest.of(str(context.recipe.resolve()).encode()).hex[:16]
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
    timeless = {one.digest: _timeless(layout, one.digest) for one in exported}
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


def _timeless(layout: Layout, digest: Digest) -> Digest:
    """Takes the times out of a layer of the layout; its digest afterwards, under which it lies there."""
    path = layout.path(digest)
    if not forget_times(path):
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


def lacking(plan: Plan, engine: str) -> list[Problem]:
    """Why no Containerfile engine can build the plan."""
    blocked = plan.blocked.get(engine)
    return [Problem(engine, blocked)] if blocked else []


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
