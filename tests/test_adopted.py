"""What an engine exported becomes an image: if these fail, a lock gives another digest wherever an engine builds it."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from buildkit import flow
from buildkit.build import Context
from buildkit.delivery.push import Delivered
from buildkit.engines.adopted import adopt, last
from buildkit.errors import Drifted, InvalidInput
from buildkit.machine.cache import cache_folder
from buildkit.oci.image import Blob
from buildkit.oci.layout import Layout
from buildkit.oci.manifest import OCI_CONFIG, OCI_LAYER, Descriptor, Manifest, canonical
from buildkit.oci.reference import Digest, Platform
from buildkit.plan import Plan
from buildkit.policy import Policy
from buildkit.settings import Settings
from tests.place import Place

PODMAN = """#!/bin/sh
PATH=/usr/bin:/bin
test "$1" = save || exit 0
while [ "$1" != --output ]; do shift; done
cp -r '{exports}/.' "$2"
"""
MIRROR = "mirror.example.com:5000/ubi9/ubi-micro"
Build = Callable[..., Delivered]


@pytest.fixture
def build(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Builds with a podman that exports the fake base, with a layer of one file above it."""
    exports, program = tmp_path / "exports", tmp_path / "podman"
    program.write_text(PODMAN.format(exports=exports))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    (place.folder / "models").mkdir()
    (place.folder / "models" / "model.onnx").write_bytes(b"weights")

    def built(clock: int = 0, began: str = "", content: bytes = b"", policy: Policy = Policy.KEEP) -> Delivered:
        export(place, Layout(exports), clock, began, content)
        wanted = flow.Wanted("podman", policy, f"{place.registry.address}/models")
        return flow.build(place.recipe(model="./models"), place.world(), wanted)

    return built


def export(place: Place, layout: Layout, clock: int, began: str, content: bytes) -> None:
    """Writes what podman saves: its folder of the base has the build's time, and its history what a step began from."""
    (layout.folder / "index.json").unlink(missing_ok=True)
    manifest, base = place.base()
    own = layer(clock, content)
    layout.put(own, lambda amount: None)
    step = {"created": "2026-01-01T00:00:00Z", "created_by": "ADD model.tar /", "comment": f"FROM {began}"}
    diff_ids = [*map(str, base.diff_ids), str(own.digest)]
    config = canonical(
        {
            **base.content,
            "history": [*base.content["history"], step],
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
    )
    layout.put(Blob.of(config, OCI_CONFIG), lambda amount: None)
    described = Descriptor(OCI_CONFIG, Digest.of(config), len(config))
    layers = [*manifest.layers, Descriptor(OCI_LAYER, Digest(str(own.digest)), own.size)]
    layout.publish(Manifest.write(described, layers, {}).document, "latest")


def layer(clock: int, content: bytes) -> Blob:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        folder = tarfile.TarInfo("models")
        folder.type, folder.mtime = tarfile.DIRTYPE, clock
        tar.addfile(folder)
        file = tarfile.TarInfo("models/model.onnx")
        file.size = len(content)
        tar.addfile(file, io.BytesIO(content))
    return Blob.of(packed.getvalue(), OCI_LAYER)


def history(place: Place) -> list[dict[str, str]]:
    return list(place.served()[1].content["history"])


def test_no_clock_of_a_build_is_in_its_layers(place: Place, build: Build) -> None:
    """The same lock gives another digest on every machine, and every scheduled run moves the tag."""
    first = build(clock=1795332651)
    assert build(clock=1795339999).sealing.digest == first.sealing.digest
    assert build(clock=0, policy=Policy.LOCKED).sealing.digest == first.sealing.digest


def test_what_a_build_began_from_is_in_no_history(place: Place, build: Build) -> None:
    """The name of a company's mirror is published, and the digest follows from what lies in podman's store."""
    first = build(began=f"{MIRROR}:latest")
    assert "mirror.example.com" not in str(dict(place.served()[1].content))
    assert [entry["created_by"] for entry in history(place)] == ["base", "ADD model.tar /"]
    assert build(began="96236075011b").sealing.digest == first.sealing.digest


def test_what_the_base_remarks_stays(place: Place, build: Build) -> None:
    """Who made the base, and with what, is lost."""
    build()
    assert history(place)[0]["comment"] == "made by hand"


def test_locked_refuses_what_an_engine_makes_otherwise(place: Place, build: Build) -> None:
    """A tag moves to an image that nobody reviewed, and the run says that all is well."""
    first = build(content=b"one")
    lock = place.lock.read_bytes()
    with pytest.raises(Drifted, match=r"(?s)recipe\.lock promises another image.*model: is made otherwise"):
        build(content=b"another", policy=Policy.LOCKED)
    assert place.served()[0].document.digest == first.sealing.digest
    assert place.lock.read_bytes() == lock
    assert build(content=b"another").sealing.digest != first.sealing.digest


def test_locked_refuses_another_engine(place: Place, build: Build) -> None:
    """A machine with another engine moves the tag to an image of other layers, and the run says that all is well."""
    first = build(content=b"one")
    with pytest.raises(Drifted, match="podman built the image of the lock") as raised:
        place.build(place.recipe(model="./models"), policy=Policy.LOCKED)
    assert raised.value.problems[0].hint == "use --engine podman"
    assert "where the lock's image was built" in raised.value.hint, "there is no warning that would name a program"
    assert place.served()[0].document.digest == first.sealing.digest


def test_a_layer_that_an_engine_made_twice_is_taken_twice(tmp_path: Path) -> None:
    """A Containerfile that copies the same file twice cannot be built: its layer is gone where it lay at first."""
    layout, own, platform = Layout(tmp_path / "layout"), layer(1795332651, b"one"), Platform("linux", "amd64")
    layout.put(own, lambda amount: None)
    ids = [str(own.digest)] * 2
    config = canonical({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": ids}})
    layout.put(Blob.of(config, OCI_CONFIG), lambda amount: None)
    layers = [Descriptor(OCI_LAYER, Digest(one), own.size) for one in ids]
    layout.publish(Manifest.write(Descriptor(OCI_CONFIG, Digest.of(config), len(config)), layers, {}).document, "v1")
    plan = Plan("twice", None, (platform,), {}, (), {}, rendered=lambda: "", own_layers=True)
    context = Context(tmp_path, tmp_path / "recipe.yaml", Settings(), {}, {}, ("v1",), lambda event: None)
    adopt(layout, plan, platform, context)
    taken = [one.blob.digest for one in last(layout, plan, platform, context).layers]
    assert taken == [layer(0, b"one").digest] * 2


@pytest.mark.parametrize("lost", ["config", "layer"])
def test_an_export_that_lost_a_blob_is_built_again(place: Place, build: Build, lost: str) -> None:
    """Who is told to copy a folder again, which is a cache of ours, does not know which one and from where."""
    sealed = next(iter(build().sealing.images.values()))
    digest = Digest(sealed.config.key) if lost == "config" else sealed.manifest.layers[-1].digest
    for blob in (cache_folder() / "images").glob(f"*/blobs/sha256/{digest.hex}"):
        blob.unlink()
    with pytest.raises(InvalidInput, match="is not on this machine any more") as refused:
        flow.push(place.recipe(model="./models"), place.world(), f"{place.registry.address}/elsewhere")
    assert refused.value.hint == "run 'modelpack build' again"
