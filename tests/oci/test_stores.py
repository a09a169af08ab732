"""Layout folders and archives: if these fail, ``--output`` writes something that other tools cannot read."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from buildkit.errors import InvalidInput
from buildkit.events import Event, silent
from buildkit.machine.parallel import Stop
from buildkit.oci.archive import Archive
from buildkit.oci.copy import place, publish, seal
from buildkit.oci.image import Blob, Image, Layer
from buildkit.oci.layout import Layout
from buildkit.oci.manifest import OCI_LAYER, ImageConfig, Manifest
from buildkit.oci.reference import Digest, Platform
from buildkit.oci.stored import Archived, Readable
from buildkit.opening import open_image
from buildkit.settings import Settings
from buildkit.world import World

ROOT = Path(__file__).parents[2]
AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


def image(platform: Platform = AMD64, *contents: bytes) -> Image:
    def blob(content: bytes) -> Blob:
        return Blob(
            str(content[:8]), OCI_LAYER, len(content), lambda: iter((content[:3], content[3:])), title=str(content[:4])
        )

    config = {key: value for key, value in ImageConfig.empty(platform).content.items() if key != "rootfs"}
    return Image(platform, config, tuple(Layer(blob(content)) for content in contents or (b"layer one", b"layer two!")))


def test_a_layout_holds_the_whole_image(tmp_path: Path) -> None:
    """Every blob stands under its digest, and the tag leads to the manifest."""
    layout = Layout(tmp_path / "with space" / "image")
    placed = place([image()], layout, silent, Stop())
    publish(seal(placed), layout, ["v1", "v2"])
    document = layout.resolve("v1")
    assert document is not None and document == layout.resolve("v2") == layout.resolve("")
    manifest = Manifest.read(document)
    contents = [b"".join(layout.fetch(layer)) for layer in manifest.layers]
    assert contents == [b"layer one", b"layer two!"]
    config = ImageConfig.read(b"".join(layout.fetch(manifest.config)))
    assert list(config.diff_ids) == [Digest.of(content) for content in contents]
    assert not list(layout.folder.rglob(".partial-*")), "something half-written was left"


@pytest.mark.parametrize("store", ["Layout(place)", "Archive(place, 'docker-archive', 'granite')"])
def test_what_a_killed_build_left_is_swept_by_the_next(tmp_path: Path, store: str) -> None:
    """Every build that is killed leaves gigabytes beside its output that nobody ever removes."""
    script = (
        "import os, sys; from pathlib import Path; from tests.oci.test_stores import Archive, Blob, Layout, silent\n"
    )
    script += "place, blob = Path(sys.argv[1]), Blob('x', 'layer', 3, lambda: os._exit(9) if sys.argv[2:] else iter([b'abc']))\n"
    script += f"store = {store}; store.put(blob, silent); getattr(store, 'discard', int)()"
    command = [sys.executable, "-c", script, str(tmp_path / "out")]
    assert subprocess.run([*command, "killed"], cwd=ROOT, check=False).returncode == 9
    (left,) = tmp_path.rglob("*partial-*")
    another = tmp_path / ".partial-of-another-program"
    another.touch()
    subprocess.run(command, cwd=ROOT, check=True)
    assert not left.exists()
    assert another.exists()


def test_an_index_leads_to_each_platform(tmp_path: Path) -> None:
    """An image for two platforms is one tag, and shares the layers that are the same."""
    layout = Layout(tmp_path)
    events: list[Event] = []
    whole = seal(place([image(AMD64), image(ARM64)], layout, events.append, Stop()))
    publish(whole, layout, ["v1"])
    assert sum(type(event).__name__ == "Began" for event in events) == 2, "a shared layer was moved twice"
    document = layout.resolve("v1")
    assert document is not None
    platforms = {entry["platform"]["architecture"] for entry in json.loads(document.raw)["manifests"]}
    assert platforms == {"amd64", "arm64"}


def called(layout: Layout, *names: str, content: bytes) -> Digest:
    """An image in a layout under names that other tools may have given it; "" for none."""
    whole = seal(place([image(AMD64, content)], layout, silent, Stop()))
    for name in names:
        publish(whole, layout, [name])
    return whole.digest


REFERENCE = "quay.example/other/granite:v1"


def test_a_tag_means_the_image_that_is_called_so_before_one_whose_name_ends_so(tmp_path: Path) -> None:
    """A folder into which podman wrote another image before has that one pushed in the place of the one just built."""
    older = called(Layout(tmp_path), REFERENCE, content=b"of podman")
    newer = called(Layout(tmp_path), "v1", content=b"just built")
    names = {"v1": newer, REFERENCE: older, str(newer): newer}
    for name, digest in names.items():
        assert open_image(f"oci:{tmp_path}:{name}", World(Settings(), silent)).document().digest == digest


def archived(layout: Layout) -> Archived:
    with tarfile.open(layout.folder / "archive", "w") as tar:
        tar.add(layout.folder / "index.json", "index.json")
        tar.add(layout.folder / "blobs", "blobs")
    return Archived(layout.folder / "archive")


@pytest.mark.parametrize("opened", [Layout, lambda path: archived(Layout(path))])
def test_a_name_that_two_images_can_have_means_neither(tmp_path: Path, opened: Callable[[Path], Readable]) -> None:
    """The first of two images that end in the asked tag would be pushed, whichever was meant."""
    layout = Layout(tmp_path)
    digests = [called(layout, f"quay.example/{name}:v1", content=name.encode()) for name in ("a", "b")]
    store = opened(tmp_path)
    for name in ("v1", ""):
        with pytest.raises(InvalidInput, match="holds several images") as refused:
            store.resolve(name)
        assert [(one.where, one.what) for one in refused.value.problems] == [
            ("quay.example/a:v1", digests[0]),
            ("quay.example/b:v1", digests[1]),
        ]
    assert store.resolve("quay.example/b:v1") == layout.resolve(digests[1])
    called(layout, "localhost/other:v2", "v2", content=b"one")
    assert opened(tmp_path).resolve("v2"), "the same image under two names is one"


def test_the_only_named_image_of_a_layout_is_the_one(tmp_path: Path) -> None:
    """What oras copied into a folder is "not there", for it lists an index's manifests and its referrers without names."""
    layout = Layout(tmp_path)
    top = called(layout, "v1", "stable", content=b"the image")
    called(layout, "", content=b"a referrer")
    for store in (layout, archived(layout)):
        found = store.resolve("")
        assert found is not None and found.digest == top
    called(layout, "v2", content=b"another image")
    for store in (layout, archived(layout)):
        with pytest.raises(InvalidInput, match="holds several images") as refused:
            store.resolve("")
        assert [one.where for one in refused.value.problems] == ["v1", "stable", "v2"]


def test_a_damaged_blob_is_not_handed_out(tmp_path: Path) -> None:
    """A flipped byte on a disk must not be pushed as if it were the model."""
    layout = Layout(tmp_path)
    whole = seal(place([image()], layout, silent, Stop()))
    publish(whole, layout, ["v1"])
    layer = whole.images[AMD64].manifest.layers[0]
    layout.path(layer.digest).write_bytes(b"layer 0ne")
    with pytest.raises(InvalidInput, match="damaged"):
        list(layout.fetch(layer))


def test_a_stream_that_fails_leaves_no_blob(tmp_path: Path) -> None:
    """A download that breaks must leave neither a tag nor half a blob."""

    def broken() -> Iterator[bytes]:
        yield b"half"
        raise InvalidInput("the line was cut")

    layout = Layout(tmp_path)
    blob = Blob("key", OCI_LAYER, 8, broken, title="broken")
    config = dict(ImageConfig.empty(AMD64).content)
    with pytest.raises(InvalidInput, match="cut"):
        place([Image(AMD64, config, (Layer(blob),))], layout, silent, Stop())
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "oci-layout"] == []


@pytest.mark.parametrize("form", ["oci-archive", "docker-archive"])
def test_archives_name_their_blobs_by_digest(tmp_path: Path, form: str) -> None:
    """docker load and skopeo look for blobs under their digests."""
    archive = Archive(tmp_path / "out.tar", form, "granite")  # type: ignore[arg-type]
    whole = seal(place([image()], archive, silent, Stop(), jobs=1))
    publish(whole, archive, ["v1"])
    assert not (tmp_path / "out.tar").exists(), "the file appeared before it was whole"
    archive.close()
    with tarfile.open(tmp_path / "out.tar") as read:
        files = {member.name: read.extractfile(member).read() for member in read}  # type: ignore[union-attr]
    for name, content in files.items():
        if name.startswith("blobs/"):
            assert hashlib.sha256(content).hexdigest() == name.rpartition("/")[2]
    if form == "docker-archive":
        (contents,) = json.loads(files["manifest.json"])
        assert contents["RepoTags"] == ["granite:v1"]
        assert [files[layer] for layer in contents["Layers"]] == [b"layer one", b"layer two!"]
        assert json.loads(files[contents["Config"]])["os"] == "linux"
    else:
        assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
        (entry,) = json.loads(files["index.json"])["manifests"]
        assert f"blobs/sha256/{entry['digest'][7:]}" in files
    assert io.BytesIO(files[next(iter(files))]).read()


def test_the_same_image_twice_is_the_same_archive(tmp_path: Path) -> None:
    """An archive in a cache or under version control must not change by being written again."""
    raws = []
    for number in range(2):
        archive = Archive(tmp_path / f"{number}.tar", "oci-archive", "granite")
        publish(seal(place([image()], archive, silent, Stop(), jobs=1)), archive, ["v1"])
        archive.close()
        raws.append((tmp_path / f"{number}.tar").read_bytes())
    assert raws[0] == raws[1]
