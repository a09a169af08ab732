"""A folder that is pushed for the first time: its large files are read once, on their way, and everything is as if they had
been read before.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from buildkit import adapting, flow
from buildkit.delivery.output import Output
from buildkit.errors import InvalidInput, RegistryFailed, SourceFailed
from buildkit.pin import File, Pins
from buildkit.plan import Plan, PlannedLayer
from buildkit.policy import Policy
from buildkit.recipe import Recipe
from buildkit.sources import digests, folder, local
from tests.fakes.faults import Cut, Status
from tests.fakes.registry import Registry
from tests.place import FILES, Place, uploads

LARGE = 100_000
READ = local.blocks


@pytest.fixture
def models(place: Place, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder beside the recipe that was not touched for a while; what counts as large in it is small here."""
    monkeypatch.setattr(digests, "LARGE", LARGE)
    for name, content in FILES.items():
        path = place.folder / "models" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (1_700_000_000, 1_700_000_000))
    return place.folder / "models"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many bytes of each file were read, to be hashed or to be sent."""
    counted: Counter[str] = Counter()

    def blocks(path: str, file: File, start: int, what: str) -> Iterator[bytes]:
        for block in READ(path, file, start, what):
            counted[file.path] += len(block)
            yield block

    def hashed(place: str, moved: Callable[[int], None]) -> str:
        counted[place.partition("/models/")[2]] += os.path.getsize(place)
        return digests.sha256(place, moved)

    monkeypatch.setattr(local, "blocks", blocks)
    monkeypatch.setattr(folder, "sha256", hashed)
    return counted


@pytest.mark.parametrize("layers", [{"layers": "squashed"}, {"layers": "per-file"}, {"max_layer_size": 1_600_000}])
def test_the_image_and_the_lock_are_those_of_a_folder_that_was_read_before(
    place: Place, models: Path, read: Counter[str], layers: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether a digest is known before or after it is needed must not show in what is pushed or locked."""
    recipe = place.recipe(model="./models", **layers)
    first = place.build(recipe)
    assert {name: read[name] for name in FILES if len(FILES[name]) >= LARGE} == {
        name: len(content) for name, content in FILES.items() if len(content) >= LARGE
    }, "a large file was not read exactly once"
    assert place.model_files() == FILES
    lock = place.lock.read_bytes()
    place.lock.unlink()
    place.registry.tags.clear()
    monkeypatch.setattr(digests, "LARGE", 1 << 40)
    assert place.build(recipe).sealing.digest == first.sealing.digest
    assert place.lock.read_bytes() == lock


@pytest.mark.parametrize("output", [None, "oci", "oci-archive", "docker-archive"])
def test_a_build_that_is_not_pushed_reads_once_as_well(
    place: Place, models: Path, read: Counter[str], tmp_path: Path, output: str | None
) -> None:
    """A model on a slow disk must not be read twice because nobody wants it in a registry yet."""
    recipe = place.recipe(model="./models", max_layer_size=1_600_000)
    going = Output(output, tmp_path / "image") if output else None  # type: ignore[arg-type]
    built = place.build(recipe, push=False, output=going)
    assert all(read[name] == len(FILES[name]) for name in FILES if len(FILES[name]) >= LARGE)
    pushed = place.build(recipe)
    assert pushed.sealing.digest == built.sealing.digest
    assert place.model_files() == FILES


def test_a_second_build_reads_nothing(place: Place, models: Path, read: Counter[str]) -> None:
    """What was learned on the way is remembered like what was hashed before."""
    first = place.build(place.recipe(model="./models"))
    read.clear()
    place.registry.log.clear()
    second = place.build(place.recipe(model="./models"))
    assert second.unchanged and second.sealing.digest == first.sealing.digest
    assert sum(read.values()) < LARGE and not uploads(place.registry)


def test_a_lost_lock_costs_no_upload(place: Place, models: Path, private_home: Path) -> None:
    """Where the registry has an image, its layers can be recognised: then the files are read first, and not sent again."""
    first = place.build(place.recipe(model="./models", layers="per-file"))
    place.lock.unlink()
    for path in (private_home / "cache").rglob("*"):
        if path.is_file():
            path.unlink()
    place.registry.log.clear()
    assert place.build(place.recipe(model="./models", layers="per-file")).sealing.digest == first.sealing.digest
    assert not uploads(place.registry), "a layer was sent again that the registry's manifest names"


@pytest.mark.parametrize("at", [0, 600_000, 1_400_000])
def test_a_registry_that_is_cut_gets_the_same_image(place: Place, models: Path, at: int) -> None:
    """The layer is begun again, and its file with it."""
    place.registry.faults.add(Cut(at, "request"), method="PATCH")
    place.build(place.recipe(model="./models", max_layer_size=1_600_000))
    assert place.model_files() == FILES
    place.registry.log.clear()
    assert place.build(place.recipe(model="./models", max_layer_size=1_600_000)).unchanged


def test_what_was_sent_before_the_end_is_not_sent_again(place: Place, models: Path) -> None:
    """A run that ends between its layers and its manifest is gone on with, though it never knew a digest before."""
    place.registry.faults.add(Status(403), method="PUT", path="/manifests/")
    recipe = place.recipe(model="./models", layers="per-file")
    with pytest.raises(RegistryFailed, match="not logged in"):
        place.build(recipe)
    assert uploads(place.registry) and not place.registry.tags.get("models/granite") and not place.lock.exists()
    place.registry.faults.clear()
    place.registry.log.clear()
    place.build(recipe)
    sent = [one.request_bytes for one in place.registry.requests if one.method == "PATCH"]
    assert sum(sent) < 10_000, "a layer was sent again"
    assert place.model_files() == FILES


def test_a_file_that_changes_while_it_is_sent_is_never_tagged(
    place: Place, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the old file and half of the new one is a model that nobody has."""
    name = "model-00001-of-00002.safetensors"

    def blocks(path: str, file: File, start: int, what: str) -> Iterator[bytes]:
        for number, block in enumerate(READ(path, file, start, what)):
            if number == 0 and file.path == name:
                (models / name).write_bytes(os.urandom(file.size))
            yield block

    monkeypatch.setattr(local, "blocks", blocks)
    with pytest.raises(SourceFailed, match=f"{name} in models was changed while it was read"):
        place.build(place.recipe(model="./models"))
    assert not place.registry.tags.get("models/granite") and not place.lock.exists()
    monkeypatch.setattr(local, "blocks", READ)
    place.build(place.recipe(model="./models"))
    assert place.model_files()[name] == (models / name).read_bytes()


def test_several_registries_get_one_image_from_one_reading(place: Place, models: Path, read: Counter[str]) -> None:
    """The files are read once however many registries take them, and every registry serves the same digest."""
    with Registry() as other:
        recipe = place.recipe(model="./models", base="scratch")
        delivered = place.build(recipe, also=(f"{other.address}/models",))
        assert other.tags["models/granite"] == place.registry.tags["models/granite"]
        assert len(delivered.references) == 2
    assert all(read[name] == len(FILES[name]) for name in FILES if len(FILES[name]) >= LARGE)


def test_locked_files_are_read_before_they_are_sent(place: Place, models: Path) -> None:
    """With a lock it may be known that nothing has to be sent: only reading tells."""
    place.build(place.recipe(model="./models"))
    name = "model-00001-of-00002.safetensors"
    os.utime(models / name, (1_700_000_001, 1_700_000_001))
    place.registry.log.clear()
    assert place.build(place.recipe(model="./models")).unchanged, "a file that was only touched was sent again"
    assert not uploads(place.registry)


def replaced(path: Path, content: bytes, changed: int) -> None:
    """Another content under the same name, which was written ``changed`` seconds after the first one."""
    path.write_bytes(content)
    os.utime(path, (1_700_000_000 + changed, 1_700_000_000 + changed))


SHARD = "model-00001-of-00002.safetensors"


@pytest.mark.parametrize("size", [len(FILES[SHARD]), len(FILES[SHARD]) + 70_000])
@pytest.mark.parametrize("policy", [Policy.KEEP, Policy.UPGRADE])
def test_a_shard_that_was_replaced_is_read_once(
    place: Place, models: Path, read: Counter[str], size: int, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What this machine has never read is nowhere yet: hashing it before it is sent would be a second reading for nothing."""
    recipe = place.recipe(model="./models", max_layer_size=1_600_000)
    place.build(recipe)
    content = os.urandom(size)
    replaced(models / SHARD, content, 1)
    read.clear()
    place.registry.log.clear()
    built = place.build(recipe, policy=policy)
    assert (read[SHARD], read["model-00002-of-00002.safetensors"]) == (size, 0), (
        "more was read than the shard, or twice"
    )
    assert place.model_files() == {**FILES, SHARD: content}
    lock = place.lock.read_bytes()
    assert place.build(recipe).unchanged
    monkeypatch.setattr(digests, "LARGE", 1 << 40)
    place.lock.unlink()
    place.registry.tags.clear()
    assert place.build(recipe).sealing.digest == built.sealing.digest and place.lock.read_bytes() == lock


def test_a_shard_that_was_replaced_under_a_tag_that_may_not_move_is_not_sent(place: Place, models: Path) -> None:
    """It would be refused when every byte of it is there: where a tag is taken a file is read before it is sent."""
    recipe = place.recipe(model="./models", max_layer_size=1_600_000, immutable=True)
    place.build(recipe)
    replaced(models / SHARD, os.urandom(len(FILES[SHARD])), 1)
    before = uploads(place.registry)
    with pytest.raises(InvalidInput, match="'immutable: true'"):
        place.build(recipe)
    assert uploads(place.registry) == before


def test_a_shard_that_went_back_to_what_it_was_is_not_sent_again(place: Place, models: Path) -> None:
    """What was read here before may be in the registry: then it is hashed first, which is cheaper than any upload."""
    recipe = place.recipe(model="./models", max_layer_size=1_600_000)
    first = place.build(recipe)
    replaced(models / SHARD, os.urandom(len(FILES[SHARD])), 1)
    assert place.build(recipe).sealing.digest != first.sealing.digest
    replaced(models / SHARD, FILES[SHARD], 2)
    place.registry.log.clear()
    assert place.build(recipe).sealing.digest == first.sealing.digest
    assert sum(one.request_bytes for one in place.registry.requests if one.method == "PATCH") < 10_000


def test_a_shard_that_was_written_a_moment_ago_is_not_sent_twice(place: Place, models: Path) -> None:
    """Its digest is not remembered, since its time is too young to tell anything; that it was read is."""
    recipe = place.recipe(model="./models", max_layer_size=1_600_000)
    place.build(recipe)
    (models / SHARD).write_bytes(os.urandom(len(FILES[SHARD])))
    built = place.build(recipe)
    place.registry.log.clear()
    again = place.build(recipe)
    assert again.unchanged and again.sealing.digest == built.sealing.digest and not uploads(place.registry)


def test_a_machine_that_read_nothing_before_hashes_first(
    place: Place, models: Path, read: Counter[str], private_home: Path
) -> None:
    """A lock from another machine: whether the registry has the shard, only its digest can tell."""
    recipe = place.recipe(model="./models", max_layer_size=1_600_000)
    place.build(recipe)
    lock = place.lock.read_bytes()
    replaced(models / SHARD, os.urandom(len(FILES[SHARD])), 1)
    place.build(recipe)
    place.lock.write_bytes(lock)
    for path in (private_home / "cache").rglob("*"):
        if path.is_file():
            path.unlink()
    place.registry.log.clear()
    place.build(recipe)
    assert not uploads(place.registry), "the registry had the shard already"


@pytest.mark.parametrize("with_their_lock", [True, False])
def test_a_shard_that_another_machine_pushed_is_not_sent_again(
    place: Place, models: Path, private_home: Path, monkeypatch: pytest.MonkeyPatch, with_their_lock: bool
) -> None:
    """A colleague replaced the shard and pushed it: what this machine never read, the registry has all the same."""
    recipe = place.recipe(model="./models", max_layer_size=1_600_000)
    place.build(recipe)
    lock = place.lock.read_bytes()
    replaced(models / SHARD, os.urandom(len(FILES[SHARD])), 1)
    monkeypatch.setenv("MODELPACK_CACHE_DIR", str(private_home / "the colleague's"))
    theirs = place.build(recipe)
    monkeypatch.setenv("MODELPACK_CACHE_DIR", str(private_home / "cache"))
    if not with_their_lock:
        place.lock.write_bytes(lock)
    place.registry.log.clear()
    assert place.build(recipe).sealing.digest == theirs.sealing.digest
    assert not uploads(place.registry), "what the registry has was sent again"


def test_what_was_sent_of_a_young_folder_is_not_sent_again(place: Place, models: Path) -> None:
    """Digests of files that were written a moment ago are not remembered; a run that ends early is gone on with even so."""
    for path in models.rglob("*"):
        if path.is_file():
            path.touch()
    place.registry.faults.add(Status(403), method="PUT", path="/manifests/")
    recipe = place.recipe(model="./models", max_layer_size=1_600_000)
    with pytest.raises(RegistryFailed, match="not logged in"):
        place.build(recipe)
    place.registry.faults.clear()
    place.registry.log.clear()
    place.build(recipe)
    assert sum(one.request_bytes for one in place.registry.requests if one.method == "PATCH") < 10_000
    assert place.model_files() == FILES


def test_a_shard_with_the_size_and_times_of_the_old_one_is_found(place: Place, models: Path) -> None:
    """Tools that set all times to one leave size and time as they were: the old content must not stay in the image."""
    recipe = place.recipe(model="./models", max_layer_size=1_600_000)
    place.build(recipe)
    content = os.urandom(len(FILES[SHARD]))
    replaced(models / SHARD, content, 0)
    place.build(recipe)
    assert place.model_files() == {**FILES, SHARD: content}


@pytest.mark.parametrize("at", [0, 600_000, 900_000])
def test_a_replaced_shard_that_is_cut_arrives_whole(place: Place, models: Path, at: int) -> None:
    """The upload is begun again; the shards that did not change are not touched by it."""
    recipe = place.recipe(model="./models", max_layer_size=1_600_000)
    place.build(recipe)
    content = os.urandom(len(FILES[SHARD]))
    replaced(models / SHARD, content, 1)
    place.registry.faults.add(Cut(at, "request"), method="PATCH")
    place.build(recipe)
    assert place.model_files() == {**FILES, SHARD: content}


def test_the_attested_lock_names_every_file(place: Place, models: Path) -> None:
    """No lock may hold a file of which nobody knows what proves it."""
    place.build(place.recipe(model="./models"))
    files = json.loads(place.lock.read_text())["pins"]["sources"]["model"]["files"]
    assert len(files) == len(FILES) and all(len(file["sha256"]) == 64 for file in files)


def test_a_file_that_is_in_no_layer_is_locked_as_well(
    place: Place, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kind that leaves a large file out of its image must not end with a lock that cannot be written."""
    name = "model-00001-of-00002.safetensors"

    def planned(recipe: Recipe, pins: Pins) -> Plan:
        plan = adapting.planned(recipe, pins)
        layer = plan.layers[0]
        assert isinstance(layer, PlannedLayer)
        kept = tuple(file for file in layer.files if file.file.path != name)
        return replace(plan, layers=(replace(layer, files=kept),))

    monkeypatch.setattr(flow, "planned", planned)
    place.build(place.recipe(model="./models"))
    assert set(place.model_files()) == set(FILES) - {name}
    files = json.loads(place.lock.read_text())["pins"]["sources"]["model"]["files"]
    assert {file["path"] for file in files if file["sha256"]} == set(FILES)


def test_a_bad_tag_is_told_before_anything_large_is_read(place: Place, models: Path, read: Counter[str]) -> None:
    """Reading later must not mean refusing later."""
    with pytest.raises(InvalidInput):
        place.build(place.recipe(model="./models", tags=["{revision}"]))
    assert sum(read.values()) < LARGE and not uploads(place.registry)
