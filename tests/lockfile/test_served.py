"""An image that one registry has in OCI form and another in Docker's: if these fail, it is taken for two, or one is forgotten."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from buildkit import flow
from buildkit.delivery.push import Delivered
from buildkit.deploying import Wish, deploy
from buildkit.events import Warned
from buildkit.fleet import rebuild as rebuilds
from buildkit.fleet.asking import Questions
from buildkit.fleet.rebuild import rebuild
from buildkit.fleet.state import State
from buildkit.fleet.status import state_of
from buildkit.inspect import look
from buildkit.lockfile import lock as locks
from buildkit.lockfile.served import current
from buildkit.oci.manifest import DOCKER_INDEX, DOCKER_MANIFEST
from buildkit.oci.reference import Digest, Reference
from buildkit.policy import Policy
from buildkit.recipe import Recipe
from buildkit.trust import referrers
from buildkit.trust.attestation import attest
from buildkit.trust.provenance import TYPE as PROVENANCE
from buildkit.trust.sbom import TYPE as SBOM
from buildkit.trust.signature import Signer
from buildkit.trust.subject import subject_of
from buildkit.verifying.verify import pushed_reference
from tests.delivery.test_several_registries import docker_layers, downloads
from tests.fakes.faults import Status
from tests.fakes.registry import OCI_INDEX, OCI_MANIFEST, Registry
from tests.place import FILES, Place, put_base

WEIGHTS = "model-00001-of-00002.safetensors"
TOTAL = sum(map(len, FILES.values()))


@dataclass
class Two:
    """A project whose image goes to ``place.registry`` in OCI form and to ``docker``, which takes Docker's alone."""

    place: Place
    docker: Registry

    def recipe(self, **changes: object) -> Recipe:
        return self.place.recipe(**changes)

    def build(self, recipe: Recipe | None = None) -> Delivered:
        wanted = flow.Wanted("embedded", registry="team", also=("huawei",))
        return flow.build(recipe or self.recipe(), self.place.world(), wanted)

    def state(self, recipe: Recipe | None = None) -> State:
        return state_of(recipe or self.recipe(), self.place.world(), Questions(), ())

    def rebuild(self) -> rebuilds.Rebuilt:
        (done,) = rebuild([self.state()], lambda state: self.place.world(), rebuilds.Wish(verify=True))
        return done

    @property
    def digests(self) -> dict[str, Digest]:
        """What each registry serves, by the image's name there."""
        team, huawei = self.place.registry, self.docker
        return {
            f"{team.address}/models/granite:v1": Digest(team.tags["models/granite"]["v1"]),
            f"{huawei.address}/org/granite:v1": Digest(huawei.tags["org/granite"]["v1"]),
        }


@pytest.fixture
def two(place: Place) -> Iterator[Two]:
    with Registry() as docker:
        docker.behaviour.media_types = frozenset({DOCKER_MANIFEST, DOCKER_INDEX})
        registries = {
            "team": {"host": place.registry.address, "prefix": "models"},
            "huawei": {"host": docker.address, "prefix": "org", "type": "swr"},
        }
        settings = {"hub": {"endpoint": place.hub.endpoint}, "registries": registries}
        (place.folder / "modelpack.yaml").write_text(json.dumps(settings))
        yield Two(place, docker)


@pytest.fixture
def open_two(two: Two) -> Two:
    """As ``two``, where the second registry was merely asked for Docker's form: it can hold what refers to an image."""
    path = two.place.folder / "modelpack.yaml"
    settings = json.loads(path.read_text())
    del settings["registries"]["huawei"]["type"]
    path.write_text(json.dumps(settings))
    two.docker.behaviour.media_types |= {OCI_MANIFEST, OCI_INDEX}
    two.place.build()
    flow.push(two.recipe(), two.place.world(), "huawei", form="docker")
    return two


def attached(two: Two, name: str, digest: Digest) -> dict[str, Any]:
    """The documents beside an image, by their types."""
    store = two.place.world().repository(Reference.parse(name))
    return {one.type: json.loads(referrers.content(store, one)) for one in referrers.listed(store, digest)}


def test_each_form_has_its_own_bill_and_provenance(open_two: Two) -> None:
    """Who looks in the registry that has Docker's form finds nothing about the image that lies there."""
    two = open_two
    done = attest(two.recipe(), two.place.world())
    oci, docker = two.digests.values()
    assert oci != docker
    assert {(one.image, one.type) for one in done} == {
        (f"{name.removesuffix(':v1')}@{digest}", sort)
        for name, digest in two.digests.items()
        for sort in (SBOM, PROVENANCE)
    }
    for (name, digest), other in zip(two.digests.items(), (docker, oci), strict=True):
        found = attached(two, name, digest)
        assert set(found) == {SBOM, PROVENANCE}
        assert found[SBOM]["metadata"]["component"]["version"] == digest
        assert found[PROVENANCE]["subject"][0]["digest"]["sha256"] == digest.hex
        assert not attached(two, name, other), "what is said of one form lies beside the other"


def test_each_form_is_signed_by_its_own_digest(open_two: Two, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An admission controller refuses the image from one registry, since only the other's digest was signed."""
    two = open_two
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "cosign").write_text(f'#!/bin/sh\nfor last; do :; done\necho "$1 $last" >> "{programs}/asked"\n')
    (programs / "cosign").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    attest(two.recipe(), two.place.world(), Signer("awskms:///alias/a", transparency=False))
    signed = [line for line in (programs / "asked").read_text().splitlines() if line.startswith("sign ")]
    assert sorted(signed) == sorted(f"sign {name.removesuffix(':v1')}@{digest}" for name, digest in two.digests.items())


def test_a_registry_that_can_hold_no_artifact_spoils_no_push(two: Two) -> None:
    """Where modelpack.yaml says 'attest', an image in SWR would never count as rebuilt."""
    settings = json.loads((two.place.folder / "modelpack.yaml").read_text()) | {"attest": {}}
    (two.place.folder / "modelpack.yaml").write_text(json.dumps(settings))
    two.build()
    (team, first), (huawei, _) = two.digests.items()
    assert set(attached(two, team, first)) == {SBOM, PROVENANCE}
    (warned,) = [event for event in two.place.events if isinstance(event, Warned)]
    assert f"nothing can be attached in {huawei.removesuffix(':v1')}" in warned.text


def test_a_lock_with_two_digests_is_current(two: Two) -> None:
    """A nightly rebuild pushes for ever to the registry whose digest is not the image's own."""
    two.build()
    assert locks.read(two.place.lock).pushed == two.digests  # type: ignore[union-attr]
    state = two.state()
    assert (state.changes, state.problems) == ((), ())
    assert state.served == two.digests, "status names a digest that this registry does not serve"
    assert two.rebuild().outcome == "current"


def test_what_a_registry_lost_is_told_with_its_own_digest(two: Two) -> None:
    """The person who looks for the lost digest in that registry's log must find it there."""
    two.build()
    name, digest = list(two.digests.items())[1]
    held = two.docker.storage.repositories["org/granite"]
    held.manifests.pop(held.tags.pop("v1"))
    (change,) = two.state().changes
    assert (change.reason, change.what, change.old, change.new) == ("missing", name, digest, "")
    assert two.rebuild().outcome == "rebuilt"
    assert two.digests[name] == digest


def test_a_rebuild_reads_the_hub_once_for_both(two: Two) -> None:
    """A hundred gigabytes would be downloaded once for each registry."""
    two.build()
    two.place.hub.add("org/granite", {**FILES, WEIGHTS: b"n" * len(FILES[WEIGHTS])})
    two.place.hub.log.clear()
    done = two.rebuild()
    assert (done.outcome, done.error) == ("rebuilt", None)
    assert set(done.references) == {f"{name}@{digest}" for name, digest in two.digests.items()}
    assert TOTAL <= downloads(two.place) < 1.2 * TOTAL, "the model was read again for the second registry"
    assert two.place.model_files()[WEIGHTS] == b"n" * len(FILES[WEIGHTS])
    assert docker_layers(two.docker, "org/granite")[f"models/{WEIGHTS}"] == b"n" * len(FILES[WEIGHTS])
    assert locks.read(two.place.lock).pushed == two.digests  # type: ignore[union-attr]
    assert two.state().changes == ()


def test_a_rebuild_that_one_registry_refuses_is_finished_by_the_next(two: Two) -> None:
    """The registry that was down for a night must get the image in the next one, and the other nothing twice."""
    two.build()
    before = two.digests
    put_base(two.place.registry, content=b"another shell")
    two.docker.faults.add(Status(507), method="PUT", path="manifests", times=None)
    done = two.rebuild()
    assert done.outcome == "failed" and two.docker.address in str(done.error)
    (team, first), (huawei, second) = two.digests.items()
    assert done.references == (f"{team}@{first}",)
    assert (first != before[team], second) == (True, before[huawei])
    assert {change.what for change in two.state().changes} == {huawei}
    two.docker.faults.clear()
    sent = len([one for one in two.place.registry.requests if one.method in ("PATCH", "PUT", "POST")])
    assert two.rebuild().outcome == "rebuilt"
    assert len([one for one in two.place.registry.requests if one.method in ("PATCH", "PUT", "POST")]) == sent
    assert two.digests[huawei] != second
    assert two.state().changes == ()


def test_every_command_names_what_a_registry_really_serves(two: Two) -> None:
    """A deployment would pull a digest that is in the other registry only."""
    recipe = two.recipe(targets=["kserve"])
    two.build(recipe)
    world, names = two.place.world(), [f"{name}@{digest}" for name, digest in two.digests.items()]
    assert pushed_reference(recipe, world) in names
    assert sorted(str(one) for one in subject_of(recipe, world).references) == sorted(
        name.replace(":v1@", "@") for name in names
    )
    for registry, text, digest in zip(("team", "huawei"), two.digests, two.digests.values(), strict=True):
        folder = two.place.folder / registry
        deploy(recipe, world, [], folder, Wish(registry=registry))
        written = "".join(path.read_text() for path in folder.rglob("*.yaml"))
        assert f"{text.removesuffix(':v1')}" in written and digest in written
        seen = look(text, world)
        assert seen.top.digest == digest
        assert len(seen.images[0].layers) == 2


def test_an_older_image_in_one_registry_is_not_the_locks(two: Two) -> None:
    """What is said of today's image must not be pinned to the one that another registry had last week."""
    two.build()
    put_base(two.place.registry, content=b"another shell")
    recipe = two.recipe()
    two.place.hub.add("org/granite", {**FILES, "README.md": b"# Another model"})
    flow.build(recipe, two.place.world(), flow.Wanted("embedded", Policy.UPGRADE, "team"))
    lock = locks.read(two.place.lock)
    assert lock is not None and len(lock.pushed) == 2
    assert list(current(recipe, lock, two.place.world())) == list(two.digests)[:1]
    done = attest(recipe, two.place.world())
    assert {one.image.partition("/")[0] for one in done} == {two.place.registry.address}
