"""For every rule that an image can break: it is not found on the right image, and found by its id on a broken one."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from buildkit.checks.rule import Severity
from buildkit.judging.images import check_image
from buildkit.process import INIT
from buildkit.settings import find
from buildkit.targets import TARGETS
from buildkit.trust.scan import Scanned, Vulnerability
from buildkit.world import World
from tests.targets.drafts import (
    BATCH,
    CONDA,
    CONFIG,
    DOCKER_SERVER,
    OVMS,
    SERVER,
    TRITON,
    VLLM,
    Draft,
    Entry,
    folder,
    link,
    model,
    program,
    write,
)

OCIR = "iad.ocir.io/tenancy/agents/image:v1"
SWR = "swr.eu-de.otc.t-systems.com/org/image:v1"
ECR = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/image:v1"
GAR = "europe-west4-docker.pkg.dev/project/repository/image:v1"
QUAY = "quay.io/org/image:v1"
PLACES = {
    "oci-data-science": OCIR,
    "oci-genai": OCIR,
    "modelarts": SWR,
    "sagemaker": ECR,
    "vertex": GAR,
    "kserve": QUAY,
    "kubernetes": QUAY,
    "azureml": "team.azurecr.io/image:v1",
}
KEY = b"-----BEGIN PRIVATE KEY-----\nof Python's own tests\n"
TRITON_SERVER = DOCKER_SERVER.config(
    Entrypoint=["/opt/nvidia/nvidia_entrypoint.sh"], Cmd=["tritonserver"], ExposedPorts={"8000/tcp": {}}
).with_(program("opt/tritonserver/bin/tritonserver"), program("opt/nvidia/nvidia_entrypoint.sh"))

PARTIAL = model("net/config.pbtxt", b"max_batch_size: 8\ninstance_group [ { kind: KIND_CPU } ]\n")
ENSEMBLE = b"""platform: "ensemble"
input [ { name: "x" data_type: TYPE_FP32 dims: [ 3 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 3 ] } ]
ensemble_scheduling { step [ { model_name: "net" model_version: -1 input_map { key: "x" value: "x" } } ] }
"""
WARMED = (
    CONFIG.replace(b'name: "net"\n', b"")
    + b"""model_warmup [
  {
    name : "regular sample"
    inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 3 ] zero_data: true } }
  }
]
"""
)


def net(config: bytes, *files: Entry) -> Draft:
    """A repository of one model with that configuration and these files."""
    return TRITON.without("models/net/1").with_(
        folder("models/net/1", 0o555), model("net/config.pbtxt", config), *files
    )


SERVED_BY_TRITON = {
    "a warm-up with names of its own": TRITON.with_(model("net/config.pbtxt", WARMED)),
    "trees of a forest": net(b'backend: "fil"\n', model("net/1/xgboost.model")),
    "a backend of a near name": net(b'backend: "tensorrtllm"\n', folder("models/net/1/engines", 0o555)),
    "a backend that loads no file": net(b'backend: "identity"\n'),
    "a graph of TensorFlow": net(b'backend: "tensorflow"\n', model("net/1/model.graphdef")),
    "half a configuration": TRITON.with_(PARTIAL),
    "a program that says its inputs": net(PARTIAL.content, model("net/1/model.py", b"def auto_complete_config(c): ...")),
    "an ensemble": TRITON.with_(model("all/config.pbtxt", ENSEMBLE), folder("models/all", 0o555), folder("models/all/1", 0o555)),
}  # fmt: skip

RIGHT = {
    "kserve:modelcar": [OVMS, VLLM, TRITON, replace(OVMS, zipped=True), replace(OVMS, docker=True, zipped=True)],
    "kserve:native": [OVMS, replace(VLLM, layers=VLLM.layers[1:]), TRITON],
    "kserve:fetch": [OVMS, VLLM, TRITON, replace(TRITON, zipped=True)],
    "kubernetes": [OVMS, replace(VLLM, layers=VLLM.layers[1:])],
    "oci-data-science": [SERVER, DOCKER_SERVER],
    "oci-data-science:triton": [TRITON_SERVER],
    "oci-genai": [SERVER, DOCKER_SERVER],
    "modelarts:online": [DOCKER_SERVER],
    "modelarts:batch": [BATCH, BATCH.config(Cmd=["/bin/sh", "-c", "/bin/sh /home/run.sh"])],
    "azureml:v2": [SERVER, DOCKER_SERVER],
    "azureml:v1": [CONDA, CONDA.with_(Entry("opt/miniconda/lib/python3.11/test/ssl_key.pem", KEY))],
    "sagemaker": [
        DOCKER_SERVER.config(User=None),
        DOCKER_SERVER.config(User=None, Entrypoint=[INIT, "--words", "2", "python3", "/app/app.py"], Cmd=None),
        DOCKER_SERVER.config(User=None, Entrypoint=[INIT]).with_(program("usr/bin/serve")),
    ],
    "vertex": [SERVER, DOCKER_SERVER],
}
TOKEN = "hf_" + "aBcDeFgHiJ" * 4
BIG = b"x" * 2_000_000


def first(target: str) -> Draft:
    return RIGHT[target][0]


Broken = tuple[str, str, Draft | Callable[[], Draft], str]


def broken() -> list[Broken]:
    """Rule, target, the image that breaks it, and where it goes where that is what is wrong."""
    modelcar, native, fetch = "kserve:modelcar", "kserve:native", "kserve:fetch"
    science, triton, genai = "oci-data-science", "oci-data-science:triton", "oci-genai"
    online, batch = "modelarts:online", "modelarts:batch"
    long = ["python3", *(["--argument=0123456789"] * 100)]
    ubuntu = Entry("etc/os-release", b'ID=ubuntu\nVERSION_ID="14.04"\n')
    chmodded = Draft(
        (
            OVMS.layers[0],
            (folder("models"), folder("models/1"), Entry("models/1/model.onnx", BIG, 0o600, 1001)),
        ),
        OVMS.process,
    ).above(folder("models", 0o555), folder("models/1", 0o555), Entry("models/1/model.onnx", BIG, 0o444, 1001))
    llama = [replace(one, name=one.name.replace("models/", "models/llama/")) for one in VLLM.layers[-1]]
    nested = Draft((*VLLM.layers[:-1], tuple(llama)), VLLM.process)
    return [
        ("KS-01", modelcar, OVMS.without("models"), ""),
        ("KS-01", native, OVMS.without("models/1").without("models").with_(folder("models")), ""),
        ("KS-01", modelcar, OVMS.without("models").with_(folder("data"), Entry("data/1/model.onnx"), link("models", "data")), ""),
        ("KS-01", fetch, OVMS.above(Entry(".wh.models")), ""),
        ("KS-02", modelcar, replace(OVMS, layers=OVMS.layers[1:]), ""),
        ("KS-02", modelcar, OVMS.without("bin/ln"), ""),
        ("KS-02", modelcar, OVMS.config(Env=["PATH=/opt/bin"]), ""),
        ("KS-02", modelcar, OVMS.above(Entry("bin/.wh.busybox")), ""),
        ("KS-03", modelcar, OVMS.config(Entrypoint=["/bin/sh"]), ""),
        ("KS-05", modelcar, OVMS.with_(replace(model("1/model.onnx"), mode=0o440)), ""),
        ("KS-05", native, OVMS.with_(folder("models/1", 0o750)), ""),
        ("KS-05", fetch, OVMS.with_(replace(model("1/model.onnx"), gid=1001)), ""),
        ("KS-06", modelcar, chmodded, ""),
        ("KS-07", fetch, OVMS.without("models").with_(Entry("./models/1/model.onnx", b"x", 0o444)), ""),
        ("KS-07", fetch, OVMS.without("models").with_(Entry("/models/1/model.onnx", b"x", 0o444)), ""),
        ("KS-08", fetch, replace(OVMS, docker=True), ""),
        ("KS-08", fetch, replace(OVMS, layer_type="application/vnd.oci.image.layer.v1.tar+zstd"), ""),
        ("KS-09", fetch, OVMS.with_(link("models/2", "/data")), ""),
        ("KS-09", fetch, OVMS.with_(link("models/x.bin", "../blobs/x")), ""),
        ("KS-09", fetch, OVMS.with_(Entry("models/blobs/ab", b"x", 0o444), link("models/1/other.onnx", "../blobs/ab")), ""),
        ("KS-09", fetch, OVMS.with_(Entry("models/null", type="3")), ""),
        ("KS-09", fetch, OVMS.above(Entry("models/1/.wh.old.onnx")), ""),
        ("KS-09", modelcar, OVMS.with_(link("models/1/other.onnx", "nothing.onnx")), ""),
        ("KS-12", modelcar, OVMS.without("models/1").with_(model("model.onnx")), ""),
        ("KS-12", modelcar, OVMS.without("models/1/model.onnx").with_(model("1/README.md")), ""),
        ("KS-12", modelcar, OVMS.without("models/1/model.onnx").with_(model("1/model.xml")), ""),
        ("KS-13", modelcar, VLLM.without("models/model-00002-of-00002.safetensors"), ""),
        ("KS-13", native, replace(VLLM, zipped=True).without("models/model-00001-of-00002.safetensors"), ""),
        ("KS-13", modelcar, VLLM.without("models/config.json"), ""),
        ("KS-13", modelcar, VLLM.without("models/tokenizer.json"), ""),
        ("KS-13", modelcar, nested, ""),
        ("KS-14", modelcar, TRITON.without("models/net/1"), ""),
        ("KS-14", modelcar, TRITON.without("models/net/1/model.onnx"), ""),
        ("TR-01", native, TRITON.without("models/net/1").with_(model("net/01/model.onnx")), ""),
        ("TR-01", modelcar, TRITON.with_(model("all/config.pbtxt", ENSEMBLE)), ""),
        ("TR-01", triton, TRITON_SERVER.with_(model("net/config.pbtxt", CONFIG)), ""),
        ("TR-02", modelcar, TRITON.with_(model("net/config.pbtxt", CONFIG.replace(b'"net"', b'"other"'))), ""),
        ("TR-02", modelcar, TRITON.with_(model("net/config.pbtxt", b"max_batch_size: [\n")), ""),
        ("TR-02", modelcar, TRITON.without("models/net/1/model.onnx").with_(model("net/1/net.bin"), PARTIAL), ""),
        ("TR-02", modelcar, TRITON.with_(model("py/1/model.py"), folder("models/py", 0o555)), ""),
        ("TR-02", modelcar, replace(TRITON.with_(runnable(model("net/config.pbtxt", b'platform: "onnx"\n'))), zipped=True), ""),
        ("KV-03", "kubernetes", OVMS.without("models").with_(folder("data"), link("models", "data")), ""),
        ("KV-03", "kubernetes", OVMS.with_(folder("models/1", 0o700)), ""),
        ("ODS-06", science, SERVER.without("usr/bin/curl"), ""),
        ("ODS-06", science, SERVER.with_(Entry("usr/bin/curl", b"x", 0o744)), ""),
        ("ODS-06", science, SERVER.without("usr/bin/curl").with_(link("usr/bin/curl", "/opt/curl")), ""),
        ("ODS-07", science, SERVER.config(Entrypoint=None, Cmd=None), ""),
        ("ODS-08", science, SERVER.config(Cmd=long), ""),
        ("ODS-10", science, SERVER, QUAY),
        ("ODS-10", triton, TRITON_SERVER, "docker.io/org/image:v1"),
        ("ODS-16", science, SERVER.with_(Entry("opt/ds/model/deployed_model/score.py", b"x")), ""),
        ("OGH-01", genai, replace(SERVER, architecture="arm64"), ""),
        ("OGH-06", genai, SERVER.config(Env=["PATH=/bin", "PORT=8080"]), ""),
        ("OGH-06", genai, SERVER.config(Env=["PATH=/bin", "KUBERNETES_PORT=1"]), ""),
        ("OGH-06", genai, SERVER.with_(Entry("app/.env", b"K_SERVICE=mine\n")), ""),
        ("OGH-06", genai, replace(SERVER.with_(runnable(Entry("app/.env", b"PORT=80\n"))), zipped=True), ""),
        ("OGH-08", genai, SERVER.config(Entrypoint=None, Cmd=None), ""),
        ("OGH-09", genai, SERVER.config(Volumes={"/data": {}}), ""),
        ("OGH-11", genai, SERVER, QUAY),
        ("MA-01", online, replace(SERVER, index=True), ""),
        ("MA-04", online, DOCKER_SERVER, QUAY),
        ("MA-09", batch, BATCH.without("home/run.sh"), ""),
        ("MA-09", batch, BATCH.config(Cmd=["python", "run.py"]), ""),
        ("MA-09", batch, BATCH.config(Entrypoint=["python"]), ""),
        ("MA-10", batch, BATCH.without("usr/bin/java"), ""),
        ("MA-10", batch, BATCH.without("usr/bin/zip"), ""),
        ("AZ1-01", "azureml:v1", CONDA.with_(ubuntu), ""),
        ("AZ1-02", "azureml:v1", CONDA.without("opt/conda/bin/conda"), ""),
        ("AZ2-04", "azureml:v2", SERVER.with_(Entry("var/azureml-app/azureml-models/m/1/model.bin", b"x")), ""),
        ("SM-01", "sagemaker", SERVER, ""),
        ("SM-01", "sagemaker", replace(DOCKER_SERVER, index=True), ""),
        ("SM-04", "sagemaker", DOCKER_SERVER.config(Entrypoint=None), ""),
        ("SM-04", "sagemaker", DOCKER_SERVER.config(Entrypoint=[INIT], Cmd=["python3", "/app/app.py"]), ""),
        ("SM-06", "sagemaker", DOCKER_SERVER.with_(Entry("opt/ml/model/model.bin", b"x")), ""),
        ("SM-08", "sagemaker", DOCKER_SERVER, QUAY),
        ("VX-01", "vertex", SERVER.config(Env=["PATH=/bin", "AIP_HTTP_PORT=8080"]), ""),
        ("VX-07", "vertex", SERVER, GAR.replace("europe-west4", "europe")),
        ("UNI-13", modelcar, replace(OVMS, packed=lambda raw: b"only text\n" * 200), ""),
        ("UNI-13", native, replace(OVMS, packed=lambda raw: raw[:-9000]), ""),
        ("UNI-13", modelcar, replace(OVMS, zipped=True, packed=lambda raw: gzip.compress(raw)[:-9]), ""),
        ("UNI-13", genai, replace(SERVER, zipped=True, packed=lambda raw: gzip.compress(raw) + b"more"), ""),
        ("UNI-01", genai, SERVER.config(Env=["PATH=/bin", f"HF_TOKEN={TOKEN}"]), ""),
        ("UNI-01", science, SERVER.config(Env=["PATH=/bin", "DB_PASSWORD=correct-horse"]), ""),
        ("UNI-01", modelcar, OVMS.config(Labels={"note": TOKEN}), ""),
        ("UNI-01", modelcar, replace(OVMS, history=(f"RUN hf download --token {TOKEN}",)), ""),
        ("UNI-01", modelcar, replace(OVMS, history=("|1 token=abcdefgh12345 /bin/sh -c download",)), ""),
        ("UNI-01", genai, SERVER.with_(Entry("app/.env", f"HF_TOKEN={TOKEN}\n".encode())), ""),
        ("UNI-01", genai, SERVER.with_(runnable(Entry("app/settings.py", f'key = "{TOKEN}"\n'.encode()))), ""),
        ("UNI-01", genai, replace(SERVER, zipped=True).with_(Entry("root/.netrc", TOKEN.encode())).above(Entry("root/.wh..netrc")), ""),
    ]  # fmt: skip


ADAPTERS = (
    OVMS.without("models")
    .with_(folder("models"), model("a/1/model.onnx", BIG))
    .above(model("b/1/model.onnx", BIG[:-1] + b"y"))
)


def test_two_files_of_one_name_and_size_are_no_copy(tmp_path: Path) -> None:
    """Two adapters of one architecture have files of the same size under the same name: a good model would be refused."""
    told = judged(ADAPTERS, "kserve:modelcar", tmp_path)
    assert told["KS-06"] == {Severity.NOTE}
    assert Severity.ERROR not in {one for found in told.values() for one in found} - told.get("KS-12", set())


def runnable(entry: Entry) -> Entry:
    """As ``COPY --chmod=0555`` writes every file."""
    return replace(entry, mode=entry.mode | 0o111)


def judged(draft: Draft, target: str, folder: Path, place: str = "") -> dict[str, set[Severity]]:
    image = write(draft, folder / "image")
    place = place or PLACES[target.partition(":")[0]]
    found, _ = check_image(image, World(find(folder), lambda event: None), [target], known_as=place)
    told: dict[str, set[Severity]] = {}
    for one in found[0].findings:
        told.setdefault(one.rule.id, set()).add(one.severity)
    return told


@pytest.mark.parametrize(
    ("target", "number"), [(target, number) for target, drafts in RIGHT.items() for number in range(len(drafts))]
)
def test_the_right_image_breaks_no_rule(target: str, number: int, tmp_path: Path) -> None:
    """A false alarm teaches people to look away."""
    told = judged(RIGHT[target][number], target, tmp_path)
    expected = {"AZ1-06"} if target == "azureml:v1" else set()
    assert {id for id, found in told.items() if found & {Severity.ERROR, Severity.WARNING}} == expected


@pytest.mark.parametrize("case", SERVED_BY_TRITON)
def test_what_triton_serves_is_not_refused(case: str, tmp_path: Path) -> None:
    """A repository that the kind triton takes is refused as a model image, by a second reading of config.pbtxt."""
    assert not judged(SERVED_BY_TRITON[case], "kserve:modelcar", tmp_path).keys() & {"KS-14", "TR-01", "TR-02"}


@pytest.mark.parametrize(
    ("id", "target", "draft", "place"), broken(), ids=[f"{one[0]}-{number}" for number, one in enumerate(broken())]
)
def test_a_broken_image_is_found_by_the_rule(id: str, target: str, draft: Draft, place: str, tmp_path: Path) -> None:
    """Each of these was, or would be, refused by the platform after the push."""
    assert Severity.ERROR in judged(draft, target, tmp_path, place).get(id, set())


SAME_ELSEWHERE = {"ODS-03", "ODS-11", "ODS-17", "ODS-18", "ODS-19", "MA-14", "UNI-02", "UNI-10"}
"""Broken by a recipe, its Containerfile or a login: see test_recipe_rules."""
BY_SIZE = {"ODS-09", "MA-02", "MA-03"}
"""Broken by sizes that no test can write: see test_sizes."""
BY_DEPLOYMENT = {"KS-16", "KS-17", "KV-01", "ODS-21", "MA-15", "MA-16", "MA-17", "AZ1-04", "AZ2-01"}
"""Broken by what is deployed from: see test_deployments."""
ELSE = {"OGH-10", "AZ1-05"}
"""A scanner's result, see test_what_a_scanner_calls_critical; and a registry of which nobody can tell whether it is public, so that it is a warning."""


def test_every_error_has_a_broken_image() -> None:
    """A rule without a test is a rule that may never have been found."""
    errors = {
        rule.id
        for target in TARGETS.values()
        for rule in target.rules
        if rule.judge is not None and rule.severity is Severity.ERROR
    }
    tested = {one[0] for one in broken()} | SAME_ELSEWHERE | BY_SIZE | BY_DEPLOYMENT | ELSE
    assert errors - tested - {"MA-07"} == set()


def test_what_was_found_names_no_secret(tmp_path: Path) -> None:
    """A report is pasted into tickets: it must not hold what it warns of."""
    draft = SERVER.config(Env=["PATH=/bin", f"HF_TOKEN={TOKEN}"]).with_(Entry("app/.env", TOKEN.encode()))
    found, _ = check_image(write(draft, tmp_path), World(find(tmp_path), lambda event: None), ["vertex"])
    assert TOKEN not in json.dumps([str(one) for one in found[0].findings])


def test_what_a_scanner_calls_critical_is_refused(tmp_path: Path) -> None:
    """OCI Generative AI scans before it deploys: what it would find must not be found there first."""
    image, there = write(SERVER, tmp_path), World(find(tmp_path), lambda event: None)
    critical = Vulnerability("critical", "CVE-2026-1", "openssl", "3.0.1", "3.0.2")
    mild = Vulnerability("high", "CVE-2026-2", "zlib", "1.2")
    for found, wanted in (((critical, mild), {"OGH-10"}), ((mild,), set())):
        scanned = Scanned("grype", found)
        (report,), _ = check_image(image, there, ["oci-genai"], known_as=OCIR, scanned=lambda _, it=scanned: it)  # type: ignore[misc]
        errors = [one for one in report.findings if one.severity is Severity.ERROR]
        assert {one.rule.id for one in errors} == wanted
        assert all("CVE-2026-1 in openssl 3.0.1" in one.what and "openssl 3.0.2" in one.do for one in errors)
    (report,), _ = check_image(image, there, ["oci-genai"], known_as=OCIR)
    assert "--scan" in next(one.lacking for one in report.unjudged if one.rule.id == "OGH-10")


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("app/serve.py", 'import os\nos.environ["PORT"] = "9000"\n', True),
        ("app/serve.py", 'port = os.environ["PORT"]\nif os.environ["PORT"] == "1":\n    pass\n', False),
        ("app/start.sh", "#!/bin/sh\nexport K_SERVICE=mine\n", True),
        ("app/start.sh", 'export PORT=${PORT:-8080}\nexport PORT="$PORT"\nexport PORTS=1\n', False),
        ("usr/lib/python3/x.py", 'os.environ["PORT"] = "9000"\n', False),
    ],
)
def test_code_that_sets_a_variable_of_the_platform_is_a_warning(
    tmp_path: Path, name: str, text: str, found: bool
) -> None:
    """The line may never run: it is told, and stops nothing."""
    told = judged(replace(SERVER.with_(Entry(name, text.encode(), 0o755)), zipped=True), "oci-genai", tmp_path)
    assert told.get("OGH-06", set()) == ({Severity.WARNING} if found else set())
