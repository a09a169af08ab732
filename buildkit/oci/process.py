"""The process in an image's config, and what the instructions of a Containerfile make of its base's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from buildkit.oci.image import EPOCH
from buildkit.oci.manifest import ImageConfig

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What BuildKit and buildah set where a base sets none, ``scratch`` above all (BuildKit, util/system/path.go)."""
_PLATFORM_KEYS = ("os", "architecture", "variant", "os.version", "os.features", "author")


def laid_over(config: ImageConfig, process: Mapping[str, Any], layers: Sequence[str]) -> dict[str, Any]:
    """A base's config with a process over it, layers by their titles in the history, and no clock of its own in it."""
    laid = merged(config.process, process)
    added = [{"created": EPOCH, "created_by": f"modelpack: {title}"} for title in layers]
    kept = {key: value for key in _PLATFORM_KEYS if (value := config.content.get(key))}
    return {
        **kept,
        "created": EPOCH,
        "config": {key: laid[key] for key in sorted(laid) if laid[key] not in (None, "", [], {})},
        "history": [*_filled(config), *added],
    }


def _filled(config: ImageConfig) -> list[Any]:
    """The base's history with an entry for each of its layers: it is optional, and is matched with the layers in their order.

    Sources: image-spec config.md, ``history``; BuildKit, exporter/containerimage/writer.go, normalizeLayersAndHistory.
    """
    told = list(config.content.get("history") or [])
    lacking = len(config.diff_ids) - sum(not entry.get("empty_layer") for entry in told)
    return [*told, *[{"created": EPOCH, "created_by": "a layer of the base"}] * lacking]


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
        result["Env"] = [*(result.get("Env") or []), f"PATH={PATH}"]
    result.setdefault("WorkingDir", "/")
    return result


def _with_path(variable: str, base: Sequence[str]) -> str:
    """``PATH=/before:${PATH}`` with the base's own path; all other variables as they are, ``$`` and all."""
    before, placeholder, _ = variable.partition(":${PATH}")
    if not placeholder or not before.startswith("PATH="):
        return variable
    there = next((one for one in base if one.startswith("PATH=")), f"PATH={PATH}")
    # An engine has put it before the base's already where it built the Containerfile's line.
    return there if f"{there}:".startswith(f"{before}:") else f"{before}:{there.removeprefix('PATH=')}"
