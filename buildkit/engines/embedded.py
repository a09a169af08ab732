"""The engine that needs nothing: it lays deterministic tar layers onto a base by its digest, as streams."""

from __future__ import annotations

from collections.abc import Mapping

from buildkit.build import Context
from buildkit.engines.made import made_layer
from buildkit.engines.prefetch import Prefetch
from buildkit.errors import Problem, RegistryFailed, SourceFailed
from buildkit.oci import tar
from buildkit.oci.hashed import Hashed
from buildkit.oci.image import Blob, Image, Layer, Pieces, Store
from buildkit.oci.manifest import OCI_LAYER, Descriptor, ImageConfig, as_oci
from buildkit.oci.process import laid_over
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
        return Image(
            platform,
            laid_over(config, plan.process, [layer.title for layer in plan.layers]),
            (*layers, *laid),
            plan.annotations,
        )

    def recall(self, plan: Plan, platform: Platform, manifest: Digest, context: Context) -> Image | None:
        """The same value again: it never was anywhere else than in the plan."""
        return self.build(plan, platform, context)


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
