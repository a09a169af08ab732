"""The layouts of a model that its server wants: OpenVINO Model Server, vLLM, Triton."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from buildkit.checks.rule import ERROR, WARNING, Found, NotKnown, rule
from buildkit.checks.subject import Subject
from buildkit.oci.files import Files, Member
from buildkit.oci.parsing import parse
from buildkit.target_settings import KServe
from buildkit.targets.reading import shown_few
from buildkit.targets.sources import KSERVE_RUNTIMES, ODH, OVMS, TRITON, VLLM

INDEX = "model.safetensors.index.json"
_OPENVINO = (".onnx", ".xml", ".pdmodel", ".tflite", ".pb")
_BESIDE = {".xml": ".bin", ".pdmodel": ".pdiparams"}
"""What OpenVINO reads beside a model's file."""
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "tekken.json", "vocab.txt")
_TRITON_FILES = re.compile(
    r"model\.(?:onnx|plan|pt|savedmodel|py|xml|graphdef|json|dali|bin|pt2|txt|treelite)|[\w-]+\.json"
)
_NEEDS_CONFIG = (".py",)


def root_of(subject: Subject) -> str:
    """The folder of the image that holds the model repository."""
    return "models" if subject.settings.platform in ("kserve", "kubernetes") else _repository(subject)


def _repository(subject: Subject) -> str:
    for folder in ("models", "model_repository", "opt/tritonserver/models", "opt/model_repository"):
        if subject.files_under(folder).find(folder):
            return folder
    raise NotKnown("a model repository in the image")


def server_of(subject: Subject) -> str | None:
    """What serves the model: what the recipe says, else what the layout resembles, else None."""
    said = subject.settings
    if isinstance(said, KServe) and said.server:
        return said.server
    if said.platform == "kubernetes":
        return None
    if subject.mode == "triton":
        return "triton"
    root = root_of(subject)
    return resembles(subject.files_under(root), root)


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
            yield replace(found, what=f"{found.what}, if {server_of(subject)} serves it", do=hint, severity=WARNING)
        else:
            yield found


def resembles(files: Files, root: str) -> str | None:
    """The server that a layout was probably made for; None for one without a file."""
    inside = files.inside(root)
    below = list(files.under(root))
    paths = [member.path.removeprefix(f"{root}/") for member in below]
    if all(member.type == "directory" for member in below):
        return None
    if any(re.search(r"(?:^|/)config\.pbtxt$", path) for path in paths):
        return "triton"
    if any(name.endswith(".safetensors") or name == INDEX for name in inside):
        return "vllm"
    if any(re.fullmatch(r"[^/]+/\d+/model\.\w+", path) and not path.split("/")[0].isdigit() for path in paths):
        return "triton"
    if any(name.isdigit() for name in inside) or any(path.endswith(_OPENVINO) for path in paths if "/" not in path):
        return "openvino"
    if "config.json" in inside and any(name in inside for name in _TOKENIZERS):
        return "vllm"
    return "vllm" if _nested(files, root) else None


def _nested(files: Files, root: str) -> str:
    """The one folder in which a language model lies that should lie directly in the root; "" where there is none."""
    inside = files.inside(root)
    name, member = next(iter(inside.items())) if len(inside) == 1 else ("", None)
    if member is None or not _is_folder(member):
        return ""
    within = files.inside(f"{root}/{name}")
    weights = any(one.endswith(".safetensors") for one in within)
    return name if weights and "config.json" in within and any(one in within for one in _TOKENIZERS) else ""


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
    if server_of(subject) == "openvino":
        yield from _unless_guessed(subject, _openvino(subject.all_under("models")))


def _openvino(files: Files) -> Iterator[Found]:
    versions = {name: member for name, member in files.inside("models").items() if name.isdigit()}
    if not any(int(name) > 0 and _is_folder(member) for name, member in versions.items()):
        here = [f"/models/{name}" for name in files.inside("models") if name.endswith(_OPENVINO)]
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
    models = [name for name in sorted(names) if name.endswith(_OPENVINO)]
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
    if server_of(subject) == "vllm":
        yield from _unless_guessed(subject, _vllm(files, root))


def _vllm(files: Files, root: str) -> Iterator[Found]:
    inside = files.inside(root)
    if nested := _nested(files, root):
        yield Found(f"/{root}", f"has the model in a folder of its own, /{root}/{nested}")
        return
    if "config.json" not in inside:
        yield Found(f"/{root}", "has no config.json")
    if not any(name in inside for name in _TOKENIZERS):
        yield Found(f"/{root}", f"has no tokenizer ({', '.join(_TOKENIZERS[:3])})")
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
    if server_of(subject) != "vllm":
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
    if server_of(subject) == "triton" and subject.settings.platform in ("kserve", "kubernetes"):
        # The first alone: TR-01 tells them all.
        breaches = _repository_breaches(subject.all_under(root_of(subject)), root_of(subject))
        yield from islice(_unless_guessed(subject, breaches), 1)


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
    if server_of(subject) == "triton":
        root = root_of(subject)
        yield from _unless_guessed(subject, _repository_breaches(subject.all_under(root), root))


def _repository_breaches(files: Files, root: str) -> Iterator[Found]:
    models = {name: member for name, member in files.inside(root).items() if _is_folder(member)}
    if not models:
        yield Found(f"/{root}", "has no folder of a model")
    for name in sorted(models):
        inside = files.inside(f"{root}/{name}")
        versions = [one for one in inside if re.fullmatch(r"[1-9]\d*", one) and _is_folder(inside[one])]
        if not versions:
            yield Found(f"/{root}/{name}", f"has no version, but {shown_few(sorted(inside)) or 'nothing'}")
        for version in versions:
            yield from _version_breaches(files, f"{root}/{name}", version)


def _version_breaches(files: Files, model: str, version: str) -> Iterator[Found]:
    config = config_text(files, model)
    chosen = re.search(r'default_model_filename\s*:\s*"([^"]+)"', config or "")
    inside = files.inside(f"{model}/{version}")
    if re.search(r'platform\s*:\s*"ensemble"', config or "") or re.search(r'backend\s*:\s*"vllm"', config or ""):
        return
    fits = chosen[1] in inside if chosen else any(_TRITON_FILES.fullmatch(name) for name in inside)
    if not fits:
        wanted = chosen[1] if chosen else "model.onnx, model.plan, model.pt, model.py, ..."
        yield Found(f"/{model}/{version}", f"has no {wanted}, but {shown_few(sorted(inside)) or 'nothing'}")


def config_text(files: Files, model: str) -> str | None:
    """What a model's config.pbtxt says; None where it has none or it was not read."""
    member = files.find(f"{model}/config.pbtxt")
    content = files.content(files.real(member)) if member else None
    return None if content is None else re.sub(r"#.*", "", content.decode("utf-8", "replace"))


@rule(
    "TR-02",
    "F",
    ERROR,
    "Triton: config.pbtxt names its platform or backend and the folder's own name; Python models must have one",
    source=TRITON,
    do="write name, backend, max_batch_size, input and output into config.pbtxt",
)
def triton_configs(subject: Subject) -> Iterator[Found]:
    """Optional where Triton completes it by itself: ONNX, TensorRT, TensorFlow, OpenVINO."""
    if server_of(subject) == "triton":
        root = root_of(subject)
        yield from _unless_guessed(subject, _configs(subject.all_under(root), root))


def _configs(files: Files, root: str) -> Iterator[Found]:
    for name, member in sorted(files.inside(root).items()):
        if not _is_folder(member):
            continue
        text = config_text(files, f"{root}/{name}")
        paths = [one.path for one in files.under(f"{root}/{name}")]
        if text is None and files.find(f"{root}/{name}/config.pbtxt") is None:
            if any(path.endswith("/model.py") for path in paths):
                yield Found(f"/{root}/{name}", "is a Python model without config.pbtxt")
        elif text is None:
            raise NotKnown(f"the content of /{root}/{name}/config.pbtxt")
        else:
            yield from _config_breaches(f"/{root}/{name}/config.pbtxt", text, name)


def _config_breaches(where: str, text: str, folder: str) -> Iterator[Found]:
    top = re.sub(r"[{\[][^{}\[\]]*[}\]]", "", re.sub(r"\{[^{}]*\}", "", text))
    named = re.search(r'(?m)^\s*name\s*:\s*"([^"]*)"', top)
    if named and named[1] != folder:
        yield Found(where, f"calls the model {named[1]!r}, and its folder is {folder!r}")
    if not re.search(r"(?m)^\s*(?:platform|backend)\s*:", top):
        yield Found(where, "names neither platform nor backend")
    if text.count("{") != text.count("}") or text.count("[") != text.count("]"):
        yield Found(where, "has brackets that do not close")
    unknown = [one for one in re.findall(r"data_type\s*:\s*(\w+)", text) if one not in _DATA_TYPES]
    if unknown:
        yield Found(where, f"{shown_few(unknown)} is no data type of Triton", "TYPE_FP32, TYPE_INT64, TYPE_STRING, ...")


_DATA_TYPES = {
    f"TYPE_{name}"
    for name in (
        "BOOL",
        "STRING",
        "BF16",
        *(f"{sort}{bits}" for sort in ("UINT", "INT", "FP") for bits in (8, 16, 32, 64)),
    )
    if name != "FP8"
}
