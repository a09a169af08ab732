"""KServe in its three modes, and a pod of Kubernetes with an image volume."""

from __future__ import annotations

from typing import cast

from buildkit.probe.asked import Asked
from buildkit.probe.fetched import FetchedModel
from buildkit.probe.job import Unasked
from buildkit.probe.model_folder import Modelcar, MountedFolder
from buildkit.probe.session import Probe
from buildkit.target_settings import Kubernetes


def kserve_modelcar(asked: Asked) -> tuple[Probe, ...]:
    """``oci://``: the init check, the sidecar, and a model server beside it."""
    return (Modelcar(),)


def kserve_native(asked: Asked) -> tuple[Probe, ...]:
    """``oci+native://``: the image as a volume, its folder ``models`` mounted."""
    return (MountedFolder("KS-01", "KS-05"),)


def kserve_fetch(asked: Asked) -> tuple[Probe, ...]:
    """``oci+fetch://``: the storage initializer reads the layers."""
    return (FetchedModel(), Unasked((("KS-05", "the initializer writes the files itself, with modes of its own"),)))


def kubernetes(asked: Asked) -> tuple[Probe, ...]:
    """A pod's image volume, with the ``subPath`` that the settings name."""
    settings = cast(Kubernetes, asked.settings)
    return (MountedFolder("KV-03", "KV-03", (settings.sub_path or "").strip("/")),)
