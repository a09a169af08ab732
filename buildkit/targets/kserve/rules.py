"""KServe's rules: what its init check, its sidecar, its downloader and its runtimes need of an image."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from buildkit.amounts import human
from buildkit.checks.document import Value
from buildkit.checks.rule import ERROR, NOTE, WARNING, Found, NotKnown, Severity, probed, rule
from buildkit.checks.subject import Subject
from buildkit.oci.files import WHITEOUT, Files, Member, plain_path
from buildkit.oci.manifest import DOCKER_LAYER
from buildkit.oci.reference import Reference
from buildkit.target_settings import KServe
from buildkit.targets.reading import missing, shown_few, words
from buildkit.targets.sources import (
    KSERVE,
    KSERVE_DOCS,
    KSERVE_FETCH,
    KSERVE_RUNTIMES,
    MODELCAR_BASE,
    ODH,
    OLOT,
    PRACTICE,
)
from buildkit.targets.universal import copies

MODELCAR, FETCH = ("modelcar",), ("fetch",)
ROOT = "models"
_SHIM = "bin/link-model-and-wait"
"""What the base image of opendatahub-io/modelcar-base-image runs instead of a shell."""
_PROGRAMS = ("sh", "ln", "sleep", "ls")
"""KServe's commands also use echo and [, which every shell has built in."""
_WORTH = 1024 * 1024


def has_shim(subject: Subject) -> bool:
    """Whether the image stands on the base that links the model without a shell."""
    entrypoint = words(subject.process, "Entrypoint")
    return bool(entrypoint) and entrypoint[0].lstrip("/") == _SHIM


@rule(
    "KS-01",
    "F,P",
    ERROR,
    "/models is a directory of its own in the image, and not empty",
    source=f"{KSERVE} (init check); {ODH}",
    do="put the model's files under /models",
)
def models_there(subject: Subject) -> Iterator[Found]:
    """A link to a directory is none: KServe's init check passes, image volumes and fetch do not."""
    files = subject.known_files
    root = files.merged.get(ROOT)
    if root is None:
        _ = subject.all_under(ROOT)
        yield Found("/models", "is not in the image")
    elif root.type != "directory":
        yield Found("/models", f"is a {root.type}, and not a directory")
    elif not any(member.type in ("file", "hardlink", "symlink") for member in files.under(ROOT)):
        _ = subject.all_under(ROOT)
        yield Found("/models", "is empty")


@rule(
    "KS-02",
    "F,P",
    ERROR,
    "sh, ln, sleep and ls are on PATH: the sidecar runs them",
    source=f"{KSERVE}; {KSERVE_DOCS}",
    do="take a base with a shell (ubi-micro, busybox), or the target kserve:native, which needs none",
    modes=MODELCAR,
)
def shell_there(subject: Subject) -> Iterator[Found]:
    """Busybox counts by the links of its applets: KServe calls them by name."""
    if has_shim(subject):
        return
    lacking = missing(subject.all_files, _PROGRAMS, subject.process)
    if lacking:
        yield Found("PATH", f"has no {', '.join(lacking)}")


@rule(
    "KS-03",
    "I",
    ERROR,
    "ENTRYPOINT is empty: KServe sends arguments alone, and an entrypoint would swallow them",
    source=f"{KSERVE}; {MODELCAR_BASE}",
    do="write ENTRYPOINT [] into the Containerfile; a recipe that names the target has it done",
    modes=MODELCAR,
)
def no_entrypoint(subject: Subject) -> Iterator[Found]:
    """The one known entrypoint that understands KServe's arguments is let through."""
    entrypoint = words(subject.process, "Entrypoint")
    if entrypoint and not has_shim(subject):
        yield Found("Entrypoint", f"is {entrypoint}")


@rule(
    "KS-04",
    "I",
    WARNING,
    "USER is a number, and not 0",
    source=f"{ODH}; with runAsNonRoot a name cannot be proven to be anybody but root",
    do="write USER 1001",
)
def numeric_user(subject: Subject) -> Iterator[Found]:
    """``1001:0`` is a number as well."""
    user = str(subject.process.get("User") or "").partition(":")[0]
    if not user.isdigit() or int(user) == 0:
        yield Found("User", f"is {user}" if user else "is not set, which means root")


@rule(
    "KS-05",
    "F,P",
    ERROR,
    "everything under /models belongs to group 0 and is readable for everybody: files r--, directories r-x",
    source=f"{ODH}; {OLOT}",
    do="write the files with --chown=1001:0 --chmod=a=rX (COPY), not with a chmod of a later layer",
)
def readable(subject: Subject) -> Iterator[Found]:
    """The same user may be any number, in group 0 or in none."""
    files = subject.files_under(ROOT)
    yield from unreadable(files, ROOT)
    others = [f"/{one.path}" for one in _owned(files) if files.real(one).gid != 0]
    if others:
        group = next(files.real(one).gid for one in _owned(files) if files.real(one).gid)
        yield Found(shown_few(others), f"belongs to group {group}, and OpenShift's random user is in group 0")


def _owned(files: Files) -> list[Member]:
    root = files.merged.get(ROOT)
    return [one for one in ([root] if root else []) + list(files.under(ROOT)) if one.type != "symlink"]


def unreadable(files: Files, folder: str) -> Iterator[Found]:
    """What a user that owns nothing here could not read."""
    root = files.merged.get(folder)
    closed: dict[str, list[str]] = {}
    for member in [*([root] if root else []), *files.under(folder)]:
        needed = 0o055 if member.type == "directory" else 0o044
        mode = files.real(member).mode
        if member.type in ("file", "directory", "hardlink") and mode & needed != needed:
            closed.setdefault(f"{member.type.replace('hardlink', 'file')} with mode {mode:04o}", []).append(
                f"/{member.path}"
            )
    for what, paths in closed.items():
        yield Found(shown_few(paths), f"is a {what}: a user of another id cannot read it")


@rule(
    "KS-06",
    "F",
    ERROR,
    "no layer holds a model's file again that a lower one has",
    source=f"{ODH} (its reason for --squash)",
    do="set owner and mode while the file is written: COPY --chown=1001:0 --chmod=a=rX",
)
def written_once(subject: Subject) -> Iterator[Found]:
    """A model that is written over itself is an error, a few small files that are replaced on purpose a warning.

    A file that two folders of the model have is a warning: it is twice there because both need it.
    """
    files = subject.files_under(ROOT)
    found = [one for one in copies(files) if one.second.path.startswith(f"{ROOT}/")]
    covered = [one.second for one in found if one.covers]
    again, total = sum(one.size for one in covered), sum(one.size for one in files.under(ROOT))
    severity = None if again >= _WORTH or again * 2 >= total else WARNING
    yield from _twice(covered, "are stored a second time", "", severity)
    shared = [one.second for one in found if one.certain and not one.covers]
    yield from _twice(shared, "are there under another name as well", "keep one of them, if that is enough", WARNING)
    alike = [one.second for one in found if not one.certain]
    yield from _twice(alike, "look like files of a lower layer", "compare them: they may be two files", NOTE)


def _twice(members: list[Member], what: str, do: str, severity: Severity | None) -> Iterator[Found]:
    if members:
        where = shown_few([f"/{member.path}" for member in members])
        amount = human(sum(member.size for member in members))
        yield Found(where, f"{amount} {what}, in layer {members[0].layer + 1}", do, severity)


@rule(
    "KS-07",
    "F",
    ERROR,
    "names in the layers begin with exactly models/: no ./ and no /",
    source=KSERVE_FETCH,
    do="write the layer with plain names, as COPY and modelpack do",
    eased={"modelcar": WARNING, "native": WARNING},
)
def plain_names(subject: Subject) -> Iterator[Found]:
    """The downloader compares the beginning of the name, letter by letter."""
    odd = [
        member.name
        for member in subject.files_under(ROOT).every()
        if member.path.startswith(f"{ROOT}/") and not member.name.startswith(f"{ROOT}/")
    ]
    if odd:
        yield Found(shown_few(odd), "does not begin with models/")


@rule(
    "KS-08",
    "I",
    ERROR,
    "no layer is compressed with zstd, and none has Docker's media type for what is not compressed",
    source=KSERVE_FETCH,
    do="push OCI layers, not compressed or with gzip",
    modes=FETCH,
)
def known_layers(subject: Subject) -> Iterator[Found]:
    """zstd ends the download with an error; Docker's plain type is passed over in silence."""
    if not subject.image.exact:
        raise NotKnown("the image as it was pushed: an archive's media types are others")
    for number, layer in enumerate(subject.image.manifest.layers, 1):
        if layer.media_type.endswith("zstd"):
            yield Found(f"layer {number}", f"is {layer.media_type}, which KServe's downloader cannot read")
        elif layer.media_type == DOCKER_LAYER:
            yield Found(f"layer {number}", f"is {layer.media_type}, which KServe's downloader passes over")


@rule(
    "KS-09",
    "F",
    ERROR,
    "under models/ no link leaves the folder, nothing is a device, and nothing relies on a whiteout",
    source=f"{KSERVE_FETCH} (tarfile's filter 'data')",
    do="store the files themselves: of a hub's cache take what the links point to",
    eased={"modelcar": WARNING, "native": WARNING},
)
def no_odd_members(subject: Subject) -> Iterator[Found]:
    """What KServe's downloader refuses to extract, or does not understand."""
    files = subject.files_under(ROOT)
    for member in files.every():
        if not member.path.startswith(f"{ROOT}/"):
            continue
        if posixpath.basename(member.path).startswith(WHITEOUT):
            yield Found(f"/{member.path}", "takes a file of a lower layer away, which the downloader ignores")
        elif member.type in ("device", "fifo"):
            yield Found(f"/{member.path}", f"is a {member.type}")
        elif member.type in ("symlink", "hardlink"):
            yield from _link(files, member)


def _link(files: Files, member: Member) -> Iterator[Found]:
    absolute = member.type == "symlink" and member.link.startswith("/")
    beside = posixpath.dirname(member.path) if member.type == "symlink" else ""
    target = plain_path(posixpath.join("/", beside, member.link))
    climbs = posixpath.normpath(posixpath.join(beside, member.link)).startswith("..")
    if absolute or climbs or not target.startswith(f"{ROOT}/"):
        yield Found(f"/{member.path}", f"is a link that leaves the folder: {member.link}")
    elif files.find(member.path) is None and not files.unread:
        yield Found(f"/{member.path}", f"is a link to nothing: {member.link}", "", ERROR)
    elif member.type == "symlink" and "blobs" in target.split("/")[:-1]:
        yield Found(f"/{member.path}", f"is a link into a hub's cache: {member.link}")


@rule(
    "KS-10",
    "G,D",
    WARNING,
    "deployed by a tag that does not move, or by digest: 'latest' is pulled again for every pod",
    source=KSERVE_DOCS,
    do="use 'modelpack deploy', which writes the digest of the lock",
)
def pinned(subject: Subject) -> Iterator[Found]:
    """The reference, or the storageUri of the deployment."""
    if subject.given.deployment is None:
        references = subject.references
    else:
        uri = _model(subject)["storageUri"].text()
        references = (Reference.parse(uri.partition("://")[2]),) if uri.startswith(_SCHEMES) else ()
    for reference in references:
        if reference.moves:
            yield Found(str(reference), "names a tag that moves")


UID = probed(
    "KS-11",
    WARNING,
    "a runtime with the sidecar's user reads the model through /proc/PID/root",
    source=f"{KSERVE_DOCS}; kserve issue 4995",
    do="use oci+native:// on Kubernetes 1.33 and later, or set uidModelcar",
    kinds="P,D",
    modes=MODELCAR,
)


@rule(
    "KS-15",
    "I",
    WARNING,
    "the image is for the nodes' architecture: linux/amd64 or linux/arm64",
    source=KSERVE_FETCH,
    do="build for the platforms of the nodes",
)
def architecture(subject: Subject) -> Iterator[Found]:
    """A model runs nowhere, but its image must be pulled."""
    platform = subject.config.platform
    if (platform.os, platform.architecture) not in (("linux", "amd64"), ("linux", "arm64")):
        yield Found("architecture", f"is {platform}")


@rule(
    "KS-16",
    "D",
    ERROR,
    "the runtime is named: several of them take the same format, and Open Data Hub selects none by itself",
    source=KSERVE_RUNTIMES,
    do="name it as 'runtime' of the recipe's target",
)
def runtime_named(subject: Subject) -> Iterator[Found]:
    """Upstream a format with one runtime is enough."""
    if not _model(subject)["runtime"].text():
        odh = isinstance(subject.settings, KServe) and subject.settings.distribution == "odh"
        yield Found("spec.predictor.model.runtime", "is not set", "", ERROR if odh else WARNING)


_SCHEMES = ("oci://", "oci+native://", "oci+fetch://")


@rule(
    "KS-17",
    "D",
    ERROR,
    "storageUri begins with oci://, oci+native:// or oci+fetch://; a private image names its pull secret",
    source=f"{KSERVE}; {ODH}",
    do="write storageUri: oci://HOST/REPOSITORY@sha256:...",
)
def storage_uri(subject: Subject) -> Iterator[Found]:
    """The pull secret stands beside the model, at the predictor."""
    uri = _model(subject)["storageUri"].text()
    if not uri.startswith(_SCHEMES):
        yield Found("spec.predictor.model.storageUri", f"is {uri!r}")
    for secret in subject.deployment.at("spec.predictor.imagePullSecrets"):
        if not secret["name"].text():
            yield Found("spec.predictor.imagePullSecrets", "has an entry without a name")


def _model(subject: Subject) -> Value:
    return subject.deployment.at("spec.predictor.model")


@rule(
    "KS-18",
    "I,F,P",
    WARNING,
    "the image is the model on a small base: the sidecar has 15 MiB of memory for sh and sleep",
    source=f"{KSERVE}; {PRACTICE}",
    do="take a small base: ubi-micro, busybox",
    modes=MODELCAR,
)
def small_base(subject: Subject) -> Iterator[Found]:
    """A server in the image never runs, and only makes it larger; a User that is not in the image is fine."""
    if subject.process.get("ExposedPorts"):
        yield Found(
            "ExposedPorts", f"has {', '.join(sorted(subject.process['ExposedPorts']))}: a modelcar serves nothing"
        )
    rest = sum(one.size for one in subject.all_files.merged.values() if not one.path.startswith(f"{ROOT}/"))
    if rest > _LARGE_BASE:
        yield Found("/", f"{human(rest)} lie beside the model")


_LARGE_BASE = 300 * 1000**2
