"""The layouts of a model that its server wants: OpenVINO Model Server, vLLM, Triton."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import BinaryIO

from buildkit.checks.rule import ERROR, WARNING, Found, NotKnown, rule
from buildkit.checks.subject import Subject
from buildkit.errors import Problem
from buildkit.oci.files import Files, Member
from buildkit.oci.parsing import parse
from buildkit.target_settings import KServe
from buildkit.targets.reading import shown_few
from buildkit.targets.serving import OPENVINO, TOKENIZERS, nested_in, server_of
from buildkit.targets.sources import KSERVE_RUNTIMES, ODH, OVMS, TRITON, VLLM
from buildkit.triton.config import FILE
from buildkit.triton.judge import Repository, misconfigured, misplaced

_BESIDE = {".xml": ".bin", ".pdmodel": ".pdiparams"}
"""What OpenVINO reads beside a model's file."""


def root_of(subject: Subject) -> str:
    """The folder of the image that holds the model repository."""
    return "models" if subject.settings.platform in ("kserve", "kubernetes") else _repository(subject)


def _repository(subject: Subject) -> str:
    for folder in ("models", "model_repository", "opt/tritonserver/models", "opt/model_repository"):
        if subject.files_under(folder).find(folder):
            return folder
    raise NotKnown("a model repository in the image")


def _server(subject: Subject) -> str | None:
    """What serves the model: what the recipe says, else what the layout resembles, else None."""
    said = subject.settings
    if isinstance(said, KServe) and said.server:
        return said.server
    if said.platform == "kubernetes":
        return None
    if subject.mode == "triton":
        return "triton"
    root = root_of(subject)
    return server_of(_Below(subject.files_under(root), root).paths)


def _unless_guessed(subject: Subject, breaches: Iterator[Found]) -> Iterator[Found]:
    """What a layout lacks for its server. A server that a recipe does not name is a guess, and stops no build."""
    said = subject.settings
    named = (isinstance(said, KServe) and said.server) or subject.mode == "triton"
    guessed = not named and (subject.given.image is None or subject.given.recipe is not None)
    for found in breaches:
        if guessed and found.severity is None:
            hint = (
                "say what serves it as 'server' of the recipe's target: then this is judged in earnest, or not at all"
            )
            yield replace(found, what=f"{found.what}, if {_server(subject)} serves it", do=hint, severity=WARNING)
        else:
            yield found


@dataclass(frozen=True)
class _Below:
    """What lies below a folder of an image, by the paths in it."""

    files: Files
    root: str

    @cached_property
    def paths(self) -> Collection[str]:
        """Every path; that of an empty folder ends with '/'."""
        below = [(one.path.removeprefix(f"{self.root}/"), one) for one in self.files.under(self.root)]
        filled = {path.rpartition("/")[0] for path, _ in below}
        return [
            f"{path}/" if _is_folder(one) else path for path, one in below if not _is_folder(one) or path not in filled
        ]

    def open(self, path: str) -> BinaryIO | None:
        """A configuration or program; None for weights, which the kind of the recipe reads where they are pinned."""
        if not path.endswith((FILE, ".py")):
            return None
        member = self.files.find(f"{self.root}/{path}")
        content = self.files.content(self.files.real(member)) if member else None
        if content is None and path.endswith(FILE):
            raise NotKnown(f"the content of /{self.root}/{path}")
        return None if content is None else io.BytesIO(content)


def _is_folder(member: Member) -> bool:
    return member.type == "directory"


@rule(
    "KS-12",
    "F",
    ERROR,
    "OpenVINO: /models/<version>/ holds .onnx, .xml with .bin, .pdmodel with .pdiparams, .tflite or a saved model",
    source=f"{ODH}; {OVMS}",
    do="put the model's files into a folder whose name is a positive number: /models/1/model.onnx",
)
def openvino(subject: Subject) -> Iterator[Found]:
    """Every folder with a number must hold a model, and at least one must be there."""
    if _server(subject) == "openvino":
        yield from _unless_guessed(subject, _openvino(subject.all_under("models")))


def _openvino(files: Files) -> Iterator[Found]:
    versions = {name: member for name, member in files.inside("models").items() if name.isdigit()}
    if not any(int(name) > 0 and _is_folder(member) for name, member in versions.items()):
        here = [f"/models/{name}" for name in files.inside("models") if name.endswith(OPENVINO)]
        yield Found(
            "/models", f"has no folder with a version{', the model lies beside it: ' + here[0] if here else ''}"
        )
    for name, member in sorted(versions.items()):
        if not _is_folder(member) or int(name) < 1:
            yield Found(f"/models/{name}", "is no folder of a version" if int(name) else "0 is no version")
            continue
        yield from _openvino_version(files, f"models/{name}")


def _openvino_version(files: Files, folder: str) -> Iterator[Found]:
    names = set(files.inside(folder))
    models = [name for name in sorted(names) if name.endswith(OPENVINO)]
    if not models and "saved_model" not in names:
        yield Found(f"/{folder}", f"holds no model, but {shown_few(sorted(names)) or 'nothing'}")
    for name in models:
        stem, dot, ending = name.rpartition(".")
        beside = _BESIDE.get(dot + ending)
        if beside and stem + beside not in names:
            yield Found(f"/{folder}/{name}", f"lacks {stem}{beside} beside it")


@rule(
    "KS-13",
    "F",
    ERROR,
    "vLLM: config.json, a tokenizer and all shards of the index lie directly in /models",
    source=f"{ODH}; {KSERVE_RUNTIMES}",
    do="take the whole repository of the model, and exclude no file of it that the index names",
)
def vllm(subject: Subject) -> Iterator[Found]:
    """The shards of an index are looked for whatever serves the model: without one of them nothing can."""
    root = root_of(subject)
    files = subject.all_under(root)
    for member in list(files.under(root)):
        if member.path.endswith(".safetensors.index.json"):
            yield from _shards(files, member)
    if _server(subject) == "vllm":
        yield from _unless_guessed(subject, _vllm(files, root))


def _vllm(files: Files, root: str) -> Iterator[Found]:
    inside = files.inside(root)
    if nested := nested_in(_Below(files, root).paths):
        yield Found(f"/{root}", f"has the model in a folder of its own, /{root}/{nested}")
        return
    if "config.json" not in inside:
        yield Found(f"/{root}", "has no config.json")
    if not any(name in inside for name in TOKENIZERS):
        yield Found(f"/{root}", f"has no tokenizer ({', '.join(TOKENIZERS[:3])})")
    if not any(name.endswith((".safetensors", ".bin", ".pt", ".gguf")) for name in inside):
        yield Found(f"/{root}", "has no weights (*.safetensors)")


def _shards(files: Files, index: Member) -> Iterator[Found]:
    content = files.content(files.real(index))
    if content is None:
        raise NotKnown(f"the content of /{index.path}")
    folder = index.path.rpartition("/")[0]
    try:
        shards = sorted({str(shard) for shard in parse(content)["weight_map"].values()})
    except (ValueError, KeyError, TypeError, AttributeError):
        yield Found(f"/{index.path}", "is not the index of a model: it has no weight_map")
        return
    missing = [shard for shard in shards if files.find(f"{folder}/{shard}") is None]
    if missing:
        yield Found(
            f"/{index.path}", f"names {len(missing)} of {len(shards)} shards that are not there: {shown_few(missing)}"
        )
    empty = [shard for shard in shards if (one := files.find(f"{folder}/{shard}")) and not files.real(one).size]
    if empty:
        yield Found(f"/{index.path}", f"names shards that are empty: {shown_few(empty)}")


@rule(
    "VL-02",
    "F",
    WARNING,
    "vLLM: the weights are safetensors, which are loaded without running code",
    source=VLLM,
    do="take the model's *.safetensors",
)
def safe_weights(subject: Subject) -> Iterator[Found]:
    """Pickled weights beside safetensors are only in the way; alone they run code."""
    if _server(subject) != "vllm":
        return
    inside = subject.files_under(root_of(subject)).inside(root_of(subject))
    pickled = [name for name in inside if name.endswith((".bin", ".pt", ".pth")) and "training_args" not in name]
    if pickled:
        yield Found(f"/{root_of(subject)}", f"has pickled weights: {shown_few(pickled)}")


@rule(
    "KS-14",
    "F",
    ERROR,
    "Triton: /models/<model>/<version>/<model file>, at least one version for every model",
    source=KSERVE_RUNTIMES,
    do="lay the repository out as /models/NAME/1/model.onnx, with NAME/config.pbtxt beside the version",
)
def triton_on_kserve(subject: Subject) -> Iterator[Found]:
    """The same as TR-01, under the name that KServe's runtime gives it."""
    if _server(subject) == "triton" and subject.settings.platform in ("kserve", "kubernetes"):
        # The first alone: TR-01 tells them all.
        yield from islice(_unless_guessed(subject, _told(misplaced(_laid(subject)))), 1)


@rule(
    "TR-01",
    "F",
    ERROR,
    "Triton: <repository>/<model>/<version>/<model file>; a version is a number that does not begin with 0",
    source=TRITON,
    do="lay the repository out as NAME/1/model.onnx",
)
def triton_repository(subject: Subject) -> Iterator[Found]:
    """Every folder of the repository is a model."""
    if _server(subject) == "triton":
        yield from _unless_guessed(subject, _told(misplaced(_laid(subject))))


@rule(
    "TR-02",
    "F",
    ERROR,
    "Triton: every config.pbtxt is right and has its folder's name; the backend and what it needs are there or in the model",
    source=TRITON,
    do="write name, backend, max_batch_size, input and output into config.pbtxt",
)
def triton_configs(subject: Subject) -> Iterator[Found]:
    """Optional where Triton completes it by itself: ONNX, TensorRT, TensorFlow, OpenVINO, Python that says so."""
    if _server(subject) == "triton":
        yield from _unless_guessed(subject, _told(misconfigured(_laid(subject))))


def _laid(subject: Subject) -> Repository:
    root = root_of(subject)
    return Repository(root, _Below(subject.all_under(root), root), {}, laid=True)


def _told(problems: Iterable[Problem]) -> Iterator[Found]:
    yield from (Found(f"/{problem.where}", problem.what, problem.hint) for problem in problems)
