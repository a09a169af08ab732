"""A Pod that mounts the image as a volume."""

from __future__ import annotations

from typing import Any

from buildkit.deployment import Order, Piece, without_empty
from buildkit.errors import InvalidInput
from buildkit.target_settings import Kubernetes

_FIRST, _SUB_PATH, _DEFAULT = (1, 31), (1, 33), (1, 35)
PAUSE = "registry.k8s.io/pause:3.10"
"""A container that does nothing, for a pod whose own nobody named."""


def pod(order: Order) -> list[Piece]:
    """A Pod; raises InvalidInput where the cluster is too old for it."""
    said = order.settings
    if not isinstance(said, Kubernetes):
        raise TypeError("a pod is made from Kubernetes' settings")
    if order.kubernetes and order.kubernetes < _FIRST:
        raise InvalidInput("image volumes came with Kubernetes 1.31", hint="use the target kserve:modelcar")
    sub_path = said.sub_path
    comment = "the model is mounted read-only"
    if order.kubernetes and order.kubernetes < _SUB_PATH:
        comment += f"; before Kubernetes 1.33 no subPath is taken: it is under {said.mount_path}/{sub_path or ''}"
        sub_path = None
    if not order.kubernetes or order.kubernetes < _DEFAULT:
        comment += "\nthe feature gate ImageVolume is on by default from Kubernetes 1.35 on"
    notes = [f"kubectl apply -f pod.yaml; the model is at {said.mount_path}"]
    if said.server_image is None:
        notes.append("say 'server_image' in the recipe's target: what reads the model; the pod only pauses now")
    document = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": order.label},
        "spec": _spec(order, said, sub_path),
    }
    return [Piece("pod.yaml", document, comment, judged=True, notes=tuple(notes))]


def _spec(order: Order, said: Kubernetes, sub_path: str | None) -> dict[str, Any]:
    mount = {"name": "model", "mountPath": said.mount_path, "subPath": sub_path, "readOnly": True}
    return without_empty(
        {
            "imagePullSecrets": [{"name": said.pull_secret}] if said.pull_secret else [],
            "containers": [
                {
                    "name": "server",
                    "image": said.server_image or PAUSE,
                    "volumeMounts": [without_empty(mount)],
                }
            ],
            "volumes": [{"name": "model", "image": {"reference": order.pinned, "pullPolicy": "IfNotPresent"}}],
        }
    )
