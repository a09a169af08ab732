"""Bill of materials, provenance, licenses: attached to what was pushed, and read back by others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from buildkit import flow
from buildkit.errors import InvalidInput, RegistryFailed
from buildkit.events import Said, Warned
from buildkit.oci.reference import Digest
from buildkit.policy import Policy
from buildkit.trust import referrers
from buildkit.trust.attestation import attest
from buildkit.trust.provenance import TYPE as PROVENANCE
from buildkit.trust.sbom import TYPE as SBOM
from tests.fakes.faults import Hangup, Status
from tests.fakes.registry import Registry
from tests.place import FILES, Place, put_base, uploads

CARD = {"license": "apache-2.0", "language": ["en"], "datasets": ["org/data"], "pipeline_tag": "text-generation"}


@pytest.fixture
def pushed(place: Place) -> Place:
    place.hub.add("org/granite", FILES, card=CARD)
    place.build()
    return place


def documents(place: Place) -> dict[str, Any]:
    store = place.world().repository(
        place.world().settings.registry(f"{place.registry.address}/models").repository("granite")
    )
    digest = Digest(place.registry.tags["models/granite"]["v1"])
    found = referrers.listed(store, digest)
    assert len({one.type for one in found}) == len(found), "an artifact is listed twice"
    return {one.type: json.loads(referrers.content(store, one)) for one in found}


@pytest.mark.parametrize(("api", "header"), [(True, None), (False, None), (False, True)])
def test_what_is_attached_is_found_whatever_the_registry_can(pushed: Place, api: bool, header: bool | None) -> None:
    """A scanner finds no bill of materials on a registry without the API, or on one that only says it had it."""
    pushed.registry.behaviour.referrers = api
    pushed.registry.behaviour.subject_header = header
    first = attest(pushed.recipe(), pushed.world())
    assert {one.type for one in first} == {SBOM, PROVENANCE}
    assert set(documents(pushed)) == {SBOM, PROVENANCE}
    assert (
        any(tag.startswith("sha256-") and "." not in tag for tag in pushed.registry.tags["models/granite"]) is not api
    )
    assert attest(pushed.recipe(), pushed.world()) == first, "attesting again makes another artifact"
    assert set(documents(pushed)) == {SBOM, PROVENANCE}


def test_the_bill_is_what_its_schema_says_and_names_everything(pushed: Place) -> None:
    """Tools refuse the bill, or it leaves out the license, a file, or the base."""
    attest(pushed.recipe(), pushed.world())
    bill = documents(pushed)[SBOM]
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill)) is None
    by_reference = {one["bom-ref"]: one for one in bill["components"]}
    model = by_reference["source:model"]
    assert model["type"] == "machine-learning-model"
    assert model["purl"].startswith("pkg:huggingface/org/granite@")
    assert model["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert model["modelCard"]["modelParameters"]["task"] == "text-generation"
    assert {one["name"] for one in model["components"]} == set(FILES)
    large = next(one for one in model["components"] if one["name"].startswith("model-00001"))
    assert large["hashes"][0]["alg"] == "SHA-256"
    assert by_reference["base:base"]["version"].startswith("sha256:")
    assert bill["metadata"]["component"]["version"] == pushed.registry.tags["models/granite"]["v1"]
    said = [event.text for event in pushed.events if isinstance(event, Said)]
    assert any("org/granite" in text and "apache-2.0" in text for text in said), "the license is not shown"


def test_every_license_is_in_the_bill(place: Place) -> None:
    """Who reads the bill sees the license that allows everything, and not the one beside it."""
    card = {"license": ["mit", "cc-by-nc-4.0", "other"], "license_name": "acme", "license_link": "https://acme.example"}
    place.hub.add("org/granite", FILES, card=card)
    place.build()
    attest(place.recipe(), place.world())
    model = next(one for one in documents(place)[SBOM]["components"] if one["bom-ref"] == "source:model")
    told = [one["license"] for one in model["licenses"]]
    assert sorted(one.get("id") or one["name"] for one in told) == ["CC-BY-NC-4.0", "MIT", "acme"]
    assert [one.get("url") for one in told if one.get("name") == "acme"] == ["https://acme.example"]


def test_provenance_is_enough_to_build_the_same_image(pushed: Place, tmp_path: Path) -> None:
    """An auditor rebuilds from what provenance names and gets another image."""
    attest(pushed.recipe(), pushed.world())
    statement = documents(pushed)[PROVENANCE]
    digest = pushed.registry.tags["models/granite"]["v1"]
    assert statement["subject"][0]["digest"]["sha256"] == digest.removeprefix("sha256:")
    build = statement["predicate"]["buildDefinition"]
    pushed.hub.add("org/granite", {"other": b"files by now"})
    again = Place(tmp_path / "elsewhere", pushed.hub, pushed.registry, [])
    again.folder.mkdir()
    (again.folder / "modelpack.yaml").write_text((pushed.folder / "modelpack.yaml").read_text())
    (again.folder / "recipe.lock").write_text(json.dumps(build["internalParameters"]["lock"]))
    recipe = again.recipe(**build["externalParameters"]["recipe"])
    assert again.build(recipe, push=False).sealing.digest == digest


def test_nothing_to_attest_is_said(place: Place) -> None:
    """An image that nobody pushed is attested somewhere."""
    with pytest.raises(InvalidInput, match="was not pushed yet"):
        attest(place.recipe(), place.world())
    place.build()
    with pytest.raises(InvalidInput, match="changed since"):
        attest(place.recipe(labels={"a": "b"}), place.world())


def test_an_image_is_not_described_with_inputs_that_it_was_not_made_from(pushed: Place) -> None:
    """A bill says that files are in an image which were locked after it was made, and a scanner clears the wrong ones."""
    images = pushed.lock.read_text()
    pushed.hub.add("org/granite", {**FILES, "config.json": b"{}"}, card=CARD)
    flow.lock(pushed.recipe(), pushed.world(), Policy.UPGRADE)
    with pytest.raises(InvalidInput, match="newer inputs than its image") as refused:
        attest(pushed.recipe(), pushed.world())
    assert "model: was locked anew" in str(refused.value)
    pushed.lock.write_text(images)
    reference = json.loads(images)["pins"]["images"]["base"]["reference"]
    pushed.lock.write_text(images.replace(reference, reference.partition("@")[0] + f"@sha256:{'0' * 64}"))
    with pytest.raises(InvalidInput, match="newer inputs than its image") as refused:
        attest(pushed.recipe(), pushed.world())
    assert "base: was locked anew" in str(refused.value)
    assert documents(pushed) == {}
    recipe = pushed.recipe(labels={"a": "b"})
    pushed.lock.write_text(images)
    flow.lock(recipe, pushed.world(), Policy.KEEP)
    with pytest.raises(InvalidInput, match="newer inputs than its image"):
        attest(recipe, pushed.world())
    pushed.build(recipe)
    assert attest(recipe, pushed.world())


@pytest.mark.parametrize(
    ("card", "rule", "refused"),
    [
        ({"license": "cc-by-nc-4.0"}, {"forbid": ["non-commercial"]}, True),
        ({"license": "other", "license_name": "acme-research-license"}, {"forbid": ["non-commercial"]}, True),
        ({"license": "apache-2.0"}, {"forbid": ["non-commercial"]}, False),
        ({"license": "llama3.1"}, {"forbid": ["llama*"]}, True),
        ({"license": "mit"}, {"allow": ["apache-2.0", "bsd-*"]}, True),
        ({"license": "bsd-3-clause"}, {"allow": ["apache-2.0", "bsd-*"]}, False),
        ({}, {"forbid": ["unknown"]}, True),
        ({}, {"forbid": ["gpl*"]}, False),
        ({"license": ["mit", "cc-by-nc-4.0"]}, {"forbid": ["cc-by-nc-*"]}, True),
        ({"license": ["mit", "cc-by-nc-4.0"]}, {"forbid": ["non-commercial"]}, True),
        ({"license": ["mit", "cc-by-nc-4.0"]}, {"allow": ["mit"]}, True),
        ({"license": ["mit", "other"], "license_name": "acme"}, {"allow": ["mit"]}, True),
        ({"license": ["mit", "other"], "license_name": "acme"}, {"allow": ["mit", "acme"]}, False),
        ({"license": ["mit", "apache-2.0"]}, {"allow": ["mit", "apache-*"]}, False),
    ],
)
def test_a_forbidden_license_stops_a_build(
    place: Place, card: dict[str, object], rule: dict[str, list[str]], refused: bool
) -> None:
    """A model that may not be sold is in production."""
    place.hub.add("org/granite", FILES, card=card)
    settings = json.loads((place.folder / "modelpack.yaml").read_text()) | {"licenses": rule}
    (place.folder / "modelpack.yaml").write_text(json.dumps(settings))
    if not refused:
        place.build()
        return
    with pytest.raises(InvalidInput, match="a license is forbidden") as caught:
        place.build()
    assert "org/granite" in str(caught.value)
    assert not place.registry.tags.get("models/granite")


def test_a_gated_model_is_told_and_can_be_forbidden(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody notices that a model needs an agreement."""
    place.hub.token = "hf_" + "x" * 34
    monkeypatch.setenv("HF_TOKEN", place.hub.token)
    place.hub.add("org/granite", FILES, card={"license": "apache-2.0"}, gated=True)
    settings = json.loads((place.folder / "modelpack.yaml").read_text()) | {"licenses": {"forbid": ["gated"]}}
    (place.folder / "modelpack.yaml").write_text(json.dumps(settings))
    with pytest.raises(InvalidInput, match="gated is forbidden"):
        place.build()


@pytest.mark.parametrize(
    ("card", "gated", "told"),
    [
        ({"license": "cc-by-nc-4.0"}, False, "org/granite has cc-by-nc-4.0 (non-commercial)"),
        ({"license": "llama3.1"}, True, "org/granite has llama3.1 (gated)"),
        ({"license": ["mit", "cc-by-nc-4.0"]}, False, "org/granite has mit, cc-by-nc-4.0 (non-commercial)"),
        ({"license": "apache-2.0"}, False, None),
    ],
)
def test_what_a_license_forbids_is_told_without_being_asked(
    place: Place, card: dict[str, object], gated: bool, told: str | None
) -> None:
    """Somebody without a policy finds in court what the model's card said all the time."""
    place.hub.add("org/granite", FILES, card=card, gated=gated)
    before = len(place.hub.requests)
    flow.lock(place.recipe(), place.world(), Policy.KEEP)
    said = [event.text for event in place.events if isinstance(event, Said) and "org/granite" in event.text]
    assert said == ([told] if told else [])
    assert len(place.hub.requests) - before == 2, "the revision, the files: nothing is asked for the card"


def test_python_packages_are_in_the_bill(place: Place) -> None:
    """A vulnerability in a package is looked for in a bill that does not name it."""
    info = "site-packages/my_agent-1.2.3.dist-info/METADATA"
    place.hub.add("org/granite", {**FILES, info: b"Name: my-agent", "x-1.dist-info/RECORD": b""}, card=CARD)
    place.build()
    attest(place.recipe(), place.world())
    libraries = [one for one in documents(place)[SBOM]["components"] if one["type"] == "library"]
    assert [(one["name"], one["version"], one["purl"]) for one in libraries] == [
        ("my_agent", "1.2.3", "pkg:pypi/my-agent@1.2.3")
    ]


def test_python_packages_of_a_base_are_in_the_bill(place: Place) -> None:
    """Nearly every base is compressed, and its packages are the ones that nobody of the team has chosen."""
    place.hub.add("org/granite", FILES, card=CARD)
    info = "usr/lib/python3.12/site-packages/{}.dist-info/METADATA"
    installed = [info.format(name) for name in ("pip-23.0", "pip-24.0", "wheel-0.43")]
    put_base(place.registry, "library/python", programs=["bin/sh", *installed], zipped=True)
    place.build(place.recipe(base=f"{place.registry.address}/library/python:latest"))
    attest(place.recipe(base=f"{place.registry.address}/library/python:latest"), place.world())
    bill = documents(place)[SBOM]
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill)) is None
    libraries = [one["bom-ref"] for one in bill["components"] if one["type"] == "library"]
    assert libraries == ["python:pip@23.0", "python:pip@24.0", "python:wheel@0.43"]
    assert "compositions" not in bill


def test_a_bill_that_lacks_packages_says_so(pushed: Place) -> None:
    """A registry sends no parts of a layer, and an auditor reads in a signed document that there are no packages."""
    pushed.registry.behaviour.ranges = False
    first = attest(pushed.recipe(), pushed.world())
    bill = documents(pushed)[SBOM]
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill)) is None
    image = bill["metadata"]["component"]["bom-ref"]
    assert bill["compositions"] == [{"aggregate": "incomplete", "assemblies": [image]}]
    told = [event for event in pushed.events if isinstance(event, Warned) and "Python packages" in event.text]
    assert len(told) == 1
    assert "does not serve parts of a layer" in told[0].text
    assert attest(pushed.recipe(), pushed.world()) == first, "attesting again makes another artifact"


def test_packages_are_read_where_they_can_be(place: Place) -> None:
    """One of two registries serves no parts of layers, and the bill is incomplete though the other one tells everything."""
    place.hub.add("org/granite", {**FILES, "site-packages/my_agent-1.2.3.dist-info/METADATA": b""}, card=CARD)
    with Registry() as other:
        both = sorted((place.registry, other), key=lambda registry: registry.address)
        wanted = flow.Wanted("embedded", registry=f"{both[0].address}/models", also=(f"{both[1].address}/models",))
        flow.build(place.recipe(), place.world(), wanted)
        both[0].behaviour.ranges = False
        attest(place.recipe(), place.world())
    bill = documents(place)[SBOM]
    assert [one["name"] for one in bill["components"] if one["type"] == "library"] == ["my_agent"]
    assert "compositions" not in bill


def test_a_registry_that_is_down_is_not_an_image_without_packages(pushed: Place) -> None:
    """A registry falters for a minute, and the bill of that minute, which is signed, names no package."""
    pushed.registry.faults.add(Hangup(), method="GET", path="/blobs/", times=None)
    with pytest.raises(RegistryFailed):
        attest(pushed.recipe(), pushed.world())
    assert pushed.registry.faults.fired
    pushed.registry.faults.clear()
    assert documents(pushed) == {}


def test_the_settings_attest_every_push(place: Place) -> None:
    """A nightly rebuild leaves images about which nobody can tell anything."""
    place.hub.add("org/granite", FILES, card=CARD)
    attesting(place)
    place.build()
    assert set(documents(place)) == {SBOM, PROVENANCE}
    sent = len(place.registry.requests)
    place.build()
    assert len(place.registry.requests) - sent < 9, "an image that did not move is attested again"


def attesting(place: Place) -> None:
    settings = json.loads((place.folder / "modelpack.yaml").read_text()) | {"attest": {}}
    (place.folder / "modelpack.yaml").write_text(json.dumps(settings))


def test_a_push_that_ends_before_its_bill_is_not_done(place: Place) -> None:
    """A rebuild that ends at that moment would leave an image of which nobody can tell anything, and tags that moved untold."""
    attesting(place)
    place.registry.faults.add(Status(507), method="POST", path="uploads", skip=3, times=None)
    with pytest.raises(RegistryFailed, match="507") as raised:
        place.build()
    served = f"{place.registry.address}/models/granite:v1@{place.registry.tags['models/granite']['v1']}"
    assert f"{served} was pushed, but what is known of it could not be attached: " in str(raised.value)
    assert not place.lock.exists(), "the image counts as done"
    place.registry.faults.clear()
    sent = uploads(place.registry)
    place.build()
    assert set(documents(place)) == {SBOM, PROVENANCE}
    assert uploads(place.registry) - sent < 20_000, "the model was sent again"
    assert place.lock.exists()


def test_a_registry_that_is_down_keeps_no_bill_from_the_others(place: Place) -> None:
    """One mirror is down for a night: the others' images must have all that belongs to them."""
    attesting(place)
    with Registry() as other:
        wanted = flow.Wanted("embedded", registry=f"{place.registry.address}/models", also=(f"{other.address}/a",))
        flow.build(place.recipe(), place.world(), wanted)
        recipe = place.recipe(labels={"a": "b"})
        other.faults.add(Status(503), times=None)
        done = flow.build(recipe, place.world(), wanted)
    assert list(done.failed) == [f"{other.address}/a/granite"]
    assert set(documents(place)) == {SBOM, PROVENANCE}
    assert json.loads(place.lock.read_text())["images"]["linux/amd64"]["manifest"]["digest"] == done.sealing.digest
