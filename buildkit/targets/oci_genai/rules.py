"""The rules of a hosted deployment."""

from __future__ import annotations

from collections.abc import Iterator

from buildkit.checks.rule import ERROR, WARNING, Found, probed, rule
from buildkit.checks.subject import Subject
from buildkit.oci.manifest import INDEXES, Index
from buildkit.targets.environment import reserved
from buildkit.targets.oci_data_science.rules import not_ocir
from buildkit.targets.reading import shown_few, words
from buildkit.targets.sources import HOSTED, HOSTED_DEPLOY

_RESERVED = (
    r"PORT|K_SERVICE|K_CONFIGURATION|K_REVISION|OCI_RESOURCE_PRINCIPAL_VERSION"
    r"|OCI_RESOURCE_PRINCIPAL_PRIVATE_PEM|OCI_RESOURCE_PRINCIPAL_RPST|KUBERNETES_.*"
)


@rule(
    "OGH-01",
    "I",
    ERROR,
    "the image is for linux/amd64",
    source=HOSTED,
    do="build for platforms: [linux/amd64]; a plain manifest is safer than an index",
)
def architecture(subject: Subject) -> Iterator[Found]:
    """An index must hold an image for linux/amd64."""
    platform = subject.config.platform
    if (platform.os, platform.architecture) != ("linux", "amd64"):
        yield Found("architecture", f"is {platform}")
    if subject.given.image and subject.image.exact and subject.image.top.media_type in INDEXES:
        entries = [one.platform for one in Index.read(subject.image.top).manifests if one.platform]
        if len([one for one in entries if one.os != "unknown"]) > 1 or any(one.os == "unknown" for one in entries):
            yield Found("the manifest", "is an index", "push a plain manifest (--provenance=false)", WARNING)


LISTENS = probed("OGH-02", ERROR, "listens on 0.0.0.0:8080", source=HOSTED, do="bind the server to 0.0.0.0, port 8080")
READY = probed(
    "OGH-03",
    ERROR,
    "GET /ready answers 200 as application/json when initialised, and something else before",
    source=f"{HOSTED}; {HOSTED_DEPLOY}",
    do="answer 503 until everything is loaded",
)
HEALTH = probed(
    "OGH-04", ERROR, "GET /health answers 200 as application/json", source=HOSTED, do="serve GET /health with JSON"
)
STREAMS = probed(
    "OGH-05",
    ERROR,
    "Accept: text/event-stream is answered with text/event-stream, anything else with application/json",
    source=HOSTED,
    do="look at the request's Accept header in every path of your own",
)


@rule(
    "OGH-06",
    "R,I,C",
    ERROR,
    "no variable that the platform keeps: PORT, K_*, OCI_RESOURCE_PRINCIPAL_*, KUBERNETES_*",
    source=HOSTED,
    do="remove it; the port is always 8080",
)
def not_reserved(subject: Subject) -> Iterator[Found]:
    """In the recipe, the Containerfile, the image and .env files in it."""
    yield from reserved(subject, _RESERVED, "kept by the platform")


READ_ONLY = probed(
    "OGH-07",
    ERROR,
    "works with a read-only file system where only /tmp can be written",
    source=HOSTED,
    do="set HOME=/tmp and PYTHONDONTWRITEBYTECODE=1, and write files below /tmp only",
)


@rule(
    "OGH-08",
    "I",
    ERROR,
    "ENTRYPOINT or CMD is set in the image: none can be given at deployment",
    source=HOSTED,
    do="write CMD into the Containerfile",
)
def starts(subject: Subject) -> Iterator[Found]:
    """What starts the server."""
    if not words(subject.process, "Entrypoint") and not words(subject.process, "Cmd"):
        yield Found("Entrypoint and Cmd", "are empty")


@rule(
    "OGH-09",
    "I",
    ERROR,
    "the image has no VOLUME: containers are stateless",
    source=HOSTED,
    do="remove VOLUME, or take a base without it",
)
def no_volume(subject: Subject) -> Iterator[Found]:
    """Also one that the base brought along."""
    for path in subject.process.get("Volumes") or {}:
        yield Found("Volumes", f"has {path}")


@rule(
    "OGH-10",
    "I,G",
    ERROR,
    "the vulnerability scan finds nothing critical: the deployment fails else",
    source=f"{HOSTED}; {HOSTED_DEPLOY}",
    do="scan it (modelpack check --image REF --scan, and OCIR itself); stand on a base of container-registry.oracle.com",
)
def scanned(subject: Subject) -> Iterator[Found]:
    """Oracle's own scanner decides in the end; what trivy or grype calls critical, it will most likely find as well."""
    critical = subject.scanned.at_least("critical")
    if critical:
        named = shown_few([f"{one.id} in {one.package} {one.version}" for one in critical])
        mended = [f"{one.package} {one.fixed}" for one in critical if one.fixed]
        do = f"take {shown_few(list(dict.fromkeys(mended)))}; or stand on a newer base" if mended else ""
        yield Found("the image", f"has {len(critical)} critical, as {subject.scanned.scanner} says: {named}", do)


@rule("OGH-11", "G", ERROR, "the image is in OCI Registry", source=f"{HOSTED}; {HOSTED_DEPLOY}", do="push it to OCIR")
def in_ocir(subject: Subject) -> Iterator[Found]:
    """Under any of the names of a region's registry."""
    yield from not_ocir(subject)


@rule(
    "OGH-12",
    "C,R",
    WARNING,
    "the base is one of Oracle's, which pass the scan, and uv is pinned",
    source=HOSTED,
    do="stand on container-registry.oracle.com/os/oraclelinux, and name versions with digests",
)
def oracle_base(subject: Subject) -> Iterator[Found]:
    """The base of the plan."""
    base = subject.plan.base
    if base is not None and base.reference.host != "container-registry.oracle.com":
        yield Found("base", f"is {base.reference.name}")


STAYS = probed(
    "OGH-13",
    ERROR,
    "the main process stays up",
    source="the platform's own sample never starts its server",
    do="start the server in CMD, for example with uvicorn",
)
