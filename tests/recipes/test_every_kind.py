"""What holds for every kind, those of third parties included: if these fail, a kind builds what nobody pinned, or more than its project."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from buildkit.containerfiles.image_places import Named, places
from buildkit.containerfiles.instructions import Written, read
from buildkit.errors import InvalidInput
from buildkit.events import Event, Said, silent
from buildkit.judging.chosen import chosen_targets, names_a_target
from buildkit.judging.recipes import check_recipe
from buildkit.kinds import Kind, kind_named, kinds
from buildkit.oci.reference import Digest
from buildkit.pin import File, ImagePin, Inventory, Pins
from buildkit.plan import Plan, PlannedLayer
from buildkit.recipe import Recipe, load
from buildkit.settings import Settings
from buildkit.sources import open_source
from buildkit.spec import FolderRef, HuggingFaceRef, SourceRef, UrlsRef
from buildkit.start import start
from buildkit.verifying.verify import Chosen, verify
from buildkit.world import World
from recipes.containerfile.secrets import left_in

KINDS = sorted(kinds())
DESCRIBED = ("agent", "azureml", "batch", "containerfile", "modelcar", "server", "triton")
MEANT = {
    "agent": "oci-genai",
    "azureml": "azureml:v2",
    "batch": "modelarts:batch",
    "modelcar": "kserve:modelcar",
    "server": "oci-data-science",
    "triton": "oci-data-science:triton",
}
"""The platform that each kind is made for."""
PLANTED = {
    ".git/config": "[remote] url = https://me:geheim@example.org/x",
    ".env": "TOKEN_OF_MINE=geheim",
    ".venv/bin/python": "x",
    "__pycache__/a.pyc": "x",
    ".cache/x": "x",
    "left-out.txt": "x",
}
"""What lies in the folder of every developer, and belongs in no image; the last one is named in the ignore file."""
LABELS = {
    "org.opencontainers.image.source": "https://example.org/x",
    "org.opencontainers.image.revision": "0123abc",
    "org.opencontainers.image.licenses": "MIT",
}


def project(kind: str, folder: Path) -> Recipe:
    """The project that ``modelpack init`` writes, where a developer has worked."""
    ignored = [".dockerignore"]
    for path, text in {**PLANTED, **kind_named(kind).starter("my-image")}.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
        ignored += [place.name] if place.name == ".containerignore" else []
    with (folder / ignored[-1]).open("a") as file:
        file.write("\nleft-out.txt\n")
    recipe = folder / "recipe.yaml"
    text = recipe.read_text()
    assert "\nlabels:" not in text
    recipe.write_text(text + "\nlabels:\n" + "".join(f"  {key}: {value}\n" for key, value in LABELS.items()))
    return load(folder)


def pins(recipe: Recipe) -> Pins:
    """Pins as a registry and a hub would give them; folders are really read."""
    images = {
        key: ImagePin(
            reference if reference.digest else reference.at(Digest.of(str(reference).encode())),
            {platform: Digest.of(f"{reference} {platform}".encode()) for platform in recipe.spec.platforms_parsed},
        )
        for key, reference in recipe.spec.images()
    }
    return Pins(images, {key: _inventory(reference, recipe) for key, reference in recipe.spec.sources()})


def _inventory(reference: SourceRef, recipe: Recipe) -> Inventory:
    if isinstance(reference, FolderRef):
        return open_source(reference, recipe.folder, Settings(), silent).inventory()
    proof = hashlib.sha256(b"x").hexdigest()
    if isinstance(reference, HuggingFaceRef):
        paths = ("config.json", "model.safetensors", "onnx/1/model.onnx")
        files = tuple(File(path, 1, sha256=proof) for path in paths)
        return Inventory("huggingface", reference.hf, files, reference.revision, "0" * 40)
    assert isinstance(reference, UrlsRef)
    files = tuple(File(one.file_path, 1, sha256=one.sha256 or proof, url=one.url) for one in reference.urls)
    return Inventory("http", "example.org", files)


@pytest.fixture(params=KINDS)
def planned(request: pytest.FixtureRequest, tmp_path: Path) -> Plan:
    recipe = project(request.param, tmp_path)
    return recipe.kind.plan(recipe.spec, pins(recipe))


def laid(plan: Plan) -> Iterator[PlannedLayer]:
    """Every layer whose files are known, and what a builder is given."""
    for layer in (*plan.layers, *(layer for archived in plan.archives.values() for layer in archived), plan.copied):
        if isinstance(layer, PlannedLayer):
            yield layer


def named(written: Written) -> list[Named]:
    """The places that name images from outside."""
    found = list(places(written, []))
    stages = {one.stage for one in found if one.stage} | {"scratch", *map(str, range(20))}
    return [one for one in found if one.text.lower() not in stages]


def test_every_kind_is_one() -> None:
    """The machinery cannot use it."""
    assert set(DESCRIBED) <= set(KINDS)
    for name in KINDS:
        kind: Kind = kind_named(name)
        assert kind.name == name
    for name in DESCRIBED:
        readme = Path(__file__).parents[2] / "recipes" / name / "README.md"
        assert readme.read_text(encoding="utf-8").startswith(f"# {name}\n")


def test_every_image_is_pinned(planned: Plan) -> None:
    """A tag that moves tomorrow decides what is built from the same lock."""
    found = named(read(planned.containerfile))
    unpinned = [f"line {one.line}: {one.text}" for one in found if not re.search(r"@sha256:[0-9a-f]{64}$", one.text)]
    assert not unpinned
    assert len(found) >= (planned.base is not None)


def test_what_every_engine_understands(planned: Plan) -> None:
    """An engine stops in the middle, or sets other modes than another one (see the README of the kinds)."""
    written = read(planned.containerfile)
    assert not written.troubles
    assert not written.directives, "BuildKit fetches a frontend, or lines are read differently"
    for one in written.instructions:
        assert not one.documents, f"line {one.line}: a here-document"
        assert "--chmod" not in one.text.split(" /")[0], f"line {one.line}: --chmod sets other modes on each engine"
        assert "--link" not in one.text.split(" /")[0], f"line {one.line}: --link"


def test_no_secret_is_asked_for_or_left(planned: Plan) -> None:
    """A token stands in the history of an image."""
    assert not list(left_in(read(planned.containerfile)))


def test_what_a_developer_has_lying_around_is_left_out(planned: Plan) -> None:
    """The history, a password or another system's virtual environment is in every image."""
    names = {entry.name for layer in laid(planned) for entry in layer.entries}
    planted = {part for path in PLANTED for part in (path, path.split("/")[0])}
    found = [name for name in names if any(name == one or name.endswith(f"/{one}") for one in planted)]
    assert not found
    assert planned.context is None, "the recipe's whole folder would be sent to a builder"


def test_files_are_readable_and_have_no_owner_of_this_machine(planned: Plan) -> None:
    """A random user of the group 0 cannot read a file, or two machines lay two modes."""
    for layer in laid(planned):
        for entry in layer.entries:
            wanted = (0o755, 0o555) if entry.directory else (0o644, 0o755, 0o444, 0o555)
            assert entry.mode in wanted, (entry.name, oct(entry.mode))
            assert (entry.uid, entry.gid) in ((0, 0), (1001, 0)) and entry.mtime == 0


def test_every_image_says_where_it_comes_from(planned: Plan) -> None:
    """Nobody can tell which base or which source an image in a registry was built from."""
    said = planned.process["Labels"]
    prefix = "org.opencontainers.image."
    for key, value in LABELS.items():
        assert said[key] == value
        assert planned.annotations[key] == value or key.endswith((".source", ".revision"))
    assert said[f"{prefix}title"] == "my-image"
    if planned.base:
        assert said[f"{prefix}base.digest"] == planned.base.reference.digest
        assert said[f"{prefix}base.name"].startswith(planned.base.reference.name)
    label = next(one for one in read(planned.containerfile).instructions if one.keyword == "LABEL")
    for key in said:
        assert f"{key}=" in label.text, "an image that is built by hand does not say it"


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_lock_is_the_same_plan(kind: str, tmp_path: Path) -> None:
    """A clock, a path of this machine or an order decides what is built."""
    digests = []
    for number in range(2):
        folder = tmp_path / str(number) / "somewhere"
        folder.mkdir(parents=True)
        recipe = project(kind, folder)
        plan = recipe.kind.plan(recipe.spec, pins(recipe))
        digests.append((plan.digest, plan.containerfile))
        assert str(tmp_path) not in plan.containerfile
    assert digests[0] == digests[1]


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_of_the_project_decides_the_plan(kind: str, tmp_path: Path) -> None:
    """A change of the code is not built, and ``--locked`` says that all is as it was."""
    recipe = project(kind, tmp_path)
    before = recipe.kind.plan(recipe.spec, pins(recipe))
    taken = {(file.source, file.file.path) for layer in laid(before) for file in layer.files}
    folders = {key: tmp_path / one.path for key, one in recipe.spec.sources() if isinstance(one, FolderRef)}
    places_ = [folders[key] / path for key, path in sorted(taken) if key in folders and (folders[key] / path).is_file()]
    for place in places_:
        text = place.read_text(encoding="utf-8")
        place.write_text(text + "\n# changed\n", encoding="utf-8")
        again = load(tmp_path)
        assert again.kind.plan(again.spec, pins(again)).digest != before.digest, place
        place.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(("kind", "name"), [("containerfile", "words"), ("azureml", "azureml")])
def test_a_sample_is_what_init_writes(kind: str, name: str) -> None:
    """The sample was mended and the starter was not, or the other way round."""
    folder = Path(__file__).parents[2] / "samples" / kind
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    starter = kind_named(kind).starter(name)
    assert files - {"recipe.lock"} == set(starter)
    for path, text in starter.items():
        assert (folder / path).read_text(encoding="utf-8") == text, path


@pytest.mark.parametrize("name", ["no", "12", "1e3", "null"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_first_project_may_have_any_name(kind: str, name: str, tmp_path: Path) -> None:
    """``init modelcar no`` writes a recipe that its own reader refuses, since "no" without quotes is no text."""
    start(kind, tmp_path / "first", name)
    assert load(tmp_path / "first").spec.name == name


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_project_is_checked_without_a_word_more(kind: str, tmp_path: Path) -> None:
    """``init`` and ``check`` are a newcomer's first two commands: the second one asks for a word that nobody knows yet."""
    recipe = project(kind, tmp_path)
    told: list[Event] = []
    nowhere = dict.fromkeys(("docker.io", "nvcr.io", "quay.io", "registry.access.redhat.com"), "127.0.0.1:9")
    (judged,) = check_recipe(recipe, World(Settings(mirrors=nowhere), told.append))
    assert not judged.findings
    assert judged.target == MEANT.get(kind, "any platform")
    assert [one for one in told if isinstance(one, Said) and one.text.startswith("judged")]


def test_where_a_recipe_names_its_platform_that_one_counts(tmp_path: Path) -> None:
    """A recipe for SageMaker is judged by the rules of OCI Data Science, which its kind is made for."""
    recipe = project("server", tmp_path)
    recipe.path.write_text(f"{recipe.path.read_text()}targets: [sagemaker]\n")
    assert [target.name for target, _ in chosen_targets(load(tmp_path), ())] == ["sagemaker"]
    assert [target.name for target, _ in chosen_targets(recipe, ["vertex"])] == ["vertex"]
    assert [target.name for target, _ in chosen_targets(recipe, ())] == ["oci-data-science"]


def test_a_target_asks_on_the_recipe_s_own_port(tmp_path: Path) -> None:
    """Who wrote ``port: 5000`` once has it asked on 8080, and its deployment written with 8080."""
    recipe = project("server", tmp_path)
    text = recipe.path.read_text().replace("8080", "5000")
    recipe.path.write_text(text)
    ports = {}
    for target, said in chosen_targets(load(tmp_path), ["oci-data-science", "modelarts", "azureml", "sagemaker"]):
        ports[target.name] = said.model_dump()["port"]
    assert ports == {"oci-data-science": 5000, "modelarts:online": 5000, "azureml:v2": 5000, "sagemaker": 8080}
    recipe.path.write_text(f"{text}targets: [{{name: oci-data-science, port: 6000}}]\n")
    ((_, told),) = chosen_targets(load(tmp_path), ())
    assert told.model_dump()["port"] == 6000
    ((_, changed),) = chosen_targets(load(tmp_path), ["vertex"], {"port": 7000})
    assert changed.model_dump()["port"] == 7000


def test_another_mode_of_a_platform_is_asked_with_the_same_settings(tmp_path: Path) -> None:
    """``verify --target`` would ask port 8080 of an image that ``check --target`` has judged for port 5000."""
    recipe = project("server", tmp_path)
    said = "targets: [{name: oci-data-science, port: 6000}]\nwaive: [{rule: XX-99, reason: there is none}]\n"
    recipe.path.write_text(f"{recipe.path.read_text()}{said}")
    ((target, told),) = chosen_targets(load(tmp_path), ["oci-data-science:triton"])
    assert (target.name, told.model_dump()["port"]) == ("oci-data-science:triton", 6000)
    ((_, changed),) = chosen_targets(load(tmp_path), ["oci-data-science:triton"], {"instances": 3})
    assert (changed.model_dump()["port"], changed.model_dump()["instances"]) == (6000, 3)
    with pytest.raises(InvalidInput, match="waives what is no rule"):
        verify("x", load(tmp_path), World(Settings(), silent), cast(Any, None), Chosen())


def test_a_kind_with_one_platform_is_run_for_it(tmp_path: Path) -> None:
    """``run`` of an agent started a bare container, while ``verify`` started what OCI Generative AI starts."""
    assert names_a_target(project("agent", tmp_path), ())
    assert not names_a_target(None, ())
