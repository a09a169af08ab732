"""The rules of image volumes."""

from __future__ import annotations

from collections.abc import Iterator

from buildkit.checks.document import Value
from buildkit.checks.rule import ERROR, NOTE, WARNING, Found, NotKnown, rule
from buildkit.checks.subject import Subject
from buildkit.oci.files import Files
from buildkit.oci.manifest import CONFIGS, DOCKER_LAYER, OCI_LAYER
from buildkit.oci.reference import Reference
from buildkit.target_settings import Kubernetes
from buildkit.targets.kserve.rules import unreadable
from buildkit.targets.sources import IMAGE_VOLUMES, KSERVE, UNVERIFIED


@rule(
    "KV-01",
    "D",
    ERROR,
    "the pod has volumes[].image.reference and mounts it; subPath needs Kubernetes 1.33",
    source=f"{IMAGE_VOLUMES}; {KSERVE}",
    do="use 'modelpack deploy --target kubernetes --kubernetes-version V'",
)
def volume(subject: Subject) -> Iterator[Found]:
    """Every image volume has a reference, and a container that mounts it."""
    spec = _pod(subject)
    images = {one["name"].text(): one["image"] for one in spec["volumes"] if one["image"].content is not None}
    if not images:
        yield Found(f"{spec.path}.volumes", "has no volume of an image")
    for name, image in images.items():
        if not image["reference"].text():
            yield Found(f"{spec.path}.volumes[{name}].image", "has no reference")
    containers = [one for key in ("containers", "initContainers") for one in spec[key]]
    mounted = {mount["name"].text() for one in containers for mount in one["volumeMounts"]}
    for name in sorted(set(images) - mounted):
        yield Found(f"{spec.path}.volumes[{name}]", "is mounted by no container")


_TEMPLATED = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job")
_PODS = {**dict.fromkeys(_TEMPLATED, "spec.template.spec"), "CronJob": "spec.jobTemplate.spec.template.spec"}
"""Where the kinds that make pods have the specification of one; of a Pod it is its own."""


def _pod(subject: Subject) -> Value:
    """The specification of the pods that a document makes: its own, or that of its template."""
    return subject.deployment.at(_PODS.get(subject.deployment["kind"].text(), "spec"))


@rule(
    "KV-02",
    "I",
    NOTE,
    "an image volume needs no shell, no ENTRYPOINT and no USER: scratch is fine",
    source=IMAGE_VOLUMES,
    do="leave it, or save some bytes with base: scratch",
)
def nothing_runs(subject: Subject) -> Iterator[Found]:
    """Only said where an image would start something."""
    if subject.process.get("Entrypoint"):
        yield Found("Entrypoint", "is never run by an image volume")


@rule(
    "KV-03",
    "F",
    ERROR,
    "what is mounted is a real directory of the image, and readable for the pod's user",
    source=f"{IMAGE_VOLUMES}; containerd resolves subPath within the mount",
    do="let subPath name a directory, no link, with files r-- and directories r-x for everybody",
)
def mountable(subject: Subject) -> Iterator[Found]:
    """The folder of the recipe's target, /models by default."""
    said = subject.settings
    folder = (said.sub_path if isinstance(said, Kubernetes) else "models") or ""
    files = subject.files_under(folder)
    member = files.merged.get(folder)
    if folder and member is None:
        _ = subject.all_under(folder)
        yield Found(f"/{folder}", "is not in the image")
    elif member is not None and member.type != "directory":
        yield Found(f"/{folder}", f"is a {member.type}, and not a directory")
    elif not _filled(files, folder):
        _ = subject.all_under(folder)
        yield Found(f"/{folder}", "is empty")
    if folder:
        yield from unreadable(files, folder)


def _filled(files: Files, folder: str) -> bool:
    return any(member.type != "directory" for member in files.under(folder))


@rule(
    "KV-04",
    "D",
    WARNING,
    "the reference has a digest or a tag that does not move: ':latest' is pulled again for every pod",
    source=IMAGE_VOLUMES,
    do="use 'modelpack deploy', which writes the digest of the lock",
)
def pinned(subject: Subject) -> Iterator[Found]:
    """Every image volume's reference."""
    for one in _pod(subject)["volumes"]:
        text = one.at("image.reference").text()
        reference = Reference.parse(text) if text else None
        if reference and reference.moves:
            yield Found(f"{one.path}.image.reference", f"{text} names a tag that moves")


_LAYER_TYPES = (OCI_LAYER, DOCKER_LAYER)


@rule(
    "KV-05",
    "I",
    WARNING,
    "it is an ordinary image of tar layers: whether an artifact is mounted depends on the runtime",
    source=f"{IMAGE_VOLUMES}; for containerd {UNVERIFIED}",
    do="build an image, not an artifact",
)
def ordinary(subject: Subject) -> Iterator[Found]:
    """The manifest's and the layers' media types, where they are as pushed."""
    if not subject.image.exact:
        raise NotKnown("the image as it was pushed: an archive's media types are others")
    if subject.image.manifest.config.media_type not in CONFIGS:
        yield Found("the manifest", f"is that of an artifact ({subject.image.manifest.type})")
    for number, layer in enumerate(subject.image.manifest.layers, 1):
        if not layer.media_type.startswith(_LAYER_TYPES):
            yield Found(f"layer {number}", f"is {layer.media_type}")
