"""How a result is written on stdout: lines for ``$(...)``, or a document under ``--json``."""

from __future__ import annotations

from typing import Any

from buildkit.delivery.push import Delivered


def lines(delivered: Delivered) -> list[str]:
    """``name:tag@sha256:...``, a line for each tag."""
    return [f"{reference}@{delivered.digest_of(reference)}" for reference in delivered.references]


def document(delivered: Delivered) -> dict[str, Any]:
    """The same and the manifests per platform."""
    platforms = {
        str(platform): sealed.manifest.document.digest for platform, sealed in sorted(delivered.sealing.images.items())
    }
    sizes = {str(image.platform): sum(layer.blob.size for layer in image.layers) for image in delivered.images}
    return {
        "references": lines(delivered),
        "digest": delivered.sealing.digest,
        "mediaType": delivered.sealing.document.media_type,
        "platforms": platforms,
        "layerBytes": sizes,
        "unchanged": delivered.unchanged,
        "failed": {name: str(failure) for name, failure in delivered.failed.items()},
    }
