"""The rules that hold wherever an image goes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from buildkit import secret_shapes
from buildkit.amounts import human
from buildkit.checks.rule import ERROR, NOTE, WARNING, Found, rule
from buildkit.checks.subject import Subject
from buildkit.containerfiles.image_places import places
from buildkit.containerfiles.instructions import arguments, read
from buildkit.oci.files import SMALL, Files, Member, is_small_text
from buildkit.process import variables
from buildkit.reading.plain import shown
from buildkit.registry_hosts import ocir_names
from buildkit.targets.reading import shown_few
from buildkit.targets.sources import IMAGE_SPEC, PRACTICE, SEEDS

_LARGE = 10 * 1000**2


@rule(
    "UNI-01",
    "I,F",
    ERROR,
    "no secret in variables, labels, history or small files",
    source=PRACTICE,
    do="revoke it, since whoever pulls the image has it; give secrets at run time, or to a build with --mount=type=secret",
)
def no_secret(subject: Subject) -> Iterator[Found]:
    """Looks at the config first, then at files that a person could have left there."""
    for name, value in variables(subject.process).items():
        kinds = secret_shapes.shapes(value)
        if kinds or secret_shapes.named(name, value):
            yield Found(f"variable {name}", f"holds {kinds[0] if kinds else 'what looks like a secret'}")
    for name, value in (subject.process.get("Labels") or {}).items():
        kinds = secret_shapes.shapes(str(value))
        if kinds or secret_shapes.named(name.rpartition(".")[2], str(value)):
            yield Found(f"label {name}", f"holds {kinds[0] if kinds else 'what looks like a secret'}")
    yield from _in_history(subject)
    yield from _in_files(subject)


def _in_history(subject: Subject) -> Iterator[Found]:
    for number, step in enumerate(subject.config.content.get("history") or [], 1):
        text = f"{step.get('created_by', '')} {step.get('comment', '')}"
        for what in dict.fromkeys([*secret_shapes.shapes(text), *secret_shapes.assigned(text)]):
            named = "" if " " in what else "a value for "
            yield Found(f"history, line {number}", f"shows {named}{what}")


def _in_files(subject: Subject) -> Iterator[Found]:
    """Also what a higher layer removes again: the lower layer still has it."""
    for member in subject.files.every():
        if is_small_text(member):
            for kind in secret_shapes.shapes(subject.text(member)):
                yield Found(f"/{member.path}", f"holds {kind} (layer {member.layer + 1})")


@rule(
    "UNI-02",
    "C",
    ERROR,
    "no build argument carries a secret",
    source=f"{PRACTICE}; a build argument stands in process lists, in the history and in provenance",
    do="use RUN --mount=type=secret,id=NAME, and pass the secret with --secret",
)
def no_secret_argument(subject: Subject) -> Iterator[Found]:
    """ARG lines by their names."""
    written = read(subject.containerfile)
    for number, name, _ in arguments(written):
        if secret_shapes.is_secret_name(name):
            yield Found(f"Containerfile:{number}", f"takes a secret as an argument: ARG {name}")
    for one in written.instructions:
        if re.search(r"--build-arg\s+\w*(token|password|secret)", one.text, re.I):
            yield Found(f"Containerfile:{one.line}", "passes a secret with --build-arg")


@rule(
    "UNI-04",
    "G",
    WARNING,
    "the tag is immutable, and never 'latest'",
    source=PRACTICE,
    do="give every push a tag of its own, and deploy by digest",
)
def own_tag(subject: Subject) -> Iterator[Found]:
    """A reference that has its digest is as good as can be."""
    for reference in subject.references:
        if reference.moves:
            yield Found(str(reference), f"is tagged {shown(reference.tag or 'latest')}, which moves")


@rule(
    "UNI-06",
    "C",
    WARNING,
    "every base image is pinned by its digest",
    source=PRACTICE,
    do="write FROM NAME@sha256:..., as 'modelpack render' does",
)
def pinned_bases(subject: Subject) -> Iterator[Found]:
    """FROM lines and COPY --from of images; a stage of the same file and scratch need no digest."""
    stages = {"scratch"}
    for one in places(read(subject.containerfile), []):
        if (
            one.text.lower() not in stages
            and "@sha256:" not in one.text
            and "$" not in one.text
            and not one.text.isdigit()
        ):
            yield Found(f"Containerfile:{one.line}", f"{one.text} is not pinned")
        stages |= {one.stage}


@rule(
    "UNI-07",
    "F",
    WARNING,
    "no large file (10 MB and more) lies in two layers",
    source=PRACTICE,
    do="set owner and mode while the file is written (COPY --chown --chmod): a later chmod, chown or mv stores it again",
)
def no_second_copy(subject: Subject) -> Iterator[Found]:
    """The same path or content twice; what only looks the same at another place is a note."""
    for copy in copies(subject.files):
        first, second = copy.first, copy.second
        if second.size >= _LARGE:
            where = "" if copy.covers else f", there as /{first.path}"
            layers = f"in layer {first.layer + 1}{where} and again in layer {second.layer + 1}"
            if copy.certain:
                yield Found(f"/{second.path}", f"{human(second.size)} are {layers}")
            else:
                what = f"a file of this name and {human(second.size)} is {layers}"
                yield Found(f"/{second.path}", what, "compare them: they may be two files", NOTE)


@dataclass(frozen=True)
class Copy:
    """A file that lies in two layers. ``certain``: path or content are the same, and not only name and size."""

    first: Member
    second: Member
    certain: bool = True

    @property
    def covers(self) -> bool:
        """Whether the upper file takes the place of the lower one, which nobody sees any more."""
        return self.first.path == self.second.path


def copies(files: Files) -> Iterator[Copy]:
    """Files with content that lie in two layers; small ones at other places are none."""
    by_path: dict[str, Member] = {}
    by_proof: dict[str, Member] = {}
    by_look: dict[tuple[str, int], Member] = {}
    for member in files.every():
        if member.type != "file" or not member.size:
            continue
        look = (member.path.rpartition("/")[2], member.size)
        same, alike = by_path.get(member.path) or by_proof.get(member.proof), by_look.get(look)
        if same and same.layer != member.layer and (same.path == member.path or member.size > SMALL):
            yield Copy(same, member)
        elif alike and alike.layer != member.layer and member.size > SMALL and not (alike.proof and member.proof):
            yield Copy(alike, member, certain=False)
        by_path[member.path] = member
        by_look.setdefault(look, member)
        if member.proof:
            by_proof.setdefault(member.proof, member)


@rule(
    "UNI-10",
    "G",
    ERROR,
    "the login is for the very host that is pushed to",
    source="credentials are kept by host: the platform's own guide logs in to one name and pushes to another",
    do="log in with exactly the host of the reference",
)
def same_host(subject: Subject) -> Iterator[Found]:
    """OCIR answers under several names; a login under another one is no login."""
    for reference in subject.references:
        names = [name for name in ocir_names(reference.host) if name != reference.host]
        if names and not subject.logged_in(reference):
            elsewhere = [name for name in names if subject.logged_in(type(reference)(name, reference.repository))]
            if elsewhere:
                yield Found(
                    str(reference), f"there is a login for {shown_few(elsewhere)}, and none for {reference.host}"
                )


@rule(
    "UNI-12",
    "I,F",
    WARNING,
    "the image has at most 125 layers, the base's among them: docker stores no more",
    source="moby, layer/layer_store.go, maxLayerDepth",
    do="take 'layers: squashed', or a base with fewer layers",
)
def few_layers(subject: Subject) -> Iterator[Found]:
    """Before the build as they are planned, afterwards as they were pushed."""
    image = subject.given.image
    amount = len(image.manifest.layers if image else subject.known_files.sizes)
    if amount > 125:
        yield Found("the image", f"has {amount} layers")


@rule(
    "UNI-13",
    "F",
    ERROR,
    "every layer is a tar that can be read to its end",
    source=f"{IMAGE_SPEC}, layer.md",
    do="build the image again, and push it again: what is there is no layer",
)
def whole_layers(subject: Subject) -> Iterator[Found]:
    """What was read and is no tar; a layer that nobody read is none of them."""
    for number, why in subject.files.damaged.items():
        yield Found(f"layer {number}", f"cannot be unpacked: {why}")


_OUTDATED = (
    (r"\bhuggingface-cli\b", "huggingface-cli ends with an error since huggingface_hub 1.0", "write: hf download"),
    (r"huggingface_hub\[cli\]", "huggingface_hub has no extra 'cli' any more", "write: pip install huggingface_hub"),
    (r"\bazureecr\.io\b", "azureecr.io is not a registry of Azure", "write azurecr.io"),
    (r"\bubuntu:16\.04\b", "Ubuntu 16.04 is out of support since 2021", "take a release that is supported"),
    (r"\bpython(?:=|:|-)?3\.[56]\b", "Python 3.5 and 3.6 are out of support", "take a version that is supported"),
    (r"\bPYTHON_VERSION=3\.[56]\b", "Python 3.5 and 3.6 are out of support", "take a version that is supported"),
    (r"\bCONDA_VERSION=4\.", "Miniconda 4 is out of support", "take a version that is supported"),
    (r"app\.run\(.*debug\s*=\s*True", "Flask's debug server is not for production", "start gunicorn or uvicorn"),
    (r"jupyter/scipy-notebook", "that image brings no server, and exposes 8888", "start from a Python image"),
    (r"\buv:latest\b", "uv is not pinned", "name a version and its digest"),
)


@rule(
    "UNI-11",
    "C",
    WARNING,
    "nothing in the Containerfile has stopped working since its guide was published",
    source=SEEDS,
    do="see the advice behind each",
)
def up_to_date(subject: Subject) -> Iterator[Found]:
    """Lines that people copy from the platforms' guides."""
    for one in read(subject.containerfile).instructions:
        text = "\n".join((f"{one.keyword} {one.text}", *one.documents))
        for pattern, what, do in _OUTDATED:
            if re.search(pattern, text):
                yield Found(f"Containerfile:{one.line}", what, do)
