"""Layout folders and archives: if these fail, ``--output`` writes something that other tools cannot read."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
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
