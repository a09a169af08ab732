"""One push into several registries, in both forms: if these fail, a fleet of registries drifts apart."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from buildkit import flow
from buildkit.cli.results import document, lines
from buildkit.delivery.destination import Wish, open_destinations
from buildkit.delivery.push import Delivered, push
from buildkit.errors import InvalidInput, ModelpackError, RegistryFailed
from buildkit.events import Forecast, Summary, silent
from buildkit.lockfile import lock as locks
from buildkit.oci.copy import Sealing
from buildkit.oci.form import Form
from buildkit.oci.image import Image
from buildkit.oci.manifest import DOCKER_INDEX, DOCKER_MANIFEST
from buildkit.oci.reference import Digest
from buildkit.policy import Policy
from buildkit.settings import Settings
from buildkit.world import World
from tests.fakes.faults import AddHeader, Cut, Hangup, Status
from tests.fakes.registry import Account, Registry
from tests.place import FILES, Place, put_base, uploads
from tests.registries.test_push import image

REPOSITORY = "models/granite"
WEIGHTS = bytes(range(256)) * 4096


@pytest.fixture
def other() -> Iterator[Registry]:
    with Registry() as registry:
        yield registry


def write_settings(place: Place, **registries: dict[str, object]) -> None:
    content = {"hub": {"endpoint": place.hub.endpoint}, "registries": registries}
    (place.folder / "modelpack.yaml").write_text(json.dumps(content))


def build(place: Place, *others: Registry, **recipe: object) -> Delivered:
    also = tuple(f"{one.address}/models" for one in others)
    wanted = flow.Wanted("embedded", registry=f"{place.registry.address}/models", also=also)
    return flow.build(place.recipe(**recipe), place.world(), wanted)


def downloads(place: Place) -> int:
    """Bytes that the hub and its storage gave away."""
    return sum(request.response_bytes for request in place.hub.requests)


def test_a_model_is_downloaded_once_for_all_registries(place: Place, other: Registry) -> None:
    """Every registry gets the same image, and the hub is asked for each file once."""
    delivered = build(place, other, layers="per-file")
    digest = delivered.sealing.digest
    assert place.registry.tags[REPOSITORY] == other.tags[REPOSITORY] == {"v1": digest}
    assert lines(delivered) == [f"{one.address}/{REPOSITORY}:v1@{digest}" for one in (place.registry, other)]
    assert place.model_files() == FILES
    assert json.loads(place.lock.read_text())["pushed"] == {
        f"{one.address}/{REPOSITORY}:v1": digest for one in (place.registry, other)
    }
    total = sum(map(len, FILES.values()))
    assert total <= downloads(place) < 1.5 * total


def test_a_second_push_sends_nothing_anywhere(place: Place, other: Registry) -> None:
    """What all registries serve already costs a few questions."""
    build(place, other)
    before = uploads(place.registry), uploads(other)
    assert build(place, other).unchanged
    assert (uploads(place.registry), uploads(other)) == before


def test_every_registry_is_told_what_became_of_its_layers(place: Place, other: Registry) -> None:
    """Told together, what one registry has already would hide what the other has still to be paid for."""
    build(place)
    place.events.clear()
    build(place, other, tags=["v2"])
    total = sum(one.size for one in place.served()[0].layers)
    told = {one.name: one.outcomes for one in place.events if isinstance(one, Summary)}
    assert told == {
        f"{place.registry.address}/{REPOSITORY}": {"exists": total},
        f"{other.address}/{REPOSITORY}": {"sent": total},
    }
    (before,) = [one for one in place.events if isinstance(one, Forecast)]
    assert (before.unknown, before.known) == (0, total)


def test_a_registry_that_is_added_later_gets_what_the_first_has(place: Place, other: Registry) -> None:
    """A new registry in the list is filled, and the old one left alone."""
    build(place)
    before = uploads(place.registry)
    delivered = build(place, other)
    assert not delivered.unchanged
    assert other.tags[REPOSITORY] == place.registry.tags[REPOSITORY]
    assert uploads(place.registry) == before


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "uploads"), ("PATCH", "uploads"), ("PUT", "manifests/sha256"), ("PUT", "manifests/v1")],
)
def test_one_registry_that_fails_is_told_and_stops_no_other(
    place: Place, other: Registry, method: str, path: str
) -> None:
    """The image must be complete where it can be, untagged where it cannot, and the lock say just that."""
    other.faults.add(Status(507), method=method, path=path, times=None)
    delivered = build(place, other)
    assert list(delivered.failed) == [f"{other.address}/{REPOSITORY}"]
    assert "507" in str(delivered.failed[f"{other.address}/{REPOSITORY}"])
    assert place.registry.tags[REPOSITORY] == {"v1": delivered.sealing.digest}
    assert not other.tags.get(REPOSITORY)
    assert list(json.loads(place.lock.read_text())["pushed"]) == [f"{place.registry.address}/{REPOSITORY}:v1"]
    assert list(document(delivered)["failed"]) == [f"{other.address}/{REPOSITORY}"]
    assert not [one for one in other.sessions if one.state == "open"]


def test_all_registries_that_fail_end_the_push(place: Place, other: Registry) -> None:
    """Nothing arrived: that is an error, and the lock stays as it was."""
    for registry in (place.registry, other):
        registry.faults.add(Status(507), method="POST", path="uploads", times=None)
    with pytest.raises(RegistryFailed) as raised:
        build(place, other)
    assert place.registry.address in str(raised.value)
    assert other.address in str(raised.value)
    assert not place.lock.exists()


def test_a_registry_that_tells_no_digest_stops_no_other(place: Place, other: Registry) -> None:
    """A broken proxy before one registry would end the push to the others, its header told as somebody's slip."""
    build(place, other)
    other.faults.add(AddHeader("Docker-Content-Digest", "sha256:4051"), path="manifests", times=None)
    delivered = build(place, other, labels={"org.example.x": "y"})
    assert "stored sha256:4051 where" in str(delivered.failed[f"{other.address}/{REPOSITORY}"])
    assert place.registry.tags[REPOSITORY] == {"v1": delivered.sealing.digest}


def test_a_registry_without_a_login_fails_alone(place: Place, other: Registry) -> None:
    """A token that ran out for one registry must not cost the push to the other."""
    other.auth.mode, other.auth.accounts = "token", {"me": Account("s3cret")}
    delivered = build(place, other)
    (failure,) = delivered.failed.values()
    assert "not logged in" in str(failure)
    assert place.registry.tags[REPOSITORY]


def docker_layers(registry: Registry, repository: str = REPOSITORY, tag: str = "v1") -> dict[str, bytes]:
    """Every file of an image in Docker's form, checked as a docker daemon would."""
    manifest = json.loads(registry.manifest(repository, tag).data)
    assert manifest["mediaType"] == registry.manifest(repository, tag).media_type == DOCKER_MANIFEST
    config = json.loads(registry.blob(manifest["config"]["digest"]))
    files: dict[str, bytes] = {}
    for layer, diff_id in zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True):
        assert layer["mediaType"] == "application/vnd.docker.image.rootfs.diff.tar.gzip"
        raw = gzip.decompress(registry.blob(layer["digest"]))
        assert diff_id == "sha256:" + hashlib.sha256(raw).hexdigest()
        with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
            files |= {one.name: tar.extractfile(one).read() for one in tar if one.isfile()}  # type: ignore[union-attr]
    return files


def test_a_registry_that_takes_dockers_form_alone_gets_that(place: Place, other: Registry) -> None:
    """SWR refuses OCI manifests; beside it another registry gets OCI from the same reading of the model."""
    other.behaviour.media_types = frozenset({DOCKER_MANIFEST, DOCKER_INDEX})
    write_settings(place, huawei={"host": other.address, "prefix": "models", "type": "swr"})
    wanted = flow.Wanted("embedded", registry=f"{place.registry.address}/models", also=("huawei",))
    delivered = flow.build(place.recipe(), place.world(), wanted)
    assert place.model_files() == FILES
    assert docker_layers(other) == {"bin/sh": b"shell", **{f"models/{name}": data for name, data in FILES.items()}}
    total = sum(map(len, FILES.values()))
    assert downloads(place) < 1.5 * total
    digests = {name: delivered.digest_of(name).partition(":")[2] for name in delivered.references}
    assert len(set(digests.values())) == 2
    assert (
        json.loads(place.lock.read_text())["pushed"][f"{other.address}/{REPOSITORY}:v1"] == other.tags[REPOSITORY]["v1"]
    )
    before = uploads(other)
    assert flow.build(place.recipe(), place.world(), wanted).unchanged, "a second push must recognise the other form"
    assert uploads(other) == before


def sent_to(registry: Registry, repository: str) -> int:
    """Bytes that were sent to one of a registry's repositories."""
    asked = [one for one in registry.requests if f"/{repository}/blobs/uploads" in one.path]
    return sum(one.request_bytes for one in asked)


@pytest.mark.parametrize("form", ["oci", "docker"])
@pytest.mark.parametrize("mounts", [True, False])
def test_two_repositories_of_a_registry_get_the_bytes_once(place: Place, form: Form, mounts: bool) -> None:
    """Staging and production in one registry: the model would travel there twice at the same time."""
    place.registry.behaviour.mounts = mounts
    address = place.registry.address
    wanted = flow.Wanted("embedded", registry=f"{address}/staging", also=(f"{address}/production",), form=form)
    digest = flow.build(place.recipe(layers="per-file"), place.world(), wanted).sealing.digest
    total = sum(map(len, FILES.values()))
    assert sent_to(place.registry, "staging/granite") > total
    assert (sent_to(place.registry, "production/granite") < 10_000) is mounts
    tags = place.registry.tags
    assert tags["staging/granite"] == tags["production/granite"] == {"v1": digest}


def test_a_layer_that_became_a_gzip_is_mounted_by_the_next_recipe(place: Place) -> None:
    """Ten servers around one model, on a registry that takes Docker's form alone, would each send the model."""
    place.build(form="docker")
    wanted = flow.Wanted("embedded", registry=f"{place.registry.address}/models", form="docker")
    (place.folder / "recipe.lock").unlink()
    flow.build(place.recipe(name="second"), place.world(), wanted)
    assert sent_to(place.registry, "models/second") < 20_000
    assert docker_layers(place.registry, "models/second")


def test_dockers_form_is_the_same_on_every_machine(place: Place, other: Registry, private_home: Path) -> None:
    """The same lock gives the same digest in this form as well, and what the registry has is recognised without a cache."""
    wanted = flow.Wanted("embedded", registry=f"{place.registry.address}/models", form="docker")
    first = flow.build(place.recipe(), place.world(), wanted)
    assert place.registry.tags[REPOSITORY]["v1"] == first.sealing.digest
    for path in private_home.rglob("layers/*"):
        path.unlink()
    before = uploads(place.registry)
    again = flow.build(place.recipe(), place.world(), wanted)
    assert again.unchanged
    assert uploads(place.registry) == before
    elsewhere = flow.Wanted("embedded", registry=f"{other.address}/models", form="docker")
    assert flow.build(place.recipe(), place.world(), elsewhere).sealing.digest == first.sealing.digest
    pushed = flow.push(place.recipe(), place.world(), f"{other.address}/again", form="docker")
    assert pushed.sealing.digest == first.sealing.digest


def test_a_tag_that_must_not_move_stays(place: Place) -> None:
    """A version that people run must never become something else, and the refusal comes before the upload."""
    place.build(place.recipe(immutable=True))
    assert place.build(place.recipe(immutable=True)).unchanged
    first = place.registry.tags[REPOSITORY]["v1"]
    put_base(place.registry, content=b"another shell")
    place.registry.log.clear()
    with pytest.raises(InvalidInput, match="a tag would move") as raised:
        place.build(place.recipe(immutable=True), policy=Policy.UPGRADE)
    assert first in str(raised.value)
    assert place.registry.tags[REPOSITORY]["v1"] == first
    place.build(place.recipe(immutable=True, tags=["v2"]), policy=Policy.UPGRADE)


def test_a_registry_whose_tags_never_move(place: Place) -> None:
    """Where a team says so in modelpack.yaml it holds for every recipe, even if the digest is learned on the way."""
    write_settings(place, team={"host": place.registry.address, "prefix": "models", "immutable": True})
    wanted = flow.Wanted("embedded", registry="team")
    flow.build(place.recipe(), place.world(), wanted)
    first = place.registry.tags[REPOSITORY]["v1"]
    place.lock.unlink()
    place.hub.add("org/granite", {**FILES, "config.json": b"{}"})
    with pytest.raises(InvalidInput, match="immutable"):
        flow.build(place.recipe(), place.world(), wanted)
    assert place.registry.tags[REPOSITORY]["v1"] == first
    assert not place.lock.exists()


@pytest.mark.parametrize("source", ["hub", "folder"])
def test_a_changed_model_is_refused_before_it_is_sent(place: Place, source: str) -> None:
    """Hours of upload would end in the answer that the tag is taken, which the registry knew all the time."""
    weights = place.folder / "weights" / "model.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(WEIGHTS)
    place.hub.add("org/granite", {**FILES, weights.name: WEIGHTS})
    recipe = place.recipe(immutable=True, **({"model": "./weights"} if source == "folder" else {}))
    place.build(recipe)
    before = uploads(place.registry)
    weights.write_bytes(WEIGHTS[::-1])
    place.hub.add("org/granite", {**FILES, weights.name: WEIGHTS[::-1]})
    with pytest.raises(InvalidInput, match="'immutable: true'"):
        place.build(recipe, policy=Policy.UPGRADE)
    place.lock.unlink()
    with pytest.raises(InvalidInput, match="'immutable: true'"):
        place.build(recipe)
    assert uploads(place.registry) == before
    assert not place.lock.exists()


def test_tags_are_written_out(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that a person would have to keep up by hand come from the lock."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1767225600")
    delivered = place.build(
        place.recipe(
            tags=["{revision}", "{date}-{base}", "v{version}", "{digest}"],
            labels={"org.opencontainers.image.version": "1.2"},
        )
    )
    tags = place.registry.tags[REPOSITORY]
    written = locks.read(place.lock)
    assert written is not None
    commit = written.pins.sources["model"].commit
    digest = delivered.sealing.digest
    assert set(tags) == {commit[:12], "20260101-latest", "v1.2", digest.hex[:12]}
    assert set(tags.values()) == {digest}
    assert place.build(
        place.recipe(
            tags=["{revision}", "{date}-{base}", "v{version}", "{digest}"],
            labels={"org.opencontainers.image.version": "1.2"},
        )
    ).unchanged


def test_a_slip_in_a_registrys_name_is_told_before_anything_is_read(place: Place) -> None:
    """Hashing a terabyte to learn that a name is misspelled costs an evening."""
    place.hub.log.clear()
    for wrong in ("nowhere", "https://quay.io/x", "ap-osaka-1.ocir.io/Upper"):
        with pytest.raises(InvalidInput):
            flow.build(place.recipe(), place.world(), flow.Wanted("embedded", also=(wrong,)))
    assert not place.hub.requests


class _Unlocked:
    """Takes nothing down."""

    references: Mapping[str, Digest]

    def expect(self, images: Sequence[Image], references: Sequence[str] = ()) -> None:
        """Nothing to prepare."""

    def named(self, key: str) -> str:
        """Everything was read before."""
        return key

    def placed(self, images: Sequence[Image]) -> Sequence[Image]:
        """Nothing was learned."""
        return images

    def stage(self, sealing: Sealing, images: Sequence[Image], references: Mapping[str, Digest] | None = None) -> None:
        """Remembers what would be in the lock."""
        self.references = references or {}


def whole(registry: Registry, digest: str) -> bool:
    """Whether everything below a manifest is there."""
    manifest = json.loads(registry.manifest(REPOSITORY, digest).data)
    blobs = [manifest["config"], *manifest["layers"]]
    return all(len(registry.blob(one["digest"])) == one["size"] for one in blobs)


FAULTS = st.tuples(
    st.sampled_from(
        [Status(500), Status(503), Status(507), Hangup(), Cut(0, "request"), Cut(100_000, "request"), Cut(0)]
    ),
    st.sampled_from(["POST", "PATCH", "PUT", "HEAD", "GET"]),
    st.sampled_from(["uploads", "manifests", "manifests/v1", "blobs"]),
    st.sampled_from([1, 3, None]),
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(FAULTS, max_size=2), st.lists(FAULTS, max_size=2), st.booleans(), st.sampled_from(["oci", "docker"]))
def test_whatever_goes_wrong_a_tag_is_on_a_whole_image_or_on_nothing(
    first: list[Any], second: list[Any], known: bool, form: Form
) -> None:
    """Any fault on any registry at any step: what is tagged is complete, what is told as done is done."""
    with Registry() as one, Registry() as two:
        for registry, faults in ((one, first), (two, second)):
            for fault, method, path, times in faults:
                registry.faults.add(fault, method=method, path=path, times=times)
        world, record = World(Settings(), silent, sleep=lambda seconds: None), _Unlocked()
        try:
            targets = [f"{registry.address}/models" for registry in (one, two)]
            destinations = open_destinations(targets, Wish("granite", ("v1",), form), [image(2, known)], world)
            delivered = push([image(2, known)], destinations, world, record)
            done, failed = set(delivered.references), set(delivered.failed)
            assert dict(record.references) == dict.fromkeys(done, delivered.sealing.digest)
        except ModelpackError:
            done, failed = set(), {f"{registry.address}/{REPOSITORY}" for registry in (one, two)}
        for registry in (one, two):
            name = f"{registry.address}/{REPOSITORY}"
            tagged = registry.tags.get(REPOSITORY, {}).get("v1")
            assert (f"{name}:v1" in done) != (name in failed)
            assert tagged is None or whole(registry, tagged)
            assert tagged is not None or name in failed
