"""``modelpack check RECIPE`` and the check that every build begins with: before a byte of the model is moved."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from buildkit.adapting import adapted, form_for
from buildkit.checks.report import failed
from buildkit.checks.rule import Judged, Severity, judge
from buildkit.checks.subject import Given, Subject
from buildkit.errors import CheckFailed, InvalidInput, SourceFailed
from buildkit.events import Warned
from buildkit.judging.chosen import chosen_targets
from buildkit.judging.recipes import check_recipe
from buildkit.oci.files import Files
from buildkit.oci.manifest import ImageConfig
from buildkit.oci.reference import Platform, Reference
from buildkit.plan import Plan
from buildkit.recipe import load
from buildkit.target_settings import SETTINGS, settings_of
from buildkit.targets import target_named
from tests.place import Place, place, put_base

__all__ = ["place"]
GB, GIB = 1000**3, 1024**3


def errors(found: tuple[Judged, ...]) -> set[str]:
    return {one.rule.id for each in found for one in each.findings if one.severity is Severity.ERROR}


def test_a_model_without_a_shard_is_refused_before_it_is_downloaded(place: Place) -> None:
    """Half a model is found by its server, an hour and 100 GB later."""
    index = json.dumps(
        {"weight_map": {"a": "model-00001-of-00003.safetensors", "b": "model-00003-of-00003.safetensors"}}
    )
    files = {"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors.index.json": index.encode()}
    place.hub.add("org/half", {**files, "model-00001-of-00003.safetensors": b"x" * 100})
    recipe = place.recipe(model="hf://org/half", targets=["kserve"])
    assert errors(check_recipe(recipe, place.world())) == {"KS-13"}
    with pytest.raises(CheckFailed, match="model-00003-of-00003"):
        place.build(recipe)
    assert not [request for request in place.registry.requests if request.method in ("POST", "PATCH", "PUT")]


def test_a_guess_of_what_serves_a_model_stops_no_build(place: Place) -> None:
    """A sentence embedder of one's own runtime needs no tokenizer: only who says vLLM is held to vLLM's layout."""
    place.hub.add("org/embedder", {"config.json": b"{}", "model.safetensors": b"x" * 100})
    recipe = place.recipe(model="hf://org/embedder", targets=["kserve"])
    (found,) = check_recipe(recipe, place.world())
    assert errors((found,)) == set()
    (guessed,) = [one for one in found.findings if one.rule.id == "KS-13"]
    assert guessed.severity is Severity.WARNING
    assert "if vllm serves it" in guessed.what and "'server'" in guessed.do
    place.build(recipe)
    for server, expected in (("vllm", {"KS-13"}), ("other", set())):
        said = place.recipe(model="hf://org/embedder", targets=[{"name": "kserve", "server": server}])
        assert errors(check_recipe(said, place.world())) == expected


@pytest.mark.parametrize(
    ("files", "rules"),
    [
        ({"model.onnx": b"x"}, {"KS-12"}),
        ({"net/config.pbtxt": b"backend: 'x'", "net/model.onnx": b"x"}, {"KS-14", "TR-01"}),
        ({"net/1/model.onnx": b"x", "net/config.pbtxt": b"platform: 'onnx'"}, {"TR-02"}),
    ],
)
def test_a_layout_is_held_to_the_server_that_was_named(place: Place, files: dict[str, bytes], rules: set[str]) -> None:
    """OpenVINO's and Triton's layouts are guessed as vLLM's is."""
    place.hub.add("org/layout", files)
    (found,) = check_recipe(place.recipe(model="hf://org/layout", targets=["kserve"]), place.world())
    assert errors((found,)) == set()
    assert {one.rule.id for one in found.findings if one.severity is Severity.WARNING} >= rules
    server = "openvino" if rules == {"KS-12"} else "triton"
    said = place.recipe(model="hf://org/layout", targets=[{"name": "kserve", "server": server}])
    assert errors(check_recipe(said, place.world())) == rules


def test_a_configuration_that_the_recipe_writes_is_judged(place: Place) -> None:
    """The plan has its text at hand, and the layout of the whole repository is told as one that nobody could judge."""
    (place.folder / "models/net/1").mkdir(parents=True)
    (place.folder / "models/net/1/weights").write_bytes(b"x")
    written = {"kind": "triton", "models": "./models", "configs": {"net": {"backend": "ours"}}}
    base = f"{place.registry.address}/ubi9/ubi-micro:latest"
    path = place.folder / "recipe.yaml"
    path.write_text(json.dumps({"name": "net", "base": base, **written}))
    (found,) = check_recipe(load(path), place.world(), ["kserve"])
    assert {"TR-01", "TR-02"} <= {rule.id for rule in found.held}


@pytest.mark.parametrize(("other", "expected"), [(b"y", set()), (b"x", {Severity.WARNING})])
def test_files_that_two_folders_of_a_model_have_are_told_by_their_content(
    place: Place, other: bytes, expected: set[Severity]
) -> None:
    """Two adapters of one architecture look the same from outside, and one that is there twice is no broken image."""
    files = {"a/1/model.pt": b"x" * 20_000_000, "b/1/model.pt": other * 20_000_000}
    place.hub.add("org/adapters", files)
    (found,) = check_recipe(
        place.recipe(model="hf://org/adapters", base="scratch", max_layer_size="25 MB"),
        place.world(),
        ["kserve:native"],
    )
    for id in ("KS-06", "UNI-07"):
        assert {one.severity for one in found.findings if one.rule.id == id} == expected


def test_an_image_that_is_too_large_is_refused_by_what_the_hub_tells(place: Place) -> None:
    """17 GiB are refused by the service after an hour of pushing."""
    recipe = place.recipe(targets=["oci-data-science"])
    rules = [target_named("oci-data-science").rule("ODS-09")]
    for size, expected in ((14 * GIB, set()), (17 * GIB, {"ODS-09"})):
        files = Files(((), ()), "the base's files", (1_000_000, size))
        found = judge(Subject(recipe.spec.targets[0], "", Given(recipe=recipe, files=files)), rules, "x")
        assert {one.rule.id for one in found.findings} == expected
        assert bool(found.unjudged) == (not expected)


def sized(*sizes: int | None, **said: Any) -> dict[str, set[Severity]]:
    """What the rules of sizes say, for every platform that has one."""
    told: dict[str, set[Severity]] = {}
    for name, ids in (("oci-data-science", ("ODS-09", "UNI-12")), ("modelarts", ("MA-02", "MA-03"))):
        target = target_named(name)
        settings = SETTINGS[name].model_validate({"name": name, **said.get(name.replace("-", "_"), {})})
        subject = Subject(settings, target.mode, Given(files=Files(tuple(() for _ in sizes), "", sizes)))
        for finding in judge(subject, [target.rule(id) for id in ids], name).findings:
            told.setdefault(finding.rule.id, set()).add(finding.severity)
    return told


def test_sizes_are_warned_of_in_gb_and_refused_in_gib() -> None:
    """Documents say GB and mean either: who is between them is told, and not stopped."""
    assert sized(9 * GB) == {}
    assert sized(9 * GB, 8 * GB) == {"ODS-09": {Severity.WARNING}}
    assert sized(9 * GB, 9 * GB) == {"ODS-09": {Severity.ERROR}}
    assert sized(9 * GB, 9 * GB, oci_data_science={"env": {"STORAGE_SIZE_IN_GB": "50"}})["ODS-09"] == {Severity.WARNING}
    assert sized(*[9 * GB] * 4)["MA-02"] == {Severity.ERROR}
    assert "MA-02" not in sized(*[9 * GB] * 4, modelarts={"largest": 50})
    assert sized(11 * GIB)["MA-03"] == {Severity.ERROR}
    assert sized(*[1] * 21)["MA-03"] == {Severity.WARNING}
    assert "UNI-12" not in sized(*[1] * 125)
    assert sized(*[1] * 126)["UNI-12"] == {Severity.WARNING}


BAD_SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("ODS-03", {"name": "oci-data-science", "port": 80}),
    ("ODS-03", {"name": "oci-data-science", "health_port": 24224}),
    ("ODS-17", {"name": "oci-data-science", "env": {"A": "x"}}),
    ("ODS-17", {"name": "oci-data-science", "env": {"A" * 32: "x"}}),
    ("ODS-18", {"name": "oci-data-science", "env": {"LONG": "x" * 2044}}),
    ("ODS-19", {"name": "oci-data-science", "env": {"MODEL_DEPLOYMENT_OCID": "x"}}),
    ("ODS-08", {"name": "oci-data-science", "cmd": ["x" * 2048]}),
    ("OGH-06", {"name": "oci-genai", "env": {"K_REVISION": "x"}}),
    ("VX-01", {"name": "vertex", "env": {"AIP_MODE": "x"}}),
    ("MA-14", {"name": "modelarts", "algorithm": "a&b"}),
]


@pytest.mark.parametrize(("id", "target"), BAD_SETTINGS, ids=[f"{id}-{n}" for n, (id, _) in enumerate(BAD_SETTINGS)])
def test_what_a_recipe_says_of_a_target_is_judged(place: Place, id: str, target: dict[str, Any]) -> None:
    """A reserved variable or port is refused by the platform after everything was built and pushed."""
    assert id in errors(check_recipe(place.recipe(targets=[target]), place.world()))


PLACES = [
    ("ODS-10", "oci-data-science", {}, "quay.io/org"),
    ("ODS-11", "oci-data-science", {"region": "us-phoenix-1"}, "iad.ocir.io/tenancy"),
    ("ODS-11", "oci-data-science", {"region": "phx"}, "ocir.us-ashburn-1.oci.oraclecloud.com/tenancy"),
    ("OGH-11", "oci-genai", {}, "ghcr.io/org"),
    ("MA-04", "modelarts", {"region": "cn-north-4"}, "swr.eu-de.otc.t-systems.com/org"),
    ("SM-08", "sagemaker", {"region": "us-east-1"}, "123456789012.dkr.ecr.eu-west-1.amazonaws.com"),
    ("VX-07", "vertex", {"region": "us-central1"}, "europe-west4-docker.pkg.dev/p/r"),
]


@pytest.mark.parametrize(
    ("id", "name", "said", "registry"), PLACES, ids=[f"{one[0]}-{n}" for n, one in enumerate(PLACES)]
)
def test_a_registry_that_the_platform_does_not_pull_from_is_refused(
    place: Place, id: str, name: str, said: dict[str, Any], registry: str
) -> None:
    """Nothing is pulled across regions, or from another cloud."""
    recipe = place.recipe(targets=[{"name": name, **said}])
    assert id in errors(check_recipe(recipe, place.world(), registry=registry))
    assert id not in errors(check_recipe(recipe, place.world()))


def test_the_same_region_has_several_names(place: Place) -> None:
    """iad is us-ashburn-1: a false alarm would stop a right deployment."""
    for host in ("iad.ocir.io", "us-ashburn-1.ocir.io", "ocir.us-ashburn-1.oci.oraclecloud.com"):
        for region in ("iad", "us-ashburn-1"):
            recipe = place.recipe(targets=[{"name": "oci-data-science", "region": region}])
            found = errors(check_recipe(recipe, place.world(), registry=f"{host}/tenancy"))
            assert not found & {"ODS-10", "ODS-11"}


def test_a_login_under_another_name_of_the_registry_is_told(monkeypatch: pytest.MonkeyPatch, place: Place) -> None:
    """The platform's own guide logs in to kix.ocir.io and pushes to ap-osaka-1.ocir.io: the push has no login."""
    monkeypatch.setenv("MODELPACK_KIX_OCIR_IO_USERNAME", "me")
    monkeypatch.setenv("MODELPACK_KIX_OCIR_IO_PASSWORD", "token")
    recipe = place.recipe(targets=["oci-genai"])
    assert "UNI-10" in errors(check_recipe(recipe, place.world(), registry="ap-osaka-1.ocir.io/tenancy"))
    assert "UNI-10" not in errors(check_recipe(recipe, place.world(), registry="kix.ocir.io/tenancy"))


def test_a_base_without_a_shell_is_refused_for_modelcars(place: Place) -> None:
    """KServe's sidecar is a shell command: scratch has none, and an image volume needs none."""
    place.hub.add("org/onnx", {"1/model.onnx": b"x"})
    recipe = place.recipe(model="hf://org/onnx", base="scratch", targets=["kserve"])
    assert errors(check_recipe(recipe, place.world())) == {"KS-02"}
    assert errors(check_recipe(recipe, place.world(), ["kserve:native", "kubernetes"])) == set()


def test_a_waived_rule_is_told_with_its_reason(place: Place) -> None:
    """Who accepts a breach says why, and everybody reads it."""
    reason = "the cluster has a runtime of our own"
    recipe = place.recipe(targets=["kserve"], waive=[{"rule": "KS-13", "reason": reason}])
    found = check_recipe(recipe, place.world())
    assert [one.waived for one in found[0].findings if one.rule.id == "KS-13"] == [reason]
    place.build(recipe)
    assert any(isinstance(event, Warned) and reason in event.hint for event in place.events)


def test_a_waiver_of_no_rule_is_refused(place: Place) -> None:
    """A misspelt id would waive nothing, and nobody would know."""
    recipe = place.recipe(targets=["kserve"], waive=[{"rule": "KS-99", "reason": "x"}])
    with pytest.raises(InvalidInput, match="KS-99"):
        check_recipe(recipe, place.world())


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, {"SM-04"}),
        ({"serve": True}, set()),
        ({"entrypoint": ["python3"], "command": ["app.py"]}, set()),
        ({"command": ["serve"]}, set()),
    ],
)
def test_sagemakers_own_word_is_not_what_a_server_is_started_as(
    place: Place, said: dict[str, Any], expected: set[str]
) -> None:
    """SageMaker starts IMAGE serve: a container without a program of that name ends with 127, after the push."""
    server = {"kind": "server", "command": ["python3", "app.py"], "user": "0", "targets": ["sagemaker"], **said}
    recipe = place.recipe(**server)
    (found,) = check_recipe(recipe, place.world())
    assert errors((found,)) == expected
    if expected:
        assert {one.do for one in found.findings if one.rule.id == "SM-04"} == {"write serve: true in the recipe"}
        with pytest.raises(CheckFailed, match="SM-04"):
            place.build(recipe)


def test_no_check_is_loud(place: Place) -> None:
    """Who skips the check should see that in the log of the build."""
    recipe = place.recipe(targets=[{"name": "kserve", "server": "vllm"}])
    with pytest.raises(CheckFailed):
        place.build(recipe)
    place.build(recipe, check=False)
    assert any(isinstance(event, Warned) and "not checked" in event.text for event in place.events)


def test_an_unknown_target_is_refused_at_its_line(place: Place) -> None:
    """A misspelt target would check nothing."""
    path = place.folder / "recipe.yaml"
    path.write_text("kind: modelcar\nname: x\nmodel: hf://org/granite\ntargets:\n  - kserve\n  - kserv\n")
    with pytest.raises(InvalidInput) as refused:
        load(path)
    assert [(one.where.rpartition("recipe.yaml")[2], one.what) for one in refused.value.problems] == [
        (":6: targets[1]", "there is no target 'kserv'")
    ]


@pytest.mark.parametrize("first", ["oci-data-science", "kserve:modelcar"])
def test_a_target_that_is_named_twice_is_refused(place: Place, first: str) -> None:
    """The second would take the first one's place in silence, and what is deployed has the ports of another region."""
    second = f"{{name: {first.partition(':')[0]}}}"
    path = place.folder / "recipe.yaml"
    path.write_text(f"kind: modelcar\nname: x\nmodel: hf://org/granite\ntargets:\n  - {first}\n  - {second}\n")
    with pytest.raises(InvalidInput) as refused:
        load(path)
    (found,) = refused.value.problems
    assert found.where.endswith("recipe.yaml:4: targets")
    assert (found.what, "second recipe" in found.hint) == (f"names '{first}' twice", True)
    path.write_text(path.read_text().replace(second, "kserve:native").replace(first, "kserve"))
    assert [target.name for target, _ in chosen_targets(load(path), ())] == ["kserve:modelcar", "kserve:native"]


def test_an_entrypoint_of_the_base_is_taken_away_for_modelcars(place: Place) -> None:
    """KServe sends arguments alone: an entrypoint of the base would swallow them."""
    put_base(place.registry, entrypoint=["/usr/bin/tini"])
    place.hub.add("org/onnx", {"1/model.onnx": b"x"})
    place.build(place.recipe(model="hf://org/onnx", targets=["kserve"]))
    assert "Entrypoint" not in place.served()[1].process
    place.build(place.recipe(model="hf://org/onnx", targets=["kubernetes"]))
    assert place.served()[1].process["Entrypoint"] == ["/usr/bin/tini"]


@pytest.mark.parametrize(
    ("targets", "form"), [(["kserve"], None), (["modelarts", "vertex"], "docker"), (["sagemaker"], "docker")]
)
def test_the_form_of_the_manifest_follows_the_targets(place: Place, targets: list[str], form: str | None) -> None:
    """SWR and SageMaker refuse OCI manifests."""
    assert form_for(place.recipe(targets=targets)) == form


def test_an_entrypoint_that_the_kind_sets_stays() -> None:
    """A server that is to be started would not be."""
    empty = Plan("x", None, (Platform("linux", "amd64"),), {}, (), {}, lambda: "FROM scratch\n")
    assert adapted(empty, ["kserve"]).containerfile.endswith("ENTRYPOINT []\n")
    own = replace(empty, process={"Entrypoint": ["serve"]})
    assert adapted(own, ["kserve"]) is own


CONTAINERFILES = [
    ("UNI-02", Severity.ERROR, "FROM a@sha256:1\nARG repo_id\nARG token\nRUN hf download --token ${token}\n"),
    ("UNI-02", Severity.ERROR, "FROM a@sha256:1\nARG HF_TOKEN=\n"),
    ("UNI-06", Severity.WARNING, "FROM python:3.11-slim\n"),
    ("UNI-06", Severity.WARNING, "FROM a@sha256:1\nCOPY --from=ghcr.io/astral-sh/uv:latest /uv /bin/uv\n"),
    ("UNI-11", Severity.WARNING, "FROM a@sha256:1\nRUN pip install x && \\\n  huggingface-cli download y\n"),
    ("UNI-11", Severity.WARNING, "FROM ubuntu:16.04\n"),
    ("OGH-06", Severity.ERROR, "FROM a@sha256:1\nENV PORT=8080\n"),
]


@pytest.mark.parametrize(
    ("id", "severity", "text"), CONTAINERFILES, ids=[f"{one[0]}-{n}" for n, one in enumerate(CONTAINERFILES)]
)
def test_lines_that_people_copy_from_guides_are_told(id: str, severity: Severity, text: str) -> None:
    """The platforms' own guides show lines that leak a token, or that have stopped working."""
    config = ImageConfig.empty(Platform("linux", "amd64"))

    def found(written: str) -> set[tuple[str, Severity]]:
        plan = Plan("x", None, (Platform("linux", "amd64"),), {}, (), {}, lambda: written)
        subject = Subject(settings_of("oci-genai"), "", Given(plan=plan, config=config, files=Files(())))
        judged = judge(subject, target_named("oci-genai").rules, "oci-genai")
        return {(one.rule.id, one.severity) for one in judged.findings}

    assert (id, severity) in found(text)
    right = "FROM a@sha256:1 AS tools\nARG repo_id\nFROM tools\nRUN --mount=type=secret,id=hf_token hf download x\n"
    assert id not in {one for one, _ in found(right)}


def test_what_the_recipe_says_is_judged_without_a_network(place: Place) -> None:
    """On a train the ports, variables and references are as right or wrong as anywhere."""
    recipe = place.recipe(base="127.0.0.1:9/none/base:v1", targets=[{"name": "oci-data-science", "port": 80}])
    found = check_recipe(recipe, place.world(), registry="quay.io/org")
    assert errors(found) == {"ODS-03", "ODS-10"}
    assert "ODS-06" in {one.rule.id for one in found[0].unjudged}
    assert any(isinstance(event, Warned) and "only the recipe" in event.text for event in place.events)
    alone = check_recipe(place.recipe(base="127.0.0.1:9/none/base:v1"), place.world(), ["kserve"])
    assert (failed(alone, strict=False), failed(alone, strict=True)) == (False, True)


def test_what_a_recipe_names_and_nobody_has_is_no_lack_of_a_network(place: Place) -> None:
    """A base or model that is not there passes the check of every pipeline, and the build fails."""
    gone = f"{place.registry.address}/gone/base:v1"
    with pytest.raises(InvalidInput, match=f"there is no image {gone}"):
        check_recipe(place.recipe(base=gone), place.world(), ["kserve"])
    with pytest.raises(SourceFailed, match="org/gone"):
        check_recipe(place.recipe(model="hf://org/gone"), place.world(), ["kserve"])


def test_a_base_that_its_mirror_lacks_is_told_by_the_mirror(place: Place) -> None:
    """The public registry has it, as everybody can see: who reads that it has not looks in the wrong place."""
    mirror = f"{place.registry.address}/mirror"
    (place.folder / "modelpack.yaml").write_text(f"mirrors: {{docker.io: {mirror}}}\n")
    recipe = place.recipe(base="docker.io/library/busybox:1.36")
    with pytest.raises(InvalidInput, match=f"its mirror has no {mirror}/library/busybox:1.36"):
        check_recipe(recipe, place.world(), ["kserve"])


def test_loopback_is_no_place_to_judge(place: Place) -> None:
    """Whoever tries a push to a registry on this machine is not told that no platform pulls from it."""
    recipe = place.recipe(targets=["oci-genai"])
    found = check_recipe(recipe, place.world(), registry=place.registry.address)
    assert "OGH-11" in {one.rule.id for one in found[0].unjudged}
    assert Reference.parse(f"{place.registry.address}/x").host.startswith("127.")
