"""An image is found by its name, in whichever command; where it is not, every command says the same of it."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from buildkit.checks.examine import examine
from buildkit.delivery.copy_source import read_source
from buildkit.delivery.output import Output
from buildkit.deploying import Wish, image_of
from buildkit.errors import InvalidInput
from buildkit.inspect import look
from buildkit.oci.reference import Reference
from buildkit.opening import open_image, open_reference
from buildkit.pin import pin_image
from buildkit.targets import target_named
from tests.place import Place

Look = Callable[[Place, str], object]


def deployed(place: Place, image: str) -> object:
    return image_of(place.recipe(), target_named("kubernetes"), place.world(), Wish(image=image))


def pinned(place: Place, image: str) -> object:
    reference, world = Reference.parse(image), place.world()
    return pin_image(reference, (), world.base(reference), world.settings.located(reference))


EVERYWHERE: dict[str, Look] = {
    "inspect": lambda place, image: look(image, place.world()),
    "check": lambda place, image: examine(image, place.world()),
    "copy": lambda place, image: read_source(image, "", place.world()),
    "deploy": deployed,
    "build": pinned,
}


@pytest.mark.parametrize("command", EVERYWHERE)
def test_what_a_mirror_lacks_is_told_by_the_mirror(place: Place, command: str) -> None:
    """Who reads that an image is not there, though everybody can see it, looks for it in the wrong place."""
    mirror = f"{place.registry.address}/mirror"
    (place.folder / "modelpack.yaml").write_text(json.dumps({"mirrors": {"quay.io": mirror}}))
    told = f"there is no image quay.io/org/gone:v1: its mirror has no {mirror}/org/gone:v1"
    with pytest.raises(InvalidInput, match=told) as refused:
        EVERYWHERE[command](place, "quay.io/org/gone:v1")
    assert "copy it to the mirror" in refused.value.hint


@pytest.mark.parametrize("command", EVERYWHERE)
def test_what_is_not_there_is_told_in_the_same_words(place: Place, command: str) -> None:
    """A slip in a tag reads as another failure in every command."""
    with pytest.raises(InvalidInput, match=f"there is no image {place.registry.address}/org/gone:v1") as refused:
        EVERYWHERE[command](place, f"{place.registry.address}/org/gone:v1")
    assert refused.value.hint == "check the name and the tag, and that you may pull it"


def test_who_goes_to_the_registry_itself_is_not_told_of_a_mirror(place: Place) -> None:
    """A scanner does not ask the mirror: filling it would mend nothing."""
    (place.folder / "modelpack.yaml").write_text(json.dumps({"mirrors": {place.registry.address: "quay.io/mirror"}}))
    reference = Reference.parse(f"{place.registry.address}/org/gone:v1")
    with pytest.raises(InvalidInput, match=f"there is no image {reference}$"):
        open_reference(reference, place.world(), reference).document()


@pytest.mark.parametrize("command", ["inspect", "check", "copy"])
def test_an_image_on_this_disk_is_found_by_its_tag(place: Place, tmp_path: Path, command: str) -> None:
    """A folder with a colon in its name, or a tag behind it, is taken for something else."""
    layout = tmp_path / "a:b"
    place.build(push=False, output=Output("oci", layout))
    for image in (f"oci:{layout}", f"oci:{layout}:v1"):
        assert EVERYWHERE[command](place, image)
    with pytest.raises(InvalidInput, match="there is no image") as refused:
        EVERYWHERE[command](place, f"oci:{layout}:v9")
    assert refused.value.hint == "it has v1"
    with pytest.raises(InvalidInput, match="not an OCI layout"):
        EVERYWHERE[command](place, f"oci:{tmp_path / 'gone'}")


def test_an_archive_is_inspected_as_it_is(place: Place, tmp_path: Path) -> None:
    """Who saved an image with podman unpacks it by hand, only to see what is in it."""
    archive, layout = tmp_path / "image.tar", tmp_path / "layout"
    place.build(push=False, output=Output("oci", layout))
    with tarfile.open(archive, "w") as written:
        written.add(layout, ".")
    seen = look(f"oci-archive:{archive}", place.world())
    assert seen.document()["images"] == look(f"oci:{layout}", place.world()).document()["images"]
    with pytest.raises(InvalidInput, match="cannot be copied"):
        read_source(f"oci-archive:{archive}", "", place.world())
    assert open_image(f"oci-archive:{archive}", place.world()).exact


def test_no_digest_is_told_that_is_not_true(place: Place, tmp_path: Path) -> None:
    """An archive of an old docker has no manifest, and who pins the digest that was made up never finds the image."""
    archive, unpacked = tmp_path / "image.tar", tmp_path / "unpacked"
    place.build(push=False, output=Output("docker-archive", archive))
    with tarfile.open(archive) as tar:
        tar.extractall(unpacked, filter="data")
    for name in ("index.json", "oci-layout"):
        (unpacked / name).unlink(missing_ok=True)
    with tarfile.open(archive, "w") as written:
        written.add(unpacked, ".")
    shutil.rmtree(unpacked)
    with pytest.raises(InvalidInput, match="no digest in it would be true"):
        look(f"docker-archive:{archive}", place.world())
    assert examine(f"docker-archive:{archive}", place.world()).files.find("models/config.json")
