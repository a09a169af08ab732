"""What ``modelpack deploy`` writes, and the rules that judge what others wrote."""

from __future__ import annotations

import contextlib
import copy
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from buildkit import flow
from buildkit.artefact import write_artifact
from buildkit.checks.rule import Judged, Severity
from buildkit.deploying import Wish, deploy
from buildkit.errors import CheckFailed, InvalidInput
from buildkit.judging.deployments import check_deployment
from buildkit.judging.recipes import check_recipe
from buildkit.policy import Policy
from buildkit.reading.plain import hidden
from buildkit.target_settings import SETTINGS, settings_of
from buildkit.targets import TARGETS
from tests.place import Place, place
from tests.targets.orders import DIGEST, LLM, deployed, document

__all__ = ["place"]
OCIR, QUAY = "iad.ocir.io/tenancy/granite:v1", "quay.io/org/granite:v1"
PLACES = {
    "oci-data-science": OCIR,
    "oci-genai": OCIR,
    "modelarts": "swr.eu-de.otc.t-systems.com/org/granite:v1",
    "azureml": "team.azurecr.io/granite:v1",
    "sagemaker": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/granite:v1",
    "vertex": "europe-west4-docker.pkg.dev/p/r/granite:v1",
}


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_written_breaks_none_of_its_own_rules(target: str) -> None:
    """A tool that warns of what it wrote itself is not believed."""
    pieces = deployed(target, PLACES.get(TARGETS[target].platform, QUAY))
    judged = [piece for piece in pieces.values() if piece.judged]
    assert judged
    for piece in judged:
        found = check_deployment(document(piece), settings_of(target), None)
        assert [one for one in found.findings if one.severity is not Severity.NOTE] == []
    assert any(DIGEST in piece.render() or DIGEST in " ".join(piece.notes) for piece in pieces.values())


def put(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: Any) -> None:
        *above, last = path.split(".")
        for key in above:
            content = content[int(key)] if isinstance(content, list) else content[key]
        if value is ...:
            del content[last]
        else:
            content[last] = value

    return change


ENVIRONMENT = "modelDeploymentConfigurationDetails.environmentConfigurationDetails"
MODEL = "spec.predictor.model"
BROKEN = [
    ("KS-16", "kserve", put(f"{MODEL}.runtime", ...), {"distribution": "odh"}),
    ("KS-17", "kserve", put(f"{MODEL}.storageUri", "s3://bucket/model"), {}),
    ("KS-17", "kserve", put("spec.predictor.imagePullSecrets", [{}]), {}),
    ("KV-01", "kubernetes", put("spec.volumes.0.image.reference", ""), {}),
    ("KV-01", "kubernetes", put("spec.volumes", [{"name": "model", "emptyDir": {}}]), {}),
    ("ODS-03", "oci-data-science", put(f"{ENVIRONMENT}.serverPort", 80), {}),
    ("ODS-03", "oci-data-science", put(f"{ENVIRONMENT}.healthCheckPort", 8446), {}),
    ("ODS-17", "oci-data-science", put(f"{ENVIRONMENT}.environmentVariables", {"BAD_": "x"}), {}),
    ("ODS-18", "oci-data-science", put(f"{ENVIRONMENT}.environmentVariables", {"LONG": "x" * 2048}), {}),
    ("ODS-19", "oci-data-science", put(f"{ENVIRONMENT}.environmentVariables", {"TENANCY_OCID": "x"}), {}),
    ("ODS-21", "oci-data-science", put(f"{ENVIRONMENT}.cmd", []), {}),
    ("ODS-21", "oci-data-science", put("displayName", ""), {}),
    ("MA-07", "modelarts", put("health", ...), {}),
    ("MA-07", "modelarts", put("health.timeout_seconds", 3), {}),
    ("MA-14", "modelarts", put("model_algorithm", "1-model"), {}),
    ("MA-14", "modelarts", put("model_algorithm", "a" * 37), {}),
    ("MA-15", "modelarts", put("runtime", "python3.7"), {}),
    ("MA-16", "modelarts", put("swr_location", "swr.eu-de.otc.t-systems.com/org/i:1"), {}),
    ("MA-17", "modelarts:batch", put("apis.0.request", {}), {}),
    ("AZ1-04", "azureml:v1", put("imageName", "x"), {}),
    ("AZ2-01", "azureml", put("environment.inference_config.scoring_route", ...), {}),
    ("AZ2-01", "azureml", put("environment.inference_config.liveness_route.port", "8080"), {}),
]


@pytest.mark.parametrize(
    ("id", "target", "change", "said"), BROKEN, ids=[f"{one[0]}-{n}" for n, one in enumerate(BROKEN)]
)
def test_a_broken_manifest_is_found_by_the_rule(
    id: str, target: str, change: Callable[[dict[str, Any]], None], said: dict[str, Any]
) -> None:
    """What a person wrote by hand is judged by the same rules: modelpack check --deployment."""
    pieces = deployed(target, PLACES.get(target.partition(":")[0], QUAY), **said)
    content = copy.deepcopy(document(next(piece for piece in pieces.values() if piece.judged)))
    change(content)
    settings = SETTINGS[target.partition(":")[0]].model_validate({"name": target, **said})
    found = check_deployment(content, settings, None)
    assert id in {one.rule.id for one in found.findings if one.severity is Severity.ERROR}


NOT_OF_ITS_SORT = [
    ("modelarts", {"apis": {"url": "/"}}, "apis"),
    ("kserve", {"spec": "x"}, "spec"),
    ("kserve", {"spec": {"predictor": {"model": "x"}}}, "spec.predictor.model"),
    ("kserve", {"spec": {"predictor": {"imagePullSecrets": 5}}}, "spec.predictor.imagePullSecrets"),
    ("kubernetes", {"spec": {"volumes": ["x"], "containers": ["y"]}}, "spec.volumes[0]"),
    ("kubernetes", {"kind": "Job", "spec": {"template": []}}, "spec.template"),
    ("oci-data-science", {"modelDeploymentConfigurationDetails": 1}, "modelDeploymentConfigurationDetails"),
    ("azureml", {"inference_config": "x"}, "inference_config"),
]


@pytest.mark.parametrize(("target", "content", "place"), NOT_OF_ITS_SORT)
def test_a_value_of_another_sort_is_told_with_its_place(target: str, content: dict[str, Any], place: str) -> None:
    """Whoever forgot two spaces in a manifest reads of a fault of this tool, and not of the line."""
    with pytest.raises(InvalidInput) as refused:
        check_deployment(content, settings_of(target), None)
    (problem,) = refused.value.problems
    assert problem.where == place
    assert problem.what.startswith("must be a ")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def paths(content: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The steps to every value of a document."""
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [*([above] if above else []), *(path for key, value in inner for path in paths(value, (*above, key)))]


@pytest.mark.parametrize("target", TARGETS)
@given(st.data())
def test_whatever_is_written_is_judged_or_refused_in_words(target: str, data: st.DataObject) -> None:
    """A slip in a manifest that ends in a traceback helps nobody to find it."""
    platform, content = TARGETS[target].platform, copy.deepcopy(rich(target))
    for _ in range(data.draw(st.integers(1, 3))):
        *above, last = data.draw(st.sampled_from(paths(content)))
        holder = content
        for key in above:
            holder = holder[key]
        holder[last] = data.draw(ANYTHING)
    with contextlib.suppress(InvalidInput):
        check_deployment(content, SETTINGS[platform].model_validate({"name": target, **RICH.get(platform, {})}), None)


@cache
def rich(target: str) -> dict[str, Any]:
    """What is written for a target of which much is said."""
    platform = TARGETS[target].platform
    pieces = deployed(target, PLACES.get(platform, QUAY), **RICH.get(platform, {}))
    return document(next(piece for piece in pieces.values() if piece.judged))


RICH: dict[str, dict[str, Any]] = {
    "kserve": {"args": ["--tensor-parallel-size", "2"], "pull_secret": "quay", "gpus": 2},
    "oci-data-science": {"env": {"LOG": "info"}, "entrypoint": ["python"], "cmd": ["app.py"]},
}
"""What makes a target write more than it must."""


def template(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    inner = {"kind": kind, "spec": {"template": {"spec": spec}}}
    return {"kind": kind, "spec": {"jobTemplate": inner}} if kind == "CronJob" else inner


@pytest.mark.parametrize("kind", ["Deployment", "Job", "StatefulSet", "CronJob"])
def test_the_pods_of_a_template_are_judged(kind: str) -> None:
    """Hardly anybody writes a Pod: a Deployment with an image volume is right, and one with a tag that moves is told."""
    spec = copy.deepcopy(document(deployed("kubernetes", QUAY)["pod.yaml"])["spec"])
    assert not check_deployment(template(kind, spec), settings_of("kubernetes"), None).findings
    spec["volumes"][0]["image"]["reference"] = "quay.io/org/granite:latest"
    del spec["containers"][0]["volumeMounts"]
    found = check_deployment(template(kind, spec), settings_of("kubernetes"), None).findings
    assert {one.rule.id for one in found} == {"KV-01", "KV-04"}


def test_the_command_of_a_deployment_is_the_one_that_it_says() -> None:
    """The service refuses a command of 2048 bytes that stands in the JSON, and takes one that the image lacks."""

    def judged(**said: Any) -> Judged:
        content = copy.deepcopy(document(deployed("oci-data-science", OCIR)["create.json"]))
        content["modelDeploymentConfigurationDetails"]["environmentConfigurationDetails"] |= said
        return check_deployment(content, settings_of("oci-data-science"), None)

    assert {"ODS-07", "ODS-08"} <= {one.rule.id for one in judged().unjudged}
    assert {"ODS-07", "ODS-08"} <= {rule.id for rule in judged(cmd=["python", "app.py"]).held}
    assert "ODS-08" in {one.rule.id for one in judged(entrypoint=["x" * 2048]).findings}


@pytest.mark.parametrize("name", ["9lives", "team/9.Lives_v2", "a" * 80, "x", "Granite-3.0_2B"])
@pytest.mark.parametrize("target", TARGETS)
def test_every_name_of_a_recipe_fits_its_platform(target: str, name: str) -> None:
    """A recipe may be called 9lives: KServe and Azure take no name that begins with a digit, ModelArts none of 40 letters."""
    pieces = deployed(target, PLACES.get(TARGETS[target].platform, QUAY), name=name)
    for piece in pieces.values():
        if piece.judged:
            found = check_deployment(document(piece), settings_of(target), None)
            assert [one for one in found.findings if one.severity is Severity.ERROR] == []
        if piece.file in ("pod.yaml", "inferenceservice.yaml"):
            assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", document(piece)["metadata"]["name"])
        if piece.file == "endpoint.yml":
            assert re.fullmatch(r"[a-z][-a-z0-9]{1,30}[a-z0-9]", document(piece)["name"])


WORDS = (
    "yes On no OFF y N true Null ~ = << 1:30 1:30.5 1_000 017 0o17 0b11 0X1F 1e3 +.inf .NaN -_1 2026-11-22 - ? # 'a' a:"
)
WRITTEN = st.one_of(st.sampled_from(WORDS.split()), st.from_regex(r"[-+.:_0-9exXobnyY]+", fullmatch=True), st.text())


@settings(deadline=None)
@given(env=st.dictionaries(WRITTEN, WRITTEN))
def test_a_text_of_a_recipe_is_a_text_for_the_platform(env: dict[str, str]) -> None:
    """The variable DEBUG: "on" is True for Kubernetes and Azure, which read YAML 1.1, and the deployment is refused."""
    assume(not any(map(hidden, (*env, *env.values()))))
    pieces = deployed("azureml:v2", PLACES["azureml"], env=env)
    assert document(pieces["deployment.yml"]).get("environment_variables", {}) == env


@pytest.mark.parametrize("word", ["no", "y", "on", "Off"])
def test_a_word_that_means_truth_elsewhere_is_quoted(word: str) -> None:
    """kubectl takes y for true, which PyYAML does not: the server is started with an argument that nobody wrote."""
    piece = deployed("kserve", QUAY, LLM, name=word, pull_secret=word, args=[word])["inferenceservice.yaml"]
    assert piece.render().count(f"'{word}'") == 2 + (word == word.lower())


def test_shared_memory_is_a_note(tmp_path: Path) -> None:
    """vLLM on two GPUs hangs without it, and most runtimes bring it: nobody is stopped."""
    settings = SETTINGS["kserve"].model_validate({"name": "kserve", "args": ["--tensor-parallel-size", "2"]})
    content = document(next(iter(deployed("kserve", QUAY, args=["--tensor-parallel-size", "2"]).values())))
    found = [one for one in check_deployment(content, settings, None).findings if one.rule.id == "VL-04"]
    assert [one.severity for one in found] == [Severity.NOTE]
    predictor = content["spec"]["predictor"]
    predictor["volumes"] = [{"name": "shm", "emptyDir": {"medium": "Memory"}}]
    predictor["model"]["volumeMounts"] = [{"name": "shm", "mountPath": "/dev/shm"}]
    assert "VL-04" not in {one.rule.id for one in check_deployment(content, settings, None).findings}


def test_kserve_mounts_the_image_where_the_cluster_can() -> None:
    """/proc/PID/root fails on clusters with other users per container (KS-11): the volume does not."""

    def uri(**asked: Any) -> str:
        piece = deployed("kserve", QUAY, LLM, **asked)["inferenceservice.yaml"]
        return str(document(piece)["spec"]["predictor"]["model"]["storageUri"])

    assert uri(chosen=False).startswith("oci://quay.io/org/granite@sha256:")
    assert uri(chosen=False, kubernetes="1.33", kserve="0.20").startswith("oci+native://")
    assert uri(chosen=True, kubernetes="1.33", kserve="0.20").startswith("oci://")
    with pytest.raises(InvalidInput, match=r"1\.33"):
        deployed("kserve:native", QUAY, kubernetes="1.32")
    with pytest.raises(InvalidInput, match=r"0\.20"):
        deployed("kserve:fetch", QUAY, kserve="0.20.0")


def test_the_runtime_is_the_one_that_takes_the_model() -> None:
    """A runtime that does not know the format leaves the service waiting for ever."""

    def runtime(files: tuple[str, ...], **said: Any) -> tuple[str, dict[str, str]]:
        model = document(deployed("kserve", QUAY, files, **said)["inferenceservice.yaml"])["spec"]["predictor"]["model"]
        return model["runtime"], model["modelFormat"]

    assert runtime(("1/model.onnx",), distribution="odh") == ("kserve-ovms", {"name": "onnx", "version": "1"})
    assert runtime(LLM, distribution="odh", gpus=1) == ("vllm-cuda-runtime", {"name": "vLLM"})
    assert runtime(LLM, distribution="odh") == ("vllm-cpu-runtime", {"name": "vLLM"})
    assert runtime(("net/config.pbtxt", "net/1/model.onnx"))[0] == "kserve-tritonserver"
    assert runtime((), runtime="mine", server="other") == ("mine", {"name": "onnx"})
    with pytest.raises(InvalidInput, match="runtime"):
        deployed("kserve", QUAY, ("model.joblib",))


SERVERS = [
    (("model.onnx",), "kserve-openvino", "onnx"),
    (("m/1/model.onnx",), "kserve-tritonserver", "onnx"),
    (("1/saved_model.pb", "1/variables/variables.index"), "kserve-openvino", "tensorflow"),
    (("m/1/model.savedmodel/saved_model.pb",), "kserve-tritonserver", "tensorflow"),
    (("m/1/model.graphdef",), "kserve-tritonserver", "tensorflow"),
    (("m/config.pbtxt", "m/1/xgboost.model"), "kserve-tritonserver", "triton"),
    (("config.json", "tokenizer.json", "model.gguf"), "kserve-vllmserver", "vLLM"),
    (("llama/config.json", "llama/tokenizer.json", "llama/a.safetensors"), "kserve-vllmserver", "vLLM"),
]


@pytest.mark.parametrize(("files", "runtime", "form"), SERVERS)
def test_what_is_deployed_is_what_was_judged(place: Place, files: tuple[str, ...], runtime: str, form: str) -> None:
    """check holds a model to Triton's layout, and deploy says that no runtime is known for it."""
    place.hub.add("org/guessed", dict.fromkeys(files, b"{}"))
    (found,) = check_recipe(place.recipe(model="hf://org/guessed", targets=["kserve"]), place.world())
    said = document(deployed("kserve", QUAY, files)["inferenceservice.yaml"])["spec"]["predictor"]["model"]
    assert (said["runtime"], said["modelFormat"]["name"]) == (runtime, form)
    held = {"openvino": "KS-12", "vllmserver": "KS-13", "tritonserver": "KS-14"}
    server = runtime.removeprefix("kserve-").removesuffix("server")
    others = {id for name, id in held.items() if runtime != f"kserve-{name}"}
    guessed = [one for one in found.findings if "serves it" in one.what]
    assert not others & {one.rule.id for one in guessed}
    assert all(f"if {server} serves it" in one.what for one in guessed)


def test_a_folder_of_a_version_alone_makes_no_model_for_openvino() -> None:
    """A pickled model is deployed on a server that cannot load it, and the service waits for ever."""
    with pytest.raises(InvalidInput, match="no runtime of KServe is known for this model"):
        deployed("kserve", QUAY, ("1/model.joblib",))


def test_kubernetes_before_1_33_mounts_the_whole_image() -> None:
    """A subPath would be refused there."""
    piece = deployed("kubernetes", QUAY, kubernetes="1.32")["pod.yaml"]
    assert "subPath" not in document(piece)["spec"]["containers"][0]["volumeMounts"][0]
    assert "subPath" in document(deployed("kubernetes", QUAY, kubernetes="1.33")["pod.yaml"])["spec"]["containers"][0]["volumeMounts"][0]  # fmt: skip


def test_triton_is_named_as_the_service_wants_it() -> None:
    """Without CONTAINER_TYPE the service looks for /predict, which Triton does not have."""
    details = document(deployed("oci-data-science:triton", OCIR, files=())["create.json"])[
        "modelDeploymentConfigurationDetails"
    ]
    environment = details["environmentConfigurationDetails"]
    assert environment["environmentVariables"] == {"CONTAINER_TYPE": "TRITON"}
    assert (environment["serverPort"], environment["healthCheckPort"]) == (8000, 8000)
    assert environment["cmd"][1] == "tritonserver"
    assert "entrypoint" not in environment


def test_triton_with_its_models_in_the_image_serves_those() -> None:
    """The deployment starts Triton over a mounted repository that no artefact has, and the models of the image lie idle."""
    pieces = deployed("oci-data-science:triton", OCIR, files=("one/1/model.onnx",))
    details = document(pieces["create.json"])["modelDeploymentConfigurationDetails"]
    assert "cmd" not in details["environmentConfigurationDetails"]


def test_terraform_says_the_same() -> None:
    """Names of the provider are the API's in snake_case; lists of objects are repeated blocks."""
    pieces = deployed(
        "oci-data-science", OCIR, terraform=True, env={"A": "${x}"}, endpoints=[{"suffix": "/v1", "methods": ["POST"]}]
    )
    text = pieces["main.tf"].render()
    assert 'resource "oci_datascience_model_deployment" "granite" {' in text
    assert f'image_digest = "{DIGEST}"' in text
    assert "custom_http_endpoints {" in text and 'endpoint_uri_suffix = "/v1"' in text
    assert '"A" = "$${x}"' in text
    assert "memory_in_gbs = 16" in text
    assert text.count("{") == text.count("}") + text.count("$${x}") - text.count("${x}")


def test_a_pushed_recipe_is_deployed_by_its_digest(place: Place) -> None:
    """Who deploys a tag deploys what somebody else pushes next."""
    recipe = place.recipe(targets=["kserve", {"name": "kubernetes", "server_image": "quay.io/me/server:1"}])
    with pytest.raises(InvalidInput, match="not pushed"):
        deploy(recipe, place.world(), [], place.folder / "out", Wish())
    delivered = place.build(recipe)
    written = deploy(recipe, place.world(), [], place.folder / "out", Wish())
    assert [path.relative_to(place.folder / "out").as_posix() for one in written for path in one.files] == [
        "kserve-modelcar/inferenceservice.yaml",
        "kubernetes/pod.yaml",
    ]
    assert all(delivered.sealing.digest in path.read_text() for one in written for path in one.files)


@pytest.mark.parametrize(
    ("target", "file", "path"),
    [
        ("azureml", "deployment.yml", "environment_variables"),
        ("sagemaker", "model.json", "PrimaryContainer.Environment"),
        ("vertex", "model.json", "model.containerSpec.env"),
        ("oci-genai", "application.json", "environmentVariables"),
    ],
)
def test_a_variable_that_is_set_to_nothing_is_set(target: str, file: str, path: str) -> None:
    """A server that turns something off by FLAG= runs with it on: the variable is not there."""
    found: Any = document(deployed(target, PLACES[target], env={"FLAG": "", "LOG": "info"})[file])
    for key in path.split("."):
        found = found[key]
    if isinstance(found, list):
        found = {one["name"]: one["value"] for one in found}
    assert found == {"FLAG": "", "LOG": "info"}


def test_a_variable_of_nothing_is_refused_where_the_service_takes_none(place: Place) -> None:
    """OCI Data Science takes no empty text: the variable must not vanish from what is sent without a word."""
    recipe = place.recipe(targets=[{"name": "oci-data-science", "env": {"FLAG": ""}}])
    with pytest.raises(CheckFailed) as refused:
        deploy(recipe, place.world(), [], place.folder / "out", Wish(image=f"{OCIR}@{DIGEST}"))
    (problem,) = refused.value.problems
    assert problem.where.startswith("ODS-21") and problem.where.endswith("environmentVariables.FLAG")
    assert "'env'" in problem.hint


def test_a_refused_deployment_writes_nothing(place: Place) -> None:
    """A file that the platform would refuse must not lie there as if it were right."""
    recipe = place.recipe(targets=[{"name": "oci-data-science", "env": {"TENANCY_OCID": "x"}}])
    with pytest.raises(CheckFailed, match="ODS-19"):
        deploy(recipe, place.world(), [], place.folder / "out", Wish(image=f"{OCIR}@{DIGEST}"))
    assert not (place.folder / "out").exists()


def test_the_artefact_is_the_same_bytes_every_time(place: Place) -> None:
    """The model catalog keeps versions: a zip that only differs in its times would be a new one."""
    folder = place.folder / "scoring"
    (folder / "deep").mkdir(parents=True)
    (folder / "score.py").write_text("print('hello')")
    (folder / "deep" / "model.bin").write_bytes(b"x" * 100_000)
    recipe, world = place.recipe(), place.world()
    path, names = write_artifact(recipe, world, "./scoring", place.folder / "a.zip")
    (folder / "score.py").touch()
    again, _ = write_artifact(recipe, world, "./scoring", place.folder / "b.zip")
    assert names == ["deep/model.bin", "score.py"]
    assert path.read_bytes() == again.read_bytes()


def test_an_artefact_that_triton_does_not_look_into_is_refused(place: Place) -> None:
    """The deployment starts Triton over a folder that the artefact lacks, and it serves no model without a word."""

    def deployed_with(path: str, **said: Any) -> set[str]:
        (place.folder / "m" / path).parent.mkdir(parents=True, exist_ok=True)
        (place.folder / "m" / path).write_bytes(b"x")
        recipe = place.recipe(targets=[{"name": "oci-data-science:triton", "artifact": "m", **said}])
        (written,) = deploy(recipe, place.world(), [], place.folder / "out", Wish(image=f"{OCIR}@{DIGEST}"))
        return {file.name for file in written.files}

    with pytest.raises(InvalidInput, match=r"m has part/1/model\.onnx outside model_repository/") as refused:
        deployed_with("part/1/model.onnx")
    assert "m/model_repository/NAME/1/" in refused.value.hint
    assert not (place.folder / "out").exists()
    own = ["tritonserver", "--model-repository=/opt/ds/model/deployed_model"]
    assert "artifact.zip" in deployed_with("part/1/model.onnx", cmd=own)
    (place.folder / "m/part").rename(place.folder / "m/moved")
    (place.folder / "m/model_repository").mkdir()
    (place.folder / "m/moved").rename(place.folder / "m/model_repository/part")
    assert "artifact.zip" in deployed_with("model_repository/part/1/model.onnx")


def test_modelarts_is_told_the_port_of_the_recipe(place: Place) -> None:
    """The container API is set to 8080 as the note says, the server listens on 9090, and the service never starts."""
    server = {"kind": "server", "command": ["python3", "app.py"], "port": 9090}
    recipe = place.recipe(**server, targets=["modelarts:online"])
    image = f"{PLACES['modelarts']}@{DIGEST}"
    (written,) = deploy(recipe, place.world(), [], place.folder / "out", Wish(image=image))
    assert "set the container API to HTTP, port 9090" in written.notes


def test_what_deploys_an_image_is_no_part_of_the_next_one(place: Place) -> None:
    """Each deployment names the image's digest: an image with its own deployment in it would never be the same twice."""
    app = place.folder / "app"
    app.mkdir()
    (app / "app.py").write_text("print('hello')\n")
    recipe = place.recipe(kind="server", code="./app", command=["python3", "app.py"], port=9090)

    def code() -> list[str]:
        return [file.path for file in flow.lock(recipe, place.world(), Policy.UPGRADE).pins.sources["code"].files]

    pushed = Wish(image=f"{PLACES['modelarts']}@{DIGEST}")
    deploy(recipe, place.world(), ["modelarts:online"], app / "deploy", pushed)
    assert list((app / "deploy").iterdir()) and code() == ["app.py"]
    deploy(recipe, place.world(), ["modelarts:online"], app, pushed)
    assert "app.py" in code(), "a folder of code was taken for a deployment"


def test_everything_is_written_in_utf_8(tmp_path: Path) -> None:
    """An umlaut in a value must not become an escape that nobody reads."""
    piece = deployed("oci-data-science", OCIR, env={"NAME": "Übung"})["create.json"]
    assert "Übung" in piece.render()
