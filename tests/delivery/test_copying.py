"""``modelpack copy``: if these fail, a copy is another image, or its layers travel more often than they must."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildkit import flow
from buildkit.checks.examine import examine
from buildkit.delivery.copying import Copied, Copy, copy
from buildkit.delivery.output import Output
from buildkit.errors import InvalidInput, RegistryFailed
from buildkit.events import Warned
from buildkit.oci.image import Blob
from buildkit.oci.layout import Layout
from buildkit.oci.manifest import DOCKER_INDEX, DOCKER_MANIFEST, Descriptor, Manifest
from buildkit.oci.reference import Digest, Reference
from buildkit.trust import referrers
from buildkit.trust.attestation import attest
from buildkit.trust.provenance import TYPE as PROVENANCE
from buildkit.trust.sbom import TYPE as SBOM
from tests.delivery.test_several_registries import docker_layers, downloads, sent_to
from tests.fakes.faults import Cut, Status
from tests.fakes.registry import OCI_INDEX, OCI_MANIFEST, Account, Registry
from tests.place import FILES, Place, uploads


@pytest.fixture
def other() -> Iterator[Registry]:
    with Registry() as registry:
        yield registry


def source(place: Place, tag: str = "v1") -> str:
    return f"{place.registry.address}/models/granite:{tag}"


def copied(place: Place, *registries: str, image: str | None = None, **wanted: object) -> Copied:
    return copy(Copy(image or source(place), registries, **wanted), place.world())  # type: ignore[arg-type]


def test_a_copy_has_the_same_digest(place: Place, other: Registry) -> None:
    """Whoever verified the image by its digest must find that digest in the other registry."""
    digest = place.build(place.recipe(layers="per-file")).sealing.digest
    done = copied(place, f"{other.address}/mirror")
    assert done.digests == {f"{other.address}/mirror/granite:v1": digest}
    assert other.tags["mirror/granite"] == {"v1": digest}
    assert other.manifest("mirror/granite", "v1").data == place.registry.manifest("models/granite", "v1").data
    before = uploads(other)
    assert copied(place, f"{other.address}/mirror").unchanged
    assert uploads(other) == before


def test_within_a_registry_layers_are_mounted(place: Place) -> None:
    """A promotion from staging to production moves no layer."""
    place.build()
    before = uploads(place.registry)
    copied(place, f"{place.registry.address}/production", tags=("stable", "v1"))
    assert set(place.registry.tags["production/granite"]) == {"stable", "v1"}
    assert uploads(place.registry) == before


@pytest.mark.parametrize("form", ["oci", "docker"])
@pytest.mark.parametrize("at_once", [True, False])
def test_two_repositories_of_another_registry_get_the_bytes_once(
    place: Place, other: Registry, form: str, at_once: bool
) -> None:
    """A mirror with a repository for each team would take the model over the line once for each of them."""
    place.build()
    places = (f"{other.address}/a", f"{other.address}/b")
    for registries in [places] if at_once else [(one,) for one in places]:
        place.registry.log.clear()
        copied(place, *registries, form=form)
    total = sum(map(len, FILES.values()))
    assert sent_to(other, "a/granite") > total
    assert sent_to(other, "b/granite") < 10_000
    assert (sum(one.response_bytes for one in place.registry.requests) < 10_000) is not at_once
    assert other.tags["a/granite"] == other.tags["b/granite"]


def test_a_manifest_is_put_once_by_its_digest(place: Place, other: Registry) -> None:
    """Every write of a manifest is an event that registries scan, replicate and count."""
    place.build()
    copied(place, f"{other.address}/a")
    puts = [one.path.rpartition("/")[2] for one in other.requests if one.method == "PUT" and "/manifests/" in one.path]
    assert puts == [other.tags["a/granite"]["v1"], "v1"]


def test_several_registries_share_one_reading(place: Place, other: Registry) -> None:
    """A copy to five registries must not read the source five times."""
    place.build()
    with Registry() as third:
        place.registry.log.clear()
        copied(place, f"{other.address}/a", f"{third.address}/b", name="renamed")
        assert other.tags["a/renamed"] == third.tags["b/renamed"] == place.registry.tags["models/granite"]
        total = sum(map(len, FILES.values()))
        assert total < sum(one.response_bytes for one in place.registry.requests) < 1.5 * total
    assert downloads(place) > 0


def test_a_registry_that_fails_is_told_and_the_others_get_it(place: Place, other: Registry) -> None:
    """One broken mirror must not keep the rest from being filled, and must have no tag."""
    place.build()
    other.faults.add(Status(507), method="PATCH", times=None)
    done = copied(place, f"{other.address}/a", f"{place.registry.address}/b")
    assert list(done.failed) == [f"{other.address}/a/granite"]
    assert list(done.digests) == [f"{place.registry.address}/b/granite:v1"]
    assert not other.tags.get("a/granite")
    with pytest.raises(RegistryFailed):
        copied(place, f"{other.address}/a")


def test_a_line_that_breaks_is_resumed(place: Place, other: Registry) -> None:
    """A cut in the middle of a layer, on either side, costs the copy."""
    place.build()
    place.registry.faults.add(Cut(1_000_000), method="GET", path="blobs", times=1)
    other.faults.add(Cut(700_000, "request"), method="PATCH", times=1)
    digest = copied(place, f"{other.address}/a").digests[f"{other.address}/a/granite:v1"]
    assert other.tags["a/granite"] == {"v1": digest}


def test_an_index_is_copied_with_all_below_it(place: Place, other: Registry) -> None:
    """A copy that lacks one platform is found out on the one machine that has it."""
    recipe = place.recipe(base="scratch", platforms=["linux/amd64", "linux/arm64"])
    digest = place.build(recipe).sealing.digest
    copied(place, f"{other.address}/a")
    assert other.tags["a/granite"] == {"v1": digest}
    index = json.loads(other.manifest("a/granite", "v1").data)
    assert [other.manifest("a/granite", one["digest"]).media_type for one in index["manifests"]] == [OCI_MANIFEST] * 2
    one = index["manifests"][1]["digest"]
    by_digest = copied(place, f"{other.address}/b", image=f"{place.registry.address}/models/granite@{one}")
    assert by_digest.digests == {f"{other.address}/b/granite": one}
    assert other.manifest("b/granite", one).digest == one


def test_a_layout_is_a_source(place: Place, other: Registry, tmp_path: Path) -> None:
    """What was built without a network is brought to a registry later."""
    output = Output("oci", tmp_path / "layout")
    digest = flow.build(place.recipe(), place.world(), flow.Wanted("embedded", output=output)).sealing.digest
    copied(place, f"{other.address}/a", image=f"oci:{tmp_path / 'layout'}")
    assert other.tags["a/granite"] == {"v1": digest}
    copied(place, f"{other.address}/a", image=f"oci:{tmp_path / 'layout'}:v1", name="b", tags=("{digest}",))
    assert other.tags["a/b"] == {digest.hex[:12]: digest}


def test_the_image_just_built_is_copied_from_a_layout_that_another_tool_wrote_to(
    place: Place, other: Registry, tmp_path: Path
) -> None:
    """What podman left under a whole reference is pushed under the name of the image just built."""
    folder = tmp_path / "layout"
    wanted = flow.Wanted("embedded", output=Output("oci", folder))
    older = flow.build(place.recipe(labels={"a": "b"}), place.world(), wanted).sealing
    Layout(folder).publish(older.document, "quay.example/other/granite:v1")
    digest = flow.build(place.recipe(), place.world(), wanted).sealing.digest
    copied(place, f"{other.address}/a", image=f"oci:{folder}:v1")
    assert other.tags["a/granite"] == {"v1": digest}
    copied(place, f"{other.address}/a", image=f"oci:{folder}:quay.example/other/granite:v1", name="b")
    assert other.tags["a/b"] == {"v1": older.digest}


def laid_out(place: Place, folder: Path) -> tuple[Layout, Manifest]:
    """An image in a layout on this disk."""
    layout = Layout(folder / "layout")
    wanted = flow.Wanted("embedded", output=Output("oci", layout.folder))
    return layout, Manifest.read(flow.build(place.recipe(), place.world(), wanted).sealing.document)


@pytest.mark.parametrize("part", ["layer", "config", "manifest"])
@pytest.mark.parametrize("several", [True, False])
def test_a_layout_that_lacks_a_blob_is_told_so(
    place: Place, other: Registry, tmp_path: Path, part: str, several: bool
) -> None:
    """The registry is blamed for a folder that was copied in part, after many retries."""
    layout, manifest = laid_out(place, tmp_path)
    top = manifest.document.digest
    digests = {"layer": manifest.layers[1].digest, "config": manifest.config.digest, "manifest": top}
    layout.path(digests[part]).unlink()
    registries = [f"{other.address}/a", *([f"{place.registry.address}/b"] if several else [])]
    with pytest.raises(InvalidInput, match=f"{digests[part].hex} is missing: the layout was not copied whole"):
        copied(place, *registries, image=f"oci:{layout.folder}")
    assert not other.tags.get("a/granite")


@pytest.mark.parametrize("several", [True, False])
@pytest.mark.parametrize("upload", ["patch", "put"])
def test_a_changed_byte_of_a_layout_is_the_layouts(
    place: Place, other: Registry, tmp_path: Path, upload: str, several: bool
) -> None:
    """Whoever copies a damaged folder is sent to a lock that there is not."""
    layout, manifest = laid_out(place, tmp_path)
    path = layout.path(manifest.layers[1].digest)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    content = {
        "registries": {
            "there": {"host": other.address, "prefix": "a", "type": "ghcr" if upload == "put" else "distribution"}
        }
    }
    (place.folder / "modelpack.yaml").write_text(json.dumps(content))
    registries = ["there", *([f"{place.registry.address}/b"] if several else [])]
    with pytest.raises(InvalidInput, match=f"{path.name} is damaged"):
        copied(place, *registries, image=f"oci:{layout.folder}")
    assert f"sha256:{path.name}" not in other.blobs
    assert not other.tags.get("a/granite")


@pytest.mark.parametrize("platforms", [["linux/amd64"], ["linux/amd64", "linux/arm64"]])
def test_a_registry_that_takes_dockers_form_alone_gets_a_converted_copy(
    place: Place, other: Registry, platforms: list[str]
) -> None:
    """SWR refuses OCI manifests: the copy has another digest there, the same config and the same files."""
    other.behaviour.media_types = frozenset({DOCKER_MANIFEST, DOCKER_INDEX})
    place.build(place.recipe(base="scratch", platforms=platforms))
    content = {"registries": {"huawei": {"host": other.address, "prefix": "org", "type": "swr"}}}
    (place.folder / "modelpack.yaml").write_text(json.dumps(content))
    done = copied(place, "huawei")
    top = other.manifest("org/granite", "v1")
    assert done.digests == {f"{other.address}/org/granite:v1": top.digest}
    found = [one["digest"] for one in json.loads(top.data).get("manifests", [])] or ["v1"]
    assert len(found) == len(platforms)
    for tag in found:
        assert docker_layers(other, "org/granite", tag) == {f"models/{name}": data for name, data in FILES.items()}
    assert copied(place, "huawei").unchanged
    back = copied(place, f"{place.registry.address}/back", image=f"{other.address}/org/granite:v1", form="oci")
    assert place.registry.manifest("back/granite", "v1").media_type == (
        OCI_INDEX if len(platforms) > 1 else OCI_MANIFEST
    )
    assert list(back.digests) == [f"{place.registry.address}/back/granite:v1"]


def test_a_tag_that_must_not_move_stays(place: Place, other: Registry) -> None:
    """A copy over a release would be a release that nobody made, and the refusal must come before the upload."""
    place.build()
    copied(place, f"{other.address}/a")
    first = dict(other.tags["a/granite"])
    place.build(place.recipe(labels={"org.example.x": "y"}))
    before = uploads(other)
    with pytest.raises(InvalidInput, match="a tag would move"):
        copied(place, f"{other.address}/a", immutable=True)
    assert (other.tags["a/granite"], uploads(other)) == (first, before)


def beside(place: Place, name: str, digest: str) -> dict[str, Digest]:
    """What is found beside an image, by its sort: as a tool finds it that knows of referrers."""
    store = place.world().repository(Reference.parse(name))
    found = referrers.listed(store, Digest(digest))
    assert all(referrers.content(store, one) for one in found)
    return {one.type: one.descriptor.digest for one in found}


def put_signature(place: Place, digest: Digest, *signatures: bytes) -> str:
    """What cosign leaves under its tag: an artifact with a layer for each signature."""
    store = place.world().repository(Reference.parse(source(place)))
    blobs = [Blob.of(content, "application/vnd.dev.cosign.simplesigning.v1+json") for content in (b"{}", *signatures)]
    for blob in blobs:
        store.put(blob, lambda amount: None)
    config, *layers = [Descriptor(blob.media_type, Digest(blob.key), blob.size) for blob in blobs]
    tag = f"sha256-{digest.hex}.sig"
    store.publish(Manifest.write(config, layers, {}).document, tag)
    return tag


@pytest.mark.parametrize("here", [True, False])
@pytest.mark.parametrize("there", [True, False])
def test_what_lies_beside_an_image_comes_along(place: Place, other: Registry, here: bool, there: bool) -> None:
    """The mirror of a company has images that nobody can verify, and no scanner knows."""
    place.registry.behaviour.referrers, other.behaviour.referrers = here, there
    digest = place.build().sealing.digest
    attest(place.recipe(), place.world())
    tag = put_signature(place, digest, b"one")
    wanted = beside(place, source(place), digest)
    assert set(wanted) == {SBOM, PROVENANCE}
    put_signature(place, wanted[SBOM], b"of the bill")
    copied(place, f"{other.address}/a")
    assert beside(place, f"{other.address}/a/granite", digest) == wanted
    for one in (tag, f"sha256-{wanted[SBOM].hex}.sig"):
        assert other.manifest("a/granite", one).digest == place.registry.manifest("models/granite", one).digest
    before = uploads(other)
    assert copied(place, f"{other.address}/a").unchanged
    assert uploads(other) == before
    assert not [tag for tag in other.tags["a/granite"] if "-" in tag and there and "." not in tag]


def test_a_signature_that_came_later_is_copied_to_where_the_image_is(place: Place, other: Registry) -> None:
    """An image is mirrored at night and signed in the morning: the second copy brings the signature."""
    digest = place.build().sealing.digest
    copied(place, f"{other.address}/a")
    tag = put_signature(place, digest, b"one")
    assert copied(place, f"{other.address}/a").unchanged
    first = other.manifest("a/granite", tag).digest
    put_signature(place, digest, b"one", b"two")
    copied(place, f"{other.address}/a")
    assert other.manifest("a/granite", tag).digest != first
    put_signature(place, digest, b"three")
    place.events.clear()
    kept = other.manifest("a/granite", tag).digest
    copied(place, f"{other.address}/a")
    assert other.manifest("a/granite", tag).digest == kept, "signatures that were made there are lost"
    assert [event for event in place.events if isinstance(event, Warned) and "of its own" in event.text]


@pytest.mark.parametrize("suffix", ["", ".sig"])
def test_rubbish_where_signatures_are_looked_for_stops_no_other_registry(
    place: Place, other: Registry, suffix: str
) -> None:
    """What somebody left under such a tag in one mirror would keep all of them from the image."""
    other.behaviour.referrers = False
    digest = place.build().sealing.digest
    attest(place.recipe(), place.world())
    put_signature(place, digest, b"one")
    raw = json.dumps({"schemaVersion": 2, "manifests": None}).encode()
    junk = other.put_manifest("a/granite", raw, OCI_MANIFEST, f"sha256-{digest.hex}{suffix}")
    done = copied(place, f"{other.address}/a", f"{place.registry.address}/b")
    assert f"{place.registry.address}/b/granite:v1" in done.digests
    assert list(done.failed) == ([] if suffix else [f"{other.address}/a/granite"])
    assert other.tags["a/granite"][f"sha256-{digest.hex}{suffix}"] == junk


def test_the_image_alone_is_copied_where_that_is_asked_or_its_digest_changes(place: Place, other: Registry) -> None:
    """A signature of another digest proves nothing; and some registries take images alone."""
    place.build()
    attest(place.recipe(), place.world())
    digest = copied(place, f"{other.address}/a", referrers=False).digests[f"{other.address}/a/granite:v1"]
    assert beside(place, f"{other.address}/a/granite", digest) == {}
    done = copied(place, f"{other.address}/b", form="docker")
    assert beside(place, f"{other.address}/b/granite", done.digests[f"{other.address}/b/granite:v1"]) == {}
    assert [event for event in place.events if isinstance(event, Warned) and "another form" in event.text]


def test_no_name_without_its_signatures(place: Place, other: Registry) -> None:
    """Who pulls by the tag and verifies would find an image that seems to be forged."""
    place.build()
    attest(place.recipe(), place.world())
    other.faults.add(Status(507), method="POST", path="uploads", skip=3, times=None)
    with pytest.raises(RegistryFailed, match="refers to the image"):
        copied(place, f"{other.address}/a")
    assert "v1" not in other.tags.get("a/granite", {})
    other.faults.clear()
    copied(place, f"{other.address}/a")
    assert "v1" in other.tags["a/granite"]


def test_a_mirror_that_lacks_an_image_is_named(place: Place, other: Registry) -> None:
    """Who fills a mirror is told that the image is not there, though its own registry has it and nobody asked that."""
    digest = place.build().sealing.digest
    settings = place.folder / "modelpack.yaml"
    written = settings.read_text()
    settings.write_text(
        json.dumps(json.loads(written) | {"mirrors": {f"{place.registry.address}/models": f"{other.address}/m"}})
    )
    with pytest.raises(InvalidInput, match=f"its mirror has no {other.address}/m/granite:v1"):
        copied(place, f"{other.address}/m")
    settings.write_text(written)
    assert copied(place, f"{other.address}/m").digests == {f"{other.address}/m/granite:v1": digest}


def test_what_is_not_there_is_told(place: Place, other: Registry, tmp_path: Path) -> None:
    """A slip in the source's name must not end in an empty repository."""
    place.build()
    with pytest.raises(InvalidInput, match="there is no image"):
        copied(place, f"{other.address}/a", image=source(place, "v9"))
    with pytest.raises(InvalidInput, match="not an OCI layout"):
        copied(place, f"{other.address}/a", image=f"oci:{tmp_path}")
    other.auth.mode, other.auth.accounts = "basic", {"me": Account("s3cret")}
    with pytest.raises(RegistryFailed, match="not logged in"):
        copied(place, f"{other.address}/a")
    assert not other.tags


def test_a_tag_that_a_layout_lacks_is_told_with_those_that_it_has(
    place: Place, other: Registry, tmp_path: Path
) -> None:
    """Who asks a folder for a wrong tag is sent to look for a login."""
    output = Output("oci", tmp_path / "layout")
    flow.build(place.recipe(tags=["v1", "stable"]), place.world(), flow.Wanted("embedded", output=output))
    image = f"oci:{output.path}:v9"
    for ask in (lambda: copied(place, f"{other.address}/a", image=image), lambda: examine(image, place.world())):
        with pytest.raises(InvalidInput, match="there is no image") as refused:
            ask()
        assert refused.value.hint == "it has v1, stable"
