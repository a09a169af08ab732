"""From a recipe to a registry with the embedded engine: if these fail, the product does."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from buildkit import flow
from buildkit.checks.examine import examine
from buildkit.delivery.output import Output
from buildkit.done import Done
from buildkit.errors import Drifted, InvalidInput, ModelpackError
from buildkit.events import Forecast, Summary, Warned
from buildkit.lockfile import staged
from buildkit.oci.reference import Digest, Platform
from buildkit.policy import Policy
from tests.fakes.content import Synthetic
from tests.fakes.faults import Corrupt, Cut, Status
from tests.fakes.registry import OCI_INDEX, Account, Auth
from tests.place import FILES, Place, put_base, uploads


@pytest.mark.parametrize("layers", ["squashed", "per-file"])
def test_a_model_goes_from_the_hub_to_the_registry(place: Place, layers: str) -> None:
    """Every file arrives with its bytes, owner and mode; the config is the base's with what a modelcar adds."""
    delivered = place.build(place.recipe(layers=layers))
    assert place.model_files() == FILES
    manifest, config = place.served()
    assert manifest.document.digest == delivered.sealing.digest
    assert len(manifest.layers) == 2, "there must be exactly one layer above the base for a model of small files"
    assert config.process["User"] == "1001"
    assert config.process["Env"] == ["PATH=/bin", "container=oci"]
    assert config.process["Cmd"] == ["/bin/sh"]
    assert config.process["Labels"]["vendor"] == "base"
    assert config.content["created"] == "1970-01-01T00:00:00Z"
    assert len(config.diff_ids) == 2
    assert manifest.annotations["org.opencontainers.image.base.digest"].startswith("sha256:")
    lock = json.loads(place.lock.read_text())
    assert lock["pushed"] == {f"{place.registry.address}/models/granite:v1": delivered.sealing.digest}


def index_of(place: Place, *entries: dict[str, object]) -> str:
    """An index of the base's repository under the tag ``other``; the reference to it."""
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    place.registry.put_manifest("ubi9/ubi-micro", json.dumps(index).encode(), OCI_INDEX, "other")
    return f"{place.registry.address}/ubi9/ubi-micro:other"


def test_a_base_whose_index_names_no_platforms_is_found_by_its_config(place: Place) -> None:
    """A base that a plain tool indexed is refused as if it had no image at all: the platform of an entry is optional."""
    (entry,) = json.loads(place.registry.manifest("ubi9/ubi-micro", "latest").data)["manifests"]
    del entry["platform"]
    base = index_of(place, entry)
    assert examine(base, place.world()).pushed.manifest.document.digest == entry["digest"]
    place.build(place.recipe(base=base))
    assert place.served()[1].platform == Platform("linux", "amd64")
    with pytest.raises(InvalidInput, match="no image for linux/arm64"):
        place.build(place.recipe(base=base, platforms=["linux/arm64"]))


def test_a_base_that_lists_an_index_is_told_so(place: Place) -> None:
    """Whoever names an index of indexes reads that it has no image, and not what to name in its place."""
    nested = place.registry.manifest("ubi9/ubi-micro", "latest")
    base = index_of(place, {"mediaType": OCI_INDEX, "digest": nested.digest, "size": len(nested.data)})
    for ask in (lambda: place.build(place.recipe(base=base)), lambda: examine(base, place.world())):
        with pytest.raises(InvalidInput, match=f"further indexes \\({nested.digest}\\)") as refused:
            ask()
        assert "by its digest" in refused.value.hint


@pytest.mark.parametrize("told", [None, [], [{"created_by": "ENV A=b", "empty_layer": True}]])
def test_every_layer_has_its_line_of_the_history_above_a_base_that_has_none(place: Place, told: object) -> None:
    """What ``docker history`` and scanners say of the base's layer would be what was said of the model's."""
    put_base(place.registry, history=told)
    place.build()
    config = place.served()[1]
    steps = [one["created_by"] for one in config.content["history"] if not one.get("empty_layer")]
    assert steps == ["a layer of the base", "modelpack: model"]
    assert len(config.content["history"]) == 2 + len(told or [])  # type: ignore[arg-type]


def test_a_base_whose_history_is_malformed_is_explained(place: Place) -> None:
    """A base that some script wrote would end the build as a fault of modelpack."""
    put_base(place.registry, history=["a line"])
    with pytest.raises(InvalidInput, match="history"):
        place.build()


def test_nothing_is_written_but_the_lock(place: Place, private_home: Path) -> None:
    """A model that is larger than the disk must go through memory alone."""
    place.build()
    assert sorted(path.name for path in place.folder.iterdir()) == ["modelpack.yaml", "recipe.lock", "recipe.yaml"]
    assert [path for path in private_home.rglob("*") if path.is_file() and path.stat().st_size > 100_000] == []


def test_the_same_lock_gives_the_same_digest_anywhere(place: Place, tmp_path: Path) -> None:
    """Two machines, two folders, another time: one digest."""
    first = place.build(push=False)
    other = tmp_path / "elsewhere" / "deep"
    shutil.copytree(place.folder, other)
    again = Place(other, place.hub, place.registry, []).build()
    assert again.sealing.digest == first.sealing.digest


def test_a_second_build_moves_nothing_and_leaves_the_lock_alone(place: Place) -> None:
    """A scheduled rebuild of an unchanged model must cost a few requests and no commit."""
    first = place.build()
    text, time = place.lock.read_bytes(), place.lock.stat().st_mtime_ns
    place.registry.log.clear()
    place.hub.log.clear()
    second = place.build()
    assert second.sealing.digest == first.sealing.digest and second.unchanged
    assert (place.lock.read_bytes(), place.lock.stat().st_mtime_ns) == (text, time)
    assert not place.hub.requests, "a locked model was asked for"
    assert len(place.registry.requests) <= 8
    assert all(request.method in ("GET", "HEAD") for request in place.registry.requests)


def test_a_lost_lock_costs_no_upload(place: Place) -> None:
    """The pushed image remembers which layer is which."""
    first = place.build(place.recipe(layers="per-file"))
    before = place.lock.read_bytes()
    place.lock.unlink()
    place.registry.log.clear()
    place.hub.log.clear()
    second = place.build(place.recipe(layers="per-file"))
    assert second.sealing.digest == first.sealing.digest
    assert uploads(place.registry) == 0
    assert not [request for request in place.hub.requests if "/resolve/" in request.path]
    assert place.lock.read_bytes() == before


def test_a_new_base_moves_no_byte_of_the_model(place: Place) -> None:
    """A base with a security fix must cost a manifest, not a hundred gigabytes."""
    place.build()
    put_base(place.registry, content=b"shell without the hole")
    place.registry.log.clear()
    place.hub.log.clear()
    place.build(policy=Policy.UPGRADE)
    assert not [request for request in place.hub.requests if "/resolve/" in request.path]
    assert uploads(place.registry) < 100_000
    assert place.model_files() == FILES


def test_push_sends_what_was_built(place: Place) -> None:
    """``push`` after ``build`` builds nothing and asks the hub for nothing but what is not cached."""
    built = place.build(push=False)
    assert not place.registry.tags.get("models/granite")
    pushed = flow.push(place.recipe(), place.world(), f"{place.registry.address}/models")
    assert pushed.sealing.digest == built.sealing.digest
    assert place.model_files() == FILES
    place.registry.log.clear()
    flow.push(place.recipe(), place.world(), f"{place.registry.address}/models")
    assert uploads(place.registry) == 0


def test_push_without_a_build_is_explained(place: Place) -> None:
    """Nobody may believe that something was pushed."""
    with pytest.raises(ModelpackError, match="not built yet"):
        flow.push(place.recipe(), place.world(), f"{place.registry.address}/models")


def test_a_layout_holds_what_the_registry_gets(place: Place, tmp_path: Path) -> None:
    """One digest, wherever the image goes."""
    written = place.build(push=False, output=Output("oci", tmp_path / "out"))
    assert place.build().sealing.digest == written.sealing.digest


def test_upstream_moves_are_told_and_taken_only_on_request(place: Place) -> None:
    """A pin that moves by itself is none; a pin whose moving nobody tells is a trap."""
    locked = flow.lock(place.recipe(), place.world(), Policy.KEEP)
    before = place.lock.read_bytes()
    place.hub.add("org/granite", {**FILES, "config.json": b"{}"})
    flow.lock(place.recipe(), place.world(), Policy.CHECK)
    assert place.lock.read_bytes() == before
    assert any(isinstance(event, Warned) and "config.json" in event.text for event in place.events)
    with pytest.raises(Drifted, match="out of date") as raised:
        flow.lock(place.recipe(), place.world(), Policy.LOCKED)
    assert any("config.json changed" in problem.what for problem in raised.value.problems)
    assert place.lock.read_bytes() == before
    upgraded = flow.lock(place.recipe(), place.world(), Policy.UPGRADE)
    assert upgraded.pins.sources["model"].commit != locked.pins.sources["model"].commit


def test_an_edit_of_a_file_that_is_left_out_is_no_new_model(place: Place) -> None:
    """A README edit upstream must not rebuild a hundred gigabytes, nor fail a locked build."""
    recipe = place.recipe(model={"hf": "org/granite", "exclude": ["*.md"]})
    first = place.build(recipe)
    before = place.lock.read_bytes()
    place.hub.add("org/granite", {**FILES, "README.md": b"# Better words"})
    for policy in (Policy.LOCKED, Policy.UPGRADE, Policy.CHECK):
        flow.lock(recipe, place.world(), policy)
        assert place.lock.read_bytes() == before
    assert place.build(recipe, policy=Policy.LOCKED).sealing.digest == first.sealing.digest


@pytest.mark.parametrize("proof", [{"oid": "a" * 40}, {"oid": "a" * 40, "lfs": {"oid": "b" * 64, "size": 0}}])
def test_a_file_that_is_told_to_be_empty_and_cannot_be_is_refused(place: Place, proof: dict[str, object]) -> None:
    """A mirror tells a size of 0 for a full file: an empty one is in the image, and the lock says that it is the full one."""
    listing = json.dumps([{"type": "file", "path": "tokenizer.json", "size": 0, **proof}]).encode()
    told = place.hub.faults.add(Status(200, {"Content-Type": "application/json"}, listing), path="/tree/", times=None)
    with pytest.raises(ModelpackError, match=r"tokenizer\.json: its size is told as 0 bytes"):
        place.build()
    assert place.hub.faults.fired[-1].fault == told and not place.lock.exists()


def test_a_lock_that_holds_such_a_file_is_refused(place: Place) -> None:
    """A lock that an earlier version wrote goes on giving the wrong image."""
    locked = flow.lock(place.recipe(), place.world(), Policy.KEEP)
    model = locked.pins.sources["model"]
    false = replace(model, files=tuple(replace(file, size=0) for file in model.files))
    staged.write(place.lock, replace(locked, pins=replace(locked.pins, sources={"model": false})), Done())
    with pytest.raises(ModelpackError, match=r"config\.json: its size is told as 0 bytes"):
        place.build()


def test_locked_wants_a_lock(place: Place) -> None:
    """CI without a committed lock must not build whatever is upstream."""
    with pytest.raises(ModelpackError, match="nothing is locked"):
        place.build(policy=Policy.LOCKED)
    assert not place.lock.exists()


def test_a_moved_base_is_refused_under_locked(place: Place) -> None:
    """The base is as much of the image as the model."""
    place.build()
    put_base(place.registry, content=b"another shell")
    with pytest.raises(Drifted) as raised:
        place.build(policy=Policy.LOCKED)
    assert any("ubi-micro" in problem.what for problem in raised.value.problems)


def test_a_moved_base_without_a_tag_is_told_by_its_name(place: Place) -> None:
    """Whoever wrote no tag looks for a tag that is called None."""
    name = f"{place.registry.address}/ubi9/ubi-micro"
    before = place.registry.tags["ubi9/ubi-micro"]["latest"]
    place.build(place.recipe(base=name))
    after = put_base(place.registry, content=b"another shell")
    with pytest.raises(Drifted) as moved:
        place.build(place.recipe(base=name), policy=Policy.LOCKED)
    assert [one.what for one in moved.value.problems] == [f"{name} was {before} and is {after}"]
    with pytest.raises(Drifted) as renamed:
        place.build(place.recipe(), policy=Policy.LOCKED)
    assert f"the recipe names {name}:latest, the lock {name}" in [one.what for one in renamed.value.problems]


@pytest.mark.parametrize("fault", [Corrupt(700_000), Cut(0), Status(500)])
def test_a_hub_that_fails_for_good_tags_nothing(place: Place, fault: object) -> None:
    """Wrong or missing bytes end in one error that names the file, with no tag, no open upload and no new lock."""
    recipe = place.recipe()
    flow.lock(recipe, place.world(), Policy.KEEP)
    before = place.lock.read_bytes()
    place.hub.faults.add(fault, origin="cdn", times=None)  # type: ignore[arg-type]
    with pytest.raises(ModelpackError, match=r"model-0000\d-of-00002\.safetensors"):
        place.build(recipe)
    assert place.hub.faults.fired
    assert not place.registry.tags.get("models/granite")
    assert place.lock.read_bytes() == before
    assert not [session for session in place.registry.sessions if session.state == "open"]


@pytest.mark.parametrize("at", [0, 1, 700_000, 1_199_999])
def test_a_hub_that_is_cut_is_resumed(place: Place, at: int) -> None:
    """A line that breaks at ninety percent must not begin again, and must not disturb the upload."""
    place.hub.faults.add(Cut(at), origin="cdn", times=1)
    place.build()
    assert place.hub.faults.fired
    assert place.model_files() == FILES
    assert sum(request.method == "PATCH" for request in place.registry.requests) == 2, "the upload was disturbed"


def test_a_registry_that_is_down_is_one_error(place: Place) -> None:
    """A registry that does not listen must be named, and the lock stay as it was."""
    flow.lock(place.recipe(), place.world(), Policy.KEEP)
    before = place.lock.read_bytes()
    with pytest.raises(ModelpackError, match=r"127\.0\.0\.1:9 cannot be reached: Connection refused"):
        flow.build(place.recipe(), place.world(), flow.Wanted("embedded", registry="127.0.0.1:9/models"))
    assert place.lock.read_bytes() == before


def test_a_folder_that_takes_no_lock_ends_a_push_before_its_first_byte(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After hours of sending nobody wants to hear that the result could not be written down."""

    def full(prefix: str, dir: Path) -> tuple[int, str]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("buildkit.machine.atomic.tempfile.mkstemp", full)
    with pytest.raises(ModelpackError, match=r"recipe\.lock cannot be written"):
        place.build(place.recipe())
    assert not uploads(place.registry)


def test_a_read_only_lock_ends_a_push_before_its_tag(place: Place) -> None:
    """What cannot be locked must not be published."""
    flow.lock(place.recipe(), place.world(), Policy.KEEP)
    before = place.lock.read_bytes()
    place.lock.chmod(0o444)
    with pytest.raises(ModelpackError, match="read-only"):
        place.build()
    assert place.lock.read_bytes() == before
    assert not place.registry.tags.get("models/granite")


def test_a_gated_model_without_a_token_is_explained(place: Place) -> None:
    """The person must learn that terms are to be accepted and where a token goes."""
    place.hub.add("org/gated", FILES, gated=True)
    with pytest.raises(ModelpackError) as raised:
        place.build(place.recipe(model="hf://org/gated"))
    assert "HF_TOKEN" in raised.value.hint + str(raised.value)
    assert not place.lock.exists()


def test_the_token_is_nowhere(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token in a lock, an image, or at another origin is a token that is lost."""
    token = "hf_secrettoken1234567890"
    monkeypatch.setenv("HF_TOKEN", token)
    place.hub.token = token
    place.hub.add("org/gated", FILES, gated=True)
    place.build(place.recipe(model="hf://org/gated"))
    assert place.model_files() == FILES
    assert not place.hub.cdn_saw_authorization
    everything = place.lock.read_bytes() + str(place.events).encode()
    everything += b"".join(place.registry.blob(digest) for digest in place.registry.blobs)
    assert token.encode() not in everything


def test_two_platforms_share_the_model(place: Place) -> None:
    """An image for two architectures must not move the model twice."""
    place.build(place.recipe(base="scratch", platforms=["linux/amd64", "linux/arm64"]))
    assert (
        sum(request.request_bytes > 1_000_000 for request in place.registry.requests if request.method == "PATCH") == 1
    )
    tags = place.registry.tags["models/granite"]
    index = json.loads(place.registry.manifest("models/granite", tags["v1"]).data)
    assert {entry["platform"]["architecture"] for entry in index["manifests"]} == {"amd64", "arm64"}


def test_folders_of_any_mtime_and_place_give_one_digest(place: Place, tmp_path: Path) -> None:
    """A checkout on another day must not push a model again."""
    digests = set()
    for number in range(2):
        folder = tmp_path / f"checkout {number}"
        model = folder / "models" / "1"
        model.mkdir(parents=True)
        for name in ("weights.bin", "ünïcode $HOME 'quoted'.txt"):
            (model / name).write_bytes(name.encode() * 1000)
            os.utime(model / name, (number * 1000, number * 1000))
            (model / name).chmod(0o600 if number else 0o777)
        copied = Place(folder, place.hub, place.registry, [])
        digests.add(copied.build(copied.recipe(model="./models", base="scratch")).sealing.digest)
    assert len(digests) == 1
    assert set(place.model_files()) == {"1/weights.bin", "1/ünïcode $HOME 'quoted'.txt"}


def test_a_password_of_the_registry_shows_nowhere(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials from the environment suffice, and are in no event and no lock."""
    stem = "MODELPACK_" + place.registry.address.replace(".", "_").replace(":", "_")
    monkeypatch.setenv(f"{stem}_USERNAME", "me")
    monkeypatch.setenv(f"{stem}_PASSWORD", "s3cret-word")
    place.registry.auth.mode = "token"
    place.registry.auth.accounts = {"me": Account("s3cret-word")}
    place.build()
    assert b"s3cret-word" not in place.lock.read_bytes() + str(place.events).encode()
    assert Digest(place.registry.tags["models/granite"]["v1"])
    assert isinstance(place.registry.auth, Auth)


def test_many_small_files_are_fetched_side_by_side_and_stay_in_order(place: Place) -> None:
    """A tokenizer of a thousand files must not cost a thousand round trips one after the other, nor lose one."""
    files = {f"part/{number:04}.txt": f"content {number}".encode() * 50 for number in range(400)}
    place.hub.add("org/many", files)
    place.build(place.recipe(model="hf://org/many"))
    assert place.model_files() == files


def test_a_small_file_that_is_wrong_is_named(place: Place) -> None:
    """A file that is read ahead is proven like any other."""
    files = {f"{number:03}.txt": b"content" * 50 for number in range(40)}
    place.hub.add("org/many", files)
    place.hub.faults.add(Corrupt(3), path="/resolve/.*/033.txt", times=None)
    with pytest.raises(ModelpackError, match=r"033\.txt"):
        place.build(place.recipe(model="hf://org/many"))
    assert not place.registry.tags.get("models/granite")


def test_no_layer_is_larger_than_the_recipe_says(place: Place) -> None:
    """A registry with a limit must get layers below it, with every file in exactly one of them."""
    files = {f"{number:02}.bin": os.urandom(700_000) for number in range(6)}
    place.hub.add("org/many", files)
    limit = 2 * 1024 * 1024
    place.build(place.recipe(model="hf://org/many", max_layer_size="2 MiB"))
    manifest, _ = place.served()
    assert len(manifest.layers) == 4
    assert all(layer.size <= limit for layer in manifest.layers)
    assert place.model_files() == files


def test_a_file_that_is_larger_than_a_layer_is_named(place: Place) -> None:
    """A file cannot be split: the person must raise the limit or leave the file out, before a byte moves."""
    place.hub.add("org/one", {"large.bin": os.urandom(1_200_000)})
    with pytest.raises(ModelpackError) as raised:
        place.build(place.recipe(model="hf://org/one", max_layer_size=1_100_000))
    assert "large.bin" in str(raised.value)
    assert not [request for request in place.hub.requests if "/resolve/" in request.path]


def test_a_file_that_fits_but_for_its_headers_is_told_what_its_layer_needs(place: Place) -> None:
    """Whoever reads that a file of fewer bytes than a layer may have is too large looks for a mistake elsewhere."""
    place.hub.add("org/one", {"large.bin": os.urandom(1_200_000)})
    with pytest.raises(InvalidInput) as refused:
        place.build(place.recipe(model="hf://org/one", max_layer_size=1_201_000))
    (needed,) = re.findall(
        r"needs a layer of (\d+) bytes with its headers, .* at most 1201000 bytes", str(refused.value)
    )
    assert int(needed) > 1_201_000
    place.build(place.recipe(model="hf://org/one", max_layer_size=int(needed)))


def test_what_a_registry_would_refuse_is_refused_before_the_first_byte(place: Place) -> None:
    """A hundred gigabytes must not be sent to be refused at the end."""
    place.hub.add("org/large", {"shard.safetensors": Synthetic(11 * 2**30), "config.json": b"{}"})
    recipe = place.recipe(model="hf://org/large", base="scratch")
    with pytest.raises(ModelpackError, match=r"ghcr.*would refuse") as raised:
        flow.build(recipe, place.world(), flow.Wanted("embedded", registry="ghcr.io/me"))
    assert str(10 * 2**30) in str(raised.value)
    assert not [request for request in place.hub.requests if "/resolve/" in request.path]


@pytest.mark.parametrize("known_by", ["the lock", "this machine"])
def test_layers_of_a_sibling_repository_are_mounted(
    place: Place, known_by: str, private_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From staging to production within a registry: no byte of the model moves again."""
    place.build(place.recipe())
    if known_by == "the lock":
        monkeypatch.setenv("MODELPACK_CACHE_DIR", str(private_home / "another machine's"))
        delivered = flow.push(place.recipe(), place.world(), f"{place.registry.address}/production")
    else:
        place.lock.unlink()
        wanted = flow.Wanted("embedded", registry=f"{place.registry.address}/production")
        delivered = flow.build(place.recipe(), place.world(), wanted)
    sent = [one for one in place.registry.requests if one.method == "PATCH" and "/production/" in one.path]
    assert sum(one.request_bytes for one in sent) < 10_000, "layers were sent again"
    assert place.registry.tags["production/granite"]["v1"] == delivered.sealing.digest


@pytest.mark.parametrize("form", ["oci", "oci-archive", "docker-archive"])
def test_an_output_says_what_it_will_write_and_what_it_did(place: Place, tmp_path: Path, form: str) -> None:
    """Whoever writes a model to a disk should know beforehand how much of it that takes."""
    place.build(push=False, output=Output(form, tmp_path / "image"))  # type: ignore[arg-type]
    (before,) = [event for event in place.events if isinstance(event, Forecast)]
    (after,) = [event for event in place.events if isinstance(event, Summary)]
    assert before.name == after.name == f"{form}:{tmp_path / 'image'}"
    assert before.disk == sum(after.outcomes.values()) > sum(map(len, FILES.values()))
    assert "2 layers" in before.text and "sent 2" in after.text
