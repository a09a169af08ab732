"""The engine that needs nothing: it lays deterministic tar layers onto a base by its digest, as streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from buildkit.build import Context
from buildkit.engines.made import made_layer
from buildkit.engines.prefetch import Prefetch
from buildkit.errors import Problem, RegistryFailed, SourceFailed
from buildkit.oci import tar
from buildkit.oci.hashed import Hashed
from buildkit.oci.image import EPOCH, Blob, Image, Layer, Pieces, Store
from buildkit.oci.manifest import OCI_LAYER, Descriptor, ImageConfig, as_oci
from buildkit.oci.reference import Digest, Platform, Reference
from buildkit.pin import checked, read_base
from buildkit.plan import KEY, PACKING, TITLE, MadeLayer, Plan, PlannedLayer


class Embedded:
    """Builds in this process. What it returns is a value: nothing is read before the image is put somewhere."""

    name = "embedded"

    def lacks(self, plan: Plan) -> list[Problem]:
        """The lines that would have to run inside the image: everything else it can do."""
        running = [Problem("embedded", f"cannot run: {line}") for line in plan.runs]
        blocked = [Problem("embedded", plan.blocked["embedded"])] if "embedded" in plan.blocked else []
        making = [problem for layer in plan.layers if isinstance(layer, MadeLayer) for problem in layer.lacks()]
        return running + blocked + making

    def build(self, plan: Plan, platform: Platform, context: Context) -> Image:
        """The image as a value; asks for the base's manifest and config, raises RegistryFailed."""
        config, layers = base_of(plan, platform, context)
        variables = dict(variable.split("=", 1) for variable in config.process.get("Env") or [] if "=" in variable)
        laid = tuple(_layer(layer, platform, variables, context) for layer in plan.layers)
        return Image(platform, laid_over(config, plan), (*layers, *laid), plan.annotations)

    def recall(self, plan: Plan, platform: Platform, manifest: Digest, context: Context) -> Image | None:
        """The same value again: it never was anywhere else than in the plan."""
        return self.build(plan, platform, context)


def laid_over(config: ImageConfig, plan: Plan) -> Mapping[str, Any]:
    """The base's config with the plan's ``process`` over it, its layers in the history, and no clock in it."""
    process = merged(config.process, plan.process)
    added = [{"created": EPOCH, "created_by": f"modelpack: {layer.title}"} for layer in plan.layers]
    kept = {key: value for key in _PLATFORM_KEYS if (value := config.content.get(key))}
    return {
        **kept,
        "created": EPOCH,
        "config": {key: process[key] for key in sorted(process) if process[key] not in (None, "", [], {})},
        "history": [*_filled(config), *added],
    }


def _filled(config: ImageConfig) -> list[Any]:
    """The base's history with an entry for each of its layers: it is optional, and is matched with the layers in their order.

    Sources: image-spec config.md, ``history``; BuildKit, exporter/containerimage/writer.go, normalizeLayersAndHistory.
    """
    told = list(config.content.get("history") or [])
    lacking = len(config.diff_ids) - sum(not entry.get("empty_layer") for entry in told)
    return [*told, *[{"created": EPOCH, "created_by": "a layer of the base"}] * lacking]


_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PLATFORM_KEYS = ("os", "architecture", "variant", "os.version", "os.features", "author")


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """What a Containerfile's instructions make of a base's process: labels and ports are added, variables replaced by name."""
    result = dict(base)
    for key, value in over.items():
        if key in ("Labels", "ExposedPorts"):
            result[key] = {**(base.get(key) or {}), **value}
        elif key == "Env":
            added = [_with_path(variable, base.get(key) or []) for variable in value]
            names = {variable.partition("=")[0] for variable in added}
            kept = [variable for variable in base.get(key) or [] if variable.partition("=")[0] not in names]
            result[key] = [*kept, *added]
        else:
            result[key] = value
    # What BuildKit and buildah do for a base that has none.
    if not any(variable.startswith("PATH=") for variable in result.get("Env") or []):
        result["Env"] = [*(result.get("Env") or []), f"PATH={_PATH}"]
    result.setdefault("WorkingDir", "/")
    return result


def _with_path(variable: str, base: Sequence[str]) -> str:
    """``PATH=/before:${PATH}`` with the base's own path; all other variables as they are, ``$`` and all."""
    before, placeholder, _ = variable.partition(":${PATH}")
    if not placeholder or not before.startswith("PATH="):
        return variable
    there = next((one for one in base if one.startswith("PATH=")), f"PATH={_PATH}")
    # An engine has put it before the base's already where it built the Containerfile's line.
    return there if f"{there}:".startswith(f"{before}:") else f"{before}:{there.removeprefix('PATH=')}"


def base_of(plan: Plan, platform: Platform, context: Context) -> tuple[ImageConfig, list[Layer]]:
    """The pinned base for a platform: its config, and its layers as they stand in its registry."""
    if plan.base is None:
        return ImageConfig.empty(platform), []
    reference = plan.base.reference
    store = context.bases[reference]
    manifest, config = read_base(plan.base, platform, store)
    if len(config.diff_ids) != len(manifest.layers):
        damaged = f"{reference.name}@{plan.base.platforms[platform]}"
        raise RegistryFailed(f"{damaged} is damaged: its config and manifest disagree about its layers")
    pairs = zip(manifest.layers, config.diff_ids, strict=True)
    return config, [_base_layer(descriptor, diff_id, store, reference) for descriptor, diff_id in pairs]


def _base_layer(descriptor: Descriptor, diff_id: Digest, store: Store, reference: Reference) -> Layer:
    blob = Blob(
        key=descriptor.digest,
        media_type=as_oci(descriptor.media_type),
        size=descriptor.size,
        open=lambda: store.fetch(descriptor),
        digest=descriptor.digest,
        title=f"base {reference.repository.rpartition('/')[2]}",
        origin=reference,
    )
    return Layer(blob, diff_id)


def layer_stream(layers: tuple[PlannedLayer, ...], context: Context) -> Hashed:
    """The tar of planned layers, hashed, each directory once; every file proven against its pin while it passes."""
    files = {file.entry.name: file for layer in layers for file in layer.files}
    entries = {entry.name: entry for layer in layers for entry in layer.entries}
    ordered = [entries[name] for name in sorted(entries)]
    distant = any(context.sources[file.source].distant for file in files.values() if file.content is None)

    def content(entry: tar.Entry) -> tar.Content:
        planned = files[entry.name]
        if planned.content is not None:
            return tar.Content((planned.content,))
        return checked(context.sources[planned.source], planned.file)

    prefetch = Prefetch(ordered if distant else (), content)
    stream = tar.stream(ordered, prefetch.content)
    return Hashed(_guarded(stream, prefetch), lambda: stream.digest)


def _guarded(stream: Hashed, prefetch: Prefetch) -> Pieces:
    try:
        with prefetch:
            yield from stream
    except ValueError as error:
        raise SourceFailed(str(error), hint="the source changed since it was locked; take it with --upgrade") from None


def _layer(
    layer: PlannedLayer | MadeLayer, platform: Platform, variables: Mapping[str, str], context: Context
) -> Layer:
    if isinstance(layer, MadeLayer):
        return made_layer(layer, platform, variables, context)
    blob = Blob(layer.key, OCI_LAYER, layer.size, lambda: layer_stream((layer,), context), title=layer.title)
    return Layer(blob, annotations={KEY: layer.key, TITLE: layer.title, PACKING: tar.PACKING})
