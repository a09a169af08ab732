"""The kind triton: if these fail, a broken model repository is built without a word, or a good one is refused."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit import flow
from buildkit.errors import InvalidInput
from buildkit.events import silent
from buildkit.kinds import kind_named
from buildkit.pin import File
from buildkit.policy import Policy
from buildkit.recipe import Recipe, load
from buildkit.settings import find
from buildkit.triton.config import as_text, of_mapping, parse
from buildkit.triton.judge import Repository, faults
from buildkit.triton.onnx_signature import NotOnnxError, Signature, Tensor, signature
from buildkit.world import World
from recipes.triton.kind import triton
from recipes.triton.repository import DistantFiles
from tests.fakes.hub import Hub
from tests.fakes.registry import Registry
from tests.place import put_base

SAMPLES = Path(__file__).parents[2] / "samples"
ONNX = (SAMPLES / "quickstart/model/1/model.onnx").read_bytes()
CIRCLE = """
backend: "onnxruntime"
max_batch_size: 8
input [ { name: "points" data_type: TYPE_FP32 dims: [ 2 ] } ]
output [ { name: "inside" data_type: TYPE_FP32 dims: [ 1 ] } ]
"""
PYTHON: dict[str, Any] = {
    "backend": "python",
    "input": [{"name": "a", "data_type": "FP32", "dims": [-1]}],
    "output": [{"name": "b", "data_type": "TYPE_FP32", "dims": [-1]}],
}


def repository(folder: Path, files: dict[str, str | bytes], **recipe: Any) -> Path:
    """A recipe beside a model repository of these files."""
    for name, content in files.items():
        path = folder / "models" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    written = {"kind": "triton", "name": "served", "models": "./models", **recipe}
    (folder / "recipe.yaml").write_text(json.dumps(written, indent=1))
    return folder / "recipe.yaml"


def told(folder: Path, files: dict[str, str | bytes], **recipe: Any) -> list[str]:
    """What is wrong with a repository, without where the recipe names it."""
    with pytest.raises(InvalidInput) as raised:
        load(repository(folder, files, **recipe))
    assert all(problem.where.startswith(str(folder / "recipe.yaml")) for problem in raised.value.problems)
    return [problem.what for problem in raised.value.problems]


def test_it_is_a_kind_like_any_other() -> None:
    """The machinery cannot find it."""
    assert kind_named("triton") is triton


def test_three_faults_of_a_repository_are_told_apart_in_one_run(tmp_path: Path) -> None:
    """Who mends one fault must not meet the next one at the next build, and the one after that in production."""
    found = told(
        tmp_path,
        {
            "circle/config.pbtxt": CIRCLE.replace("{ name", "{ name", 1).replace("[ 2 ]", "[ -1, 2 ]"),
            "circle/1/model.onnx": ONNX,
            "named/config.pbtxt": CIRCLE + 'name: "other"\n',
            "named/1/model.onnx": ONNX,
            "flat/model.onnx": ONNX,
            "flat/config.pbtxt": CIRCLE,
        },
    )
    assert found == [
        "models/circle/config.pbtxt: the input 'points' has dims [-1, 2], and [2] in the model, the batch's dimension left out",
        "models/flat: has no version folder: its file lies directly in it",
        "models/named/config.pbtxt: the name is 'other', and the folder is called 'named'",
    ]


SEQUENCE = """
backend: "onnxruntime"
max_batch_size: 8
input { name: "points" data_type: TYPE_FP32 dims: 2 }
output { name: "inside" data_type: TYPE_FP32 dims: 1 }
sequence_batching { control_input { name: "start" control { kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1 ] } } }
"""


def field(number: int, content: bytes) -> bytes:
    """A field with a length below 128, in protobuf's wire format."""
    return bytes([number << 3 | 2, len(content)]) + content


def tensor(name: str, *shape: int) -> bytes:
    """A ValueInfoProto of floats."""
    dimensions = b"".join(field(1, b"\x08" + bytes([size]) if size else b"") for size in shape)
    return field(1, name.encode()) + field(2, field(1, b"\x08\x01" + field(2, dimensions)))


def two_inputs() -> bytes:
    """A model with a second input, and with a weight that it lists as an input as old files do; 0 is a variable size."""
    inputs = field(11, tensor("points", 0, 2)) + field(11, tensor("start", 0, 1)) + field(11, tensor("weight", 2))
    return field(7, field(5, field(8, b"weight")) + inputs + field(12, tensor("inside", 0, 1)))


ENSEMBLE = CIRCLE.replace(
    'backend: "onnxruntime"', 'platform: "ensemble" ensemble_scheduling { step [ { model_name: "n" } ] }'
)
HALF = 'backend: "python" input { name: "a" data_type: TYPE_FP32 dims: 1 }'
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:00\n"


def circle(old: str = "", new: str = "", more: str = "") -> dict[str, str | bytes]:
    """The model with its configuration, in which the first ``old`` is ``new``, and with ``more`` after it."""
    return {"m/config.pbtxt": CIRCLE.replace(old, new, 1) + more, "m/1/model.onnx": ONNX}


FAULTS: dict[str, tuple[dict[str, str | bytes], str]] = {
    "no version": (
        {"m/config.pbtxt": CIRCLE, "m/v1/model.onnx": ONNX},
        "models/m: has no version folder; 'v1' is ignored",
    ),
    "a version that begins with 0": ({"m/config.pbtxt": CIRCLE, "m/01/model.onnx": ONNX}, "'01' is ignored"),
    "no file for the backend": (
        {"m/config.pbtxt": CIRCLE, "m/1/net.onnx": ONNX},
        "models/m/1: has no model.onnx, which the backend 'onnxruntime' loads",
    ),
    "no file in one version of two": (
        {**circle(more="version_policy { all { } }"), "m/2/net.onnx": ONNX},
        "models/m/2: has no model.onnx",
    ),
    "a version that the policy names": (
        circle(more="version_policy { specific { versions: [3] } }"),
        "version_policy names the version '3', which is not there",
    ),
    "no data type": (circle("data_type: TYPE_FP32", ""), "the input 'points' has no data_type"),
    "a data type of torch": (
        circle("TYPE_FP32", "TYPE_FLOAT32"),
        "models/m/config.pbtxt:4: 'TYPE_FLOAT32' is not a value here",
    ),
    "another data type": (
        circle("TYPE_FP32", "TYPE_FP64"),
        "the input 'points' is TYPE_FP64, and TYPE_FP32 in the model",
    ),
    "a dimension of 0": (circle("[ 2 ]", "[ 0 ]"), "the input 'points' has the dimension 0"),
    "no dims": (circle("dims: [ 2 ]", ""), "the input 'points' has no dims"),
    "an input that is not listed": (
        {"m/config.pbtxt": CIRCLE, "m/1/model.onnx": two_inputs()},
        "the model's input 'start' is not listed",
    ),
    "a name that the model has not": (circle('"inside"', '"insid"'), "the model has no output 'insid'"),
    "no batch": (
        {
            "m/config.pbtxt": CIRCLE.replace("max_batch_size: 8", "").replace("[ 1 ]", "[ -1, 1 ]"),
            "m/1/model.onnx": ONNX,
        },
        "the input 'points' has dims [2], and [-1, 2] in the model",
    ),
    "an unknown backend": (circle("onnxruntime", "onnxruntme"), "there is no backend 'onnxruntme'"),
    "an unknown platform": (circle("backend", "platform"), "there is no platform 'onnxruntime'"),
    "a platform of another backend": (
        circle(more='platform: "tensorrt_plan"'),
        "the platform 'tensorrt_plan' does not belong to the backend 'onnxruntime'",
    ),
    "an unknown field": (
        circle(more="max_batchsize: 3"),
        "models/m/config.pbtxt:6: 'max_batchsize' is not a field of ModelConfig",
    ),
    "no text": (
        {"m/config.pbtxt": "input [ { name: ", "m/1/model.onnx": ONNX},
        "models/m/config.pbtxt:1: cannot be read",
    ),
    "a python model without a configuration": (
        {"m/1/model.py": "class TritonPythonModel: ..."},
        "models/m: has no config.pbtxt, and the backend 'python' needs one",
    ),
    "a python model without outputs": (
        {"m/1/model.py": "pass", "m/config.pbtxt": HALF},
        "the backend 'python' needs output",
    ),
    "an ensemble of what is not there": (
        {**circle(), "e/config.pbtxt": ENSEMBLE},
        "models/e/config.pbtxt: the ensemble names the model 'n', which is not there",
    ),
    "a configuration of another name": (
        {"m/1/model.onnx": ONNX, "m/config.pbtx": CIRCLE},
        "models/m/config.pbtx: is not read by this name",
    ),
    "a configuration in the version": (
        {"m/1/model.onnx": ONNX, "m/1/config.pbtxt": CIRCLE},
        "models/m/1/config.pbtxt: lies in the version's folder",
    ),
    "a pointer of git-lfs": ({"m/1/model.onnx": LFS}, "models/m/1/model.onnx: is a pointer of git-lfs"),
    "half a file": ({"m/1/model.onnx": ONNX[:100]}, "models/m/1/model.onnx: is not an ONNX model"),
    "no models": ({"model.onnx": ONNX}, "models: has no models"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_is_told_with_its_file(tmp_path: Path, case: str) -> None:
    """A server would refuse this model, and say so in a log of a machine far away."""
    files, expected = FAULTS[case]
    found = told(tmp_path, files)
    assert len(found) == 1, found
    assert expected in found[0]


GOOD: dict[str, dict[str, str | bytes]] = {
    "the whole": {"m/config.pbtxt": CIRCLE, "m/1/model.onnx": ONNX},
    "without a configuration": {"m/1/model.onnx": ONNX},
    "a backend of one's own": {"m/config.pbtxt": 'backend: "ours"', "m/1/weights": "x"},
    "a backend of a name like another's": {"m/config.pbtxt": 'backend: "tensorrtllm"', "m/1/engine": "x"},
    "a graph of TensorFlow": {"m/1/model.graphdef": "x"},
    "a model that says its own inputs": {"m/1/model.py": "def auto_complete_config(): ..."},
    "only the latest version counts": {"m/config.pbtxt": CIRCLE, "m/1/old.onnx": ONNX, "m/2/model.onnx": ONNX},
    "another file's name": {"m/config.pbtxt": CIRCLE + 'default_model_filename: "net.onnx"', "m/1/net.onnx": ONNX},
    "a folder of ONNX": {"m/config.pbtxt": CIRCLE, "m/1/model.onnx/model.onnx": ONNX, "m/1/model.onnx/weights": "x"},
    "loose files beside the models": {"README.md": "x", ".gitattributes": "x", "m/1/model.onnx": ONNX},
    "a sequence whose control Triton gives": {
        "m/config.pbtxt": SEQUENCE,
        "m/1/model.onnx": two_inputs(),
    },
    "a model in Python that makes its output of nothing": {
        "m/1/model.py": "pass",
        "m/config.pbtxt": 'backend: "python" output { name: "a" data_type: TYPE_FP32 dims: 1 }',
    },
    "named by its platform": circle('backend: "onnxruntime"', 'platform: "onnxruntime_onnx"'),
}


@pytest.mark.parametrize("case", GOOD)
def test_what_triton_serves_is_not_refused(tmp_path: Path, case: str) -> None:
    """A check that refuses what works is switched off, and then tells nothing at all."""
    assert load(repository(tmp_path, GOOD[case])).spec.name == "served"


def test_a_configuration_is_read_once_for_all_that_is_judged() -> None:
    """On a hub every reading is a request."""
    read: list[str] = []

    def opened(file: File) -> bytes:
        read.append(file.path)
        return CIRCLE.encode() if file.path.endswith(".pbtxt") else ONNX

    names = "circle/config.pbtxt", "circle/1/model.onnx"
    files = DistantFiles({name: File(name, 1) for name in names}, opened)
    assert faults(Repository("models", files, {})) == []
    assert sorted(read) == sorted(names)


def test_a_recipe_writes_configurations_and_is_told_what_is_wrong(tmp_path: Path) -> None:
    """A configuration in the recipe is read by Triton's own message, each fault told at its line."""
    wrong = {
        **PYTHON,
        "input": [*PYTHON["input"], {"name": "c", "data_type": "FP33", "dims": [1]}],
        "inptu": [],
        "name": "n",
    }
    path = repository(tmp_path, {"m/1/model.py": ""}, configs={"m": wrong})
    with pytest.raises(InvalidInput) as raised:
        load(path)
    lines = path.read_text().splitlines()
    seen = {
        (lines[int(problem.where.split(":")[1]) - 1].strip().rstrip(","), problem.what)
        for problem in raised.value.problems
    }
    assert seen == {
        ("{", "'FP33' is not a value here"),
        ('"inptu": []', "'inptu' is not a field of ModelConfig"),
        ('"name": "n"', "must be 'm', as the model is called"),
    }


def test_a_configuration_is_written_once(tmp_path: Path) -> None:
    """Of two configurations for one model, nobody would know which is served; one for no model is served by none."""
    files: dict[str, str | bytes] = {"m/1/model.py": "", "m/config.pbtxt": 'backend: "python"'}
    found = told(tmp_path, files, configs={"m": PYTHON, "nobody": PYTHON})
    assert any("m/config.pbtxt: is there, and the recipe writes one" in what for what in found)
    assert any("configs.nobody: there is no such model" in what for what in found)


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ({"models": None}, "names no model repository"),
        ({"python_packages": ["numpy"]}, "is not a package in one version"),
        ({"python_packages": ["--index-url=x==1"]}, "is not a package in one version"),
        ({"user": "triton"}, "is not a numeric user"),
        ({"arguments": ["--model-repository=/x"]}, "is decided by 'variant' and 'baked'"),
        ({"models": ["https://example.org/a"]}, "is one URL"),
    ],
)
def test_what_a_recipe_may_not_say(tmp_path: Path, recipe: dict[str, Any], expected: str) -> None:
    """Each would only fail where the image runs, or make it another one at every build."""
    found = told(tmp_path, {"m/1/model.onnx": ONNX}, **recipe)
    assert len(found) == 1 and expected in found[0], found


@pytest.fixture
def project(tmp_path: Path) -> Any:
    """The sample beside a registry with a base, and a hub."""
    with Registry() as registry, Hub() as hub:
        put_base(registry, "nvidia/tritonserver")
        shutil.copytree(SAMPLES / "triton", tmp_path / "triton", ignore=shutil.ignore_patterns("*.lock"))
        settings = {"mirrors": {"nvcr.io": registry.address}, "hub": {"endpoint": hub.endpoint}}
        (tmp_path / "triton/modelpack.yaml").write_text(json.dumps(settings))
        yield tmp_path / "triton", hub


def written(folder: Path, **changes: Any) -> Recipe:
    recipe = {"kind": "triton", "name": "served", "base": "nvcr.io/nvidia/tritonserver:latest", **changes}
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    return load(folder)


def world(folder: Path) -> World:
    return World(find(folder), silent, sleep=lambda seconds: None)


SAMPLE: dict[str, Any] = {
    "models": "./models",
    "configs": {"verdict": {**PYTHON, "input": [{"name": "probability", "data_type": "FP32", "dims": [1]}]}},
}


def test_every_model_has_a_layer_and_an_ensemble_a_version(project: tuple[Path, Hub]) -> None:
    """A model that changes must not move the others; an ensemble without a version's folder is not served."""
    folder, _ = project
    made = flow.make(written(folder, **SAMPLE), world(folder), flow.Wanted("embedded"))
    assert [layer.title for layer in made.plan.layers] == ["model circle", "model verdict", "model where"]
    names = [[entry.name for entry in layer.entries] for layer in made.plan.layers]
    assert names[0] == [
        "models",
        "models/circle",
        "models/circle/1",
        "models/circle/1/model.onnx",
        "models/circle/config.pbtxt",
    ]
    assert "models/verdict/config.pbtxt" in names[1]
    assert names[2] == ["models", "models/where", "models/where/1", "models/where/config.pbtxt"]
    assert made.plan.process["Cmd"] == ["tritonserver", "--model-repository=/models"]
    (folder / "models/circle/config.pbtxt").write_text(CIRCLE)
    again = flow.make(written(folder, **SAMPLE), world(folder), flow.Wanted("embedded")).plan.layers
    assert [one.key == other.key for one, other in zip(made.plan.layers, again, strict=True)] == [False, True, True]


def test_a_repository_on_a_hub_is_judged_before_it_is_built(project: tuple[Path, Hub]) -> None:
    """Its small files alone are read for that, and a large model is not downloaded to be refused."""
    folder, hub = project
    files = {
        "README.md": b"#",
        "net/config.pbtxt": CIRCLE.replace("TYPE_FP32", "TYPE_INT8", 1).encode(),
        "net/1/model.onnx": ONNX,
        "large/1/model.plan": b"0" * 2_000_000,
        "other/config.pbtxt": b'name: "another"',
        "other/1/model.onnx": ONNX,
    }
    hub.add("org/nets", files)
    with pytest.raises(InvalidInput) as raised:
        flow.build(written(folder, models="hf://org/nets"), world(folder), flow.Wanted("embedded"))
    assert [str(problem) for problem in raised.value.problems] == [
        "org/nets/net/config.pbtxt: the input 'points' is TYPE_INT8, and TYPE_FP32 in the model",
        "org/nets/other/config.pbtxt: the name is 'another', and the folder is called 'other'",
    ]
    assert not [request for request in hub.requests if "model.plan" in request.path]
    assert not (folder / "recipe.lock").exists()


def test_a_folder_and_a_hub_make_one_repository(project: tuple[Path, Hub]) -> None:
    """Models of one's own beside those of others are served together; the same name twice is no accident of order."""
    folder, hub = project
    hub.add("org/nets", {"net/1/model.onnx": ONNX, "README.md": b"#"})
    both = {**SAMPLE, "models": ["./models", "hf://org/nets@main"]}
    plan = flow.make(written(folder, **both), world(folder), flow.Wanted("embedded")).plan
    assert [layer.title for layer in plan.layers][-1] == "model net"
    hub.add("org/nets", {"net/1/model.onnx": ONNX, "circle/1/model.onnx": ONNX})
    with pytest.raises(InvalidInput, match="the model 'circle' is in models too"):
        flow.lock(written(folder, **both), world(folder), Policy.UPGRADE)


@pytest.mark.parametrize(
    ("variant", "repository_path", "ports"),
    [
        ("oci-data-science", "/opt/ds/model/deployed_model/model_repository", {"8000/tcp", "8001/tcp", "8002/tcp"}),
        ("kserve", "/mnt/models", {"8080/tcp", "9000/tcp", "8002/tcp"}),
    ],
)
def test_a_platform_mounts_the_repository(
    project: tuple[Path, Hub], variant: str, repository_path: str, ports: set[str]
) -> None:
    """The command must name what the platform mounts; models that are in the image all the same lie elsewhere."""
    folder, _ = project
    mounted = flow.make(written(folder, variant=variant), world(folder), flow.Wanted("embedded")).plan
    assert f"--model-repository={repository_path}" in mounted.process["Cmd"]
    assert set(mounted.process["ExposedPorts"]) == ports and not mounted.layers
    baked = flow.make(
        written(folder, variant=variant, baked=True, **SAMPLE), world(folder), flow.Wanted("embedded")
    ).plan
    assert "--model-repository=/models" in baked.process["Cmd"] and len(baked.layers) == 3


def test_the_containerfile_says_what_the_plan_says(project: tuple[Path, Hub]) -> None:
    """Who builds by hand gets the same image; packages are installed in a stage, and only what they are is copied."""
    folder, _ = project
    plan = flow.render(written(folder, **SAMPLE, python_packages=["tabulate==0.9.0"], env={"A": "$b"}), world(folder))
    lines = plan.containerfile.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("FROM")] == ["FROM", "FROM"]
    assert all("@sha256:" in line for line in lines if line.startswith("FROM"))
    final = plan.containerfile.rpartition("FROM ")[2].splitlines()
    assert "COPY --from=python --chown=0:0 /out/ /" in final and not [line for line in final if line.startswith("RUN")]
    assert 'ENV A="\\$b"' in final and "EXPOSE 8000 8001 8002" in final and "USER 1000" in final
    assert final[-1] == 'CMD ["tritonserver", "--model-repository=/models"]'
    assert [line for line in final if line.startswith("ADD")] == [f"ADD model-{number}.tar /" for number in (1, 2, 3)]


def test_a_model_whose_backend_is_not_kept_is_refused(tmp_path: Path) -> None:
    """The image would be small, and the model not there."""
    found = told(tmp_path, {"m/1/model.onnx": ONNX}, backends=["python"])
    assert found == ["models/m: needs the backend 'onnxruntime', which 'backends' does not keep"]


def test_only_what_is_kept_of_the_base_is_copied(project: tuple[Path, Hub]) -> None:
    """A layer above the base would hide its backends, and not make the image smaller."""
    folder, _ = project
    plan = flow.render(written(folder, **SAMPLE, backends=["python", "onnxruntime"]), world(folder))
    assert 'case "$folder" in python|onnxruntime) ;; *) rm -rf' in plan.containerfile
    final = plan.containerfile.rpartition("FROM ")[2].splitlines()
    assert final[:2] == ["scratch", "COPY --from=kept / /"] and plan.flat


def test_init_writes_a_project_that_passes_its_checks(tmp_path: Path) -> None:
    """The first thing that somebody tries must not be refused."""
    for name, text in triton.starter("mine").items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert load(tmp_path).spec.name == "mine"


def test_the_signature_of_an_onnx_file() -> None:
    """A wrong shape here would refuse right configurations."""
    assert signature(io.BytesIO(ONNX)) == Signature(
        (Tensor("points", "TYPE_FP32", (-1, 2)),), (Tensor("inside", "TYPE_FP32", (-1, 1)),)
    )


@given(st.binary(max_size=300), st.integers(0, len(ONNX)))
def test_no_bytes_break_the_reader(noise: bytes, cut: int) -> None:
    """A damaged file must be named, and not end the command with a traceback."""
    for content in (noise, ONNX[:cut] + noise, ONNX[cut:]):
        try:
            signature(io.BytesIO(content))
        except NotOnnxError as error:
            assert str(error).startswith("is ")


@given(st.text(max_size=200))
def test_no_text_breaks_the_parser(text: str) -> None:
    """Whatever stands in a config.pbtxt, it is explained by its line."""
    found = parse(text, "m/config.pbtxt")
    assert found.message is not None or found.problems
    assert all(problem.where.startswith("m/config.pbtxt:") for problem in found.problems)


@pytest.mark.parametrize("text", ["x {" * 3000, "parameters { value { " * 3000])
def test_a_configuration_that_is_nested_without_end_is_a_fault_of_the_file(text: str) -> None:
    """It may come from anybody's image, and must not look like a fault of modelpack."""
    found = parse(text, "m/config.pbtxt")
    assert found.message is None
    assert (found.problems[-1].where, found.problems[-1].what) == (
        "m/config.pbtxt",
        "cannot be read: it is nested without end",
    )


@given(
    st.fixed_dictionaries(
        {
            "backend": st.sampled_from(["python", "onnxruntime"]),
            "max_batch_size": st.integers(0, 2**31 - 1),
            "input": st.lists(
                st.fixed_dictionaries(
                    {
                        "name": st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
                        "data_type": st.sampled_from(["FP32", "TYPE_INT64", "STRING"]),
                        "dims": st.lists(st.integers(-1, 2**40), min_size=1, max_size=4),
                    }
                ),
                max_size=3,
            ),
        }
    )
)
def test_what_a_recipe_writes_is_read_back(mapping: dict[str, Any]) -> None:
    """The config.pbtxt in the image must say what the recipe says."""
    message, refusals = of_mapping("m", mapping)
    assert not refusals
    again = parse(as_text(message), "m")
    assert again.message == message and not again.problems
    assert [list(one.dims) for one in again.message.input] == [one["dims"] for one in mapping["input"]]
