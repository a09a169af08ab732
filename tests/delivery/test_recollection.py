"""What a repository's images tell of its layers: if these fail, a machine without the lock sends a model that is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from buildkit import flow
from buildkit.delivery.recollection import remembers_nothing
from buildkit.errors import InvalidInput, RegistryFailed
from buildkit.oci.reference import Reference
from buildkit.sources import digests
from tests.fakes.faults import Cut, Status
from tests.fakes.registry import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from tests.place import FILES, Place, put_base, uploads


@pytest.fixture
def elsewhere(place: Place, private_home: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A place whose image is pushed, met by another machine: without the lock, and without what the first remembers."""
    place.build(place.recipe(layers="per-file", tags=["v9"]))
    place.lock.unlink()
    monkeypatch.setenv("MODELPACK_CACHE_DIR", str(private_home / "another machine's"))
    place.registry.log.clear()
    return place


@pytest.mark.parametrize("tags", [["v10"], ["{digest}"], ["v10", "v9"]])
def test_layers_are_known_under_another_tag(elsewhere: Place, tags: list[str]) -> None:
    """A pipeline that tags every run anew, and commits no lock, would send all of the model each time."""
    elsewhere.build(elsewhere.recipe(layers="per-file", tags=tags))
    assert uploads(elsewhere.registry) < 10_000, "a layer was sent again"
    assert len(elsewhere.registry.tags["models/granite"]) == 2


def test_only_the_newest_images_are_looked_at(elsewhere: Place) -> None:
    """Hundreds of versions must not cost hundreds of requests; nor signatures and marks any."""
    name = f"{elsewhere.registry.address}/models/granite"
    served = elsewhere.registry.tags["models/granite"]["v9"]
    names = [f"v{number}" for number in range(1, 9)] + ["sha256-" + "a" * 64 + ".sig", "modelpack-layer-zz", "base"]
    raw = elsewhere.world().repository(Reference.parse(name)).resolve(served)
    assert raw is not None
    for tag in names:
        elsewhere.registry.put_manifest("models/granite", raw.raw, raw.media_type, tag)
    for number in range(20, 24):
        put_base(elsewhere.registry, "models/granite", b"another", tag=f"v{number}")
    elsewhere.build(elsewhere.recipe(layers="per-file", tags=["new"]))
    asked = [one.path.rpartition("/")[2] for one in elsewhere.registry.requests if "/granite/manifests/v" in one.path]
    assert asked == ["v23", "v22", "v21"]
    assert uploads(elsewhere.registry) > sum(map(len, FILES.values()))


LISTLESS = {
    "denied": Status(403), "unknown": Status(404), "unsupported": Status(405), "broken": Status(500), "cut": Cut(5),
    "a page": Status(200, body=b"<html>"), "something else": Status(200, body=b'{"tags": {"a": [7]}}'),
    "too long": Status(200, body=bytes(5 << 20)),
}  # fmt: skip


@pytest.mark.parametrize("fault", LISTLESS.values(), ids=LISTLESS)
def test_a_registry_that_does_not_list_its_tags_gets_the_image(elsewhere: Place, fault: object) -> None:
    """The list only saves bytes: no push may fail for want of it."""
    elsewhere.registry.faults.add(fault, path="tags/list")  # type: ignore[arg-type]
    elsewhere.build(elsewhere.recipe(layers="per-file", tags=["v10"]))
    assert elsewhere.registry.faults.fired
    assert elsewhere.registry.tags["models/granite"]["v10"]


def test_all_pages_of_a_list_are_read(elsewhere: Place) -> None:
    """Registries give the first tags by the alphabet first, and those are the oldest."""
    elsewhere.registry.behaviour.page_size = 2
    home = elsewhere.world().repository(Reference.parse(f"{elsewhere.registry.address}/models/granite"))
    for number in range(5):
        put_base(elsewhere.registry, "models/granite", tag=f"a{number}")
    assert home.tags() == ("a0", "a1", "a2", "a3", "a4", "v9")
    nowhere = elsewhere.world().repository(Reference.parse(f"{elsewhere.registry.address}/models/none"))
    assert nowhere.tags() == () and remembers_nothing(nowhere, ["v1"])
    assert not remembers_nothing(home, ["v1"])


def test_a_folder_is_hashed_first_where_its_layers_may_be_known(
    elsewhere: Place, private_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read on its way it would be sent before anybody could know that it is there."""
    monkeypatch.setattr(digests, "LARGE", 100_000)
    for path, content in FILES.items():
        file = elsewhere.folder / "models" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    elsewhere.build(elsewhere.recipe(model="./models", tags=["v10"]))
    assert uploads(elsewhere.registry) > 1_000_000
    elsewhere.lock.unlink()
    monkeypatch.setenv("MODELPACK_CACHE_DIR", str(private_home / "a third machine's"))
    elsewhere.registry.log.clear()
    elsewhere.build(elsewhere.recipe(model="./models", tags=["v11"]))
    assert uploads(elsewhere.registry) < 10_000, "a layer was sent again"


_BLOB = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "size": 1}
_SHA512 = [{**_BLOB, "digest": "sha512:" + "0" * 128}]
_CONFIG = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "sha256:" + "0" * 64, "size": 2}
ILLEGIBLE = {
    "schema 1": ("application/vnd.docker.distribution.manifest.v1+prettyjws", {"schemaVersion": 1, "fsLayers": []}),
    "an artifact": ("application/vnd.oci.artifact.manifest.v1+json", {"artifactType": "x", "blobs": []}),
    "an empty index": (OCI_INDEX, {"schemaVersion": 2, "manifests": None}),
    "sha512": (OCI_MANIFEST, {"schemaVersion": 2, "config": _CONFIG, "layers": _SHA512}),
    "a config that is not there": (DOCKER_MANIFEST, {"schemaVersion": 2, "config": _CONFIG, "layers": []}),
    "a page": ("text/html", "<html>"),
    "cut JSON": (OCI_MANIFEST, '{"schemaVersion": 2, "config'),
}


@pytest.mark.parametrize("form", ["oci", "docker"])
@pytest.mark.parametrize(("media_type", "content"), ILLEGIBLE.values(), ids=list(ILLEGIBLE))
def test_whatever_is_under_a_tag_can_be_replaced(place: Place, media_type: str, content: object, form: str) -> None:
    """What somebody once left under a tag would stop every push that mends it, and the other registries with it."""
    raw = (content if isinstance(content, str) else json.dumps(content)).encode()
    for _ in range(2):
        junk = place.registry.put_manifest("models/granite", raw, media_type, "v1")
        place.build(form=form)
        assert place.registry.tags["models/granite"]["v1"] != junk
        place.lock.unlink()


@pytest.mark.parametrize("form", ["oci", "docker"])
def test_an_image_that_is_withheld_can_be_replaced(elsewhere: Place, form: str) -> None:
    """Harbor answers 412 to who pulls a vulnerable image: the repaired one could never be pushed over it."""
    elsewhere.registry.faults.add(Status(412), method="GET", path="/granite/manifests/v9", times=None)
    recipe = elsewhere.recipe(layers="per-file", tags=["v9"], labels={"org.example.x": "repaired"})
    delivered = elsewhere.build(recipe, form=form)
    assert elsewhere.registry.faults.fired
    assert elsewhere.registry.tags["models/granite"]["v9"] == delivered.sealing.digest
    assert elsewhere.build(recipe, form=form).unchanged


def test_a_tag_that_must_not_move_stays_although_nobody_may_read_it(elsewhere: Place) -> None:
    """A release that the registry keeps to itself, or tells nothing of, is a release all the same."""
    recipe = elsewhere.recipe(tags=["v9"], immutable=True, labels={"org.example.x": "another"})
    before = elsewhere.registry.tags["models/granite"]["v9"]
    elsewhere.registry.faults.add(Status(412), method="GET", path="/granite/manifests/v9", times=None)
    with pytest.raises(InvalidInput, match="a tag would move"):
        elsewhere.build(recipe)
    elsewhere.registry.faults.add(Status(412), method="HEAD", path="/granite/manifests/v9", times=None)
    with pytest.raises(RegistryFailed, match="models/granite:v9 failed"):
        elsewhere.build(recipe)
    assert elsewhere.registry.tags["models/granite"]["v9"] == before


def test_one_tag_that_cannot_be_read_stops_no_other_registry(place: Place) -> None:
    """A registry whose tag holds rubbish would keep the others from their image."""
    place.registry.put_manifest("other/granite", b"<html>", "text/html", "v1")
    address = place.registry.address
    wanted = flow.Wanted("embedded", registry=f"{address}/models", also=(f"{address}/other",))
    digest = flow.build(place.recipe(), place.world(), wanted).sealing.digest
    assert place.registry.tags["models/granite"]["v1"] == place.registry.tags["other/granite"]["v1"] == digest
