"""Images are read as little as can be: headers in spans, compressed layers up to a bound, archives without unpacking."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit.checks.examine import Examined, examine
from buildkit.errors import InvalidInput
from buildkit.inspect import look
from buildkit.judging.images import check_image
from buildkit.oci.files import Files, Member
from buildkit.oci.headers import Spans, inflated, members_in_spans, members_of_stream
from buildkit.settings import find
from buildkit.world import World
from tests.fakes.registry import Registry
from tests.targets.drafts import OVMS, SERVER, VLLM, Draft, Entry, folder, link, model, program, tar, write

SHELL = "KS-02"


def world(path: Path) -> World:
    return World(find(path), lambda event: None, sleep=lambda seconds: None)


def pushed(registry: Registry, draft: Draft, path: Path, name: str = "models/x") -> str:
    """Puts a draft into a registry by hand; returns its reference."""
    write(draft, path)
    top = json.loads((path / "index.json").read_text())["manifests"][0]
    for blob in (path / "blobs" / "sha256").iterdir():
        registry.put_blob(name, blob.read_bytes())
    raw = (path / "blobs" / "sha256" / top["digest"][7:]).read_bytes()
    registry.put_manifest(name, raw, top["mediaType"], "v1")
    return f"{registry.address}/{name}:v1"


def test_a_large_model_in_a_registry_costs_some_kilobytes(tmp_path: Path) -> None:
    """Whoever checks an image of 10 GB does not want to wait for 10 GB."""
    large = VLLM.with_(*(model(f"model-0000{n}-of-00002.safetensors", os.urandom(20_000_000)) for n in (1, 2)))
    with Registry() as registry:
        image = pushed(registry, large, tmp_path / "image")
        before = len(registry.requests)
        found, examined = check_image(image, world(tmp_path), ["kserve"])
        sent = sum(request.response_bytes for request in registry.requests[before:])
    assert not found[0].findings
    assert examined.read() < 200_000
    assert sent < 300_000
    assert examined.files.merged["models/model-00002-of-00002.safetensors"].size == 20_000_000


def test_a_sparse_image_of_10_gb_is_read_in_a_moment(tmp_path: Path) -> None:
    """Nothing in the way that headers are read grows with the size of what lies between them."""
    image = write(OVMS, tmp_path)
    top = json.loads((tmp_path / "index.json").read_text())["manifests"][0]
    blobs = tmp_path / "blobs" / "sha256"
    manifest = json.loads((blobs / top["digest"][7:]).read_bytes())
    digest, size = "sha256:" + "0" * 64, 10 * 1000**3
    head, last = tarfile.TarInfo("models/1/model.onnx"), tarfile.TarInfo("models/2/model.onnx")
    head.size, head.mode, last.mode = size, 0o444, 0o444
    with (blobs / digest[7:]).open("wb") as file:
        file.write(head.tobuf(tarfile.GNU_FORMAT))
        file.seek(512 + size)
        file.write(last.tobuf(tarfile.GNU_FORMAT))
        end = file.tell()
        file.truncate(end + 1024)
    manifest["layers"].append({**manifest["layers"][-1], "digest": digest, "size": end + 1024})
    raw = json.dumps(manifest).encode()
    (blobs / hashlib.sha256(raw).hexdigest()).write_bytes(raw)
    top |= {"digest": f"sha256:{hashlib.sha256(raw).hexdigest()}", "size": len(raw)}
    (tmp_path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))
    examined = examine(image, world(tmp_path))
    assert [member.path for member in examined.files.layers[-1]] == ["models/1/model.onnx", "models/2/model.onnx"]
    assert examined.files.layers[-1][0].size == size
    assert examined.read() < 100_000


def test_a_registry_that_sends_no_parts_is_told_and_not_drained(tmp_path: Path) -> None:
    """Without Range the only way would be to read the whole model."""
    large = OVMS.with_(model("1/model.onnx", os.urandom(5_000_000)))
    with Registry() as registry:
        registry.behaviour.ranges = False
        image = pushed(registry, large, tmp_path / "image")
        before = len(registry.requests)
        found, examined = check_image(image, world(tmp_path), ["kserve"])
        assert sum(request.response_bytes for request in registry.requests[before:]) < 5_000_000
    assert "parts of a layer" in examined.files.unread
    assert "KS-01" in {one.rule.id for one in found[0].unjudged}


def test_a_compressed_layer_beyond_the_bound_is_left_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gzip layer can only be read from its beginning: 10 GB of it are nobody's idea of a check."""
    monkeypatch.setattr("buildkit.checks.examine.STREAMED_HERE", 1000)
    image = write(replace(OVMS, zipped=True).with_(model("1/model.onnx", os.urandom(100_000))), tmp_path)
    found, examined = check_image(image, world(tmp_path), ["kserve"])
    assert "--whole" in examined.files.unread
    assert not found[0].findings
    found, examined = check_image(image, world(tmp_path), ["kserve"], whole=True)
    assert not examined.files.unread
    assert {"KS-01", *ABOUT_FILES} <= {rule.id for rule in found[0].held}


ABOUT_FILES = {"KS-05", "KS-06", "KS-07", "KS-09", "KS-12", "VL-02", "UNI-01", "UNI-07"}
"""Rules that look at whatever files there are, and miss none."""


def test_a_rule_about_files_that_nobody_read_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of 10 GB whose layer was left out is reported as right in everything that nobody looked at."""
    monkeypatch.setattr("buildkit.checks.examine.STREAMED_HERE", 1000)
    large = model("1/model.onnx", os.urandom(100_000))
    image = write(replace(OVMS, layers=(*OVMS.layers, (large,)), zipped=True), tmp_path)
    found, _ = check_image(image, world(tmp_path), ["kserve"])
    assert {one.rule.id for one in found[0].unjudged} >= ABOUT_FILES
    assert not ABOUT_FILES & {rule.id for rule in found[0].held}
    assert {"KS-03", "UNI-12"} <= {rule.id for rule in found[0].held}


def test_a_secret_in_files_that_nobody_read_is_not_ruled_out(tmp_path: Path) -> None:
    """Of a layer with thousands of small files only some are read, and the rest is reported as free of secrets."""
    many = [Entry(f"app/{number}.txt", os.urandom(30_000).hex().encode()) for number in range(40)]
    found, examined = check_image(write(SERVER.with_(*many), tmp_path), world(tmp_path), ["vertex"])
    assert not examined.files.unread
    lacking = {one.rule.id: one.lacking for one in found[0].unjudged}
    assert "small files" in lacking["UNI-01"]
    assert "UNI-07" in {rule.id for rule in found[0].held}


def docker_archive(draft: Draft, path: Path, *, zipped: bool, linked: bool = False) -> None:
    """What docker save wrote before version 25: layers by folders, uncompressed; some tools leave gzip in it."""
    write(draft, path.parent / "layout")
    layout = path.parent / "layout"
    top = json.loads((layout / "index.json").read_text())["manifests"][0]
    manifest = json.loads((layout / "blobs" / "sha256" / top["digest"][7:]).read_bytes())
    config = (layout / "blobs" / "sha256" / manifest["config"]["digest"][7:]).read_bytes()
    names = [f"{number:064d}/layer.tar" for number in range(len(draft.layers))]
    with tarfile.open(path, "w") as written:

        def add(name: str, data: bytes) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            written.addfile(info, io.BytesIO(data))

        for name, layer in zip(names, draft.layers, strict=True):
            raw = gzip.compress(tar(layer)) if zipped else tar(layer)
            if linked:
                add(f"real/{name}", raw)
                info = tarfile.TarInfo(name)
                info.type, info.linkname = tarfile.SYMTYPE, f"../real/{name}"
                written.addfile(info)
            else:
                add(name, raw)
        add("config.json", config)
        listed = [{"Config": "config.json", "RepoTags": ["x:v1"], "Layers": names}]
        add("manifest.json", json.dumps(listed).encode())


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("linked", [False, True])
def test_a_docker_archive_is_read_as_it_is(tmp_path: Path, zipped: bool, linked: bool) -> None:
    """docker save is what people have at hand before they push."""
    right, wrong = tmp_path / "right" / "image.tar", tmp_path / "wrong" / "image.tar"
    for path, draft in ((right, SERVER), (wrong, SERVER.without("usr/bin/curl"))):
        path.parent.mkdir()
        docker_archive(draft, path, zipped=zipped, linked=linked)
    assert not _errors(f"docker-archive:{right}", tmp_path, "oci-data-science")
    assert _errors(f"docker-archive:{wrong}", tmp_path, "oci-data-science") == {"ODS-06"}
    assert not _errors(f"docker-archive:{right}", tmp_path, "modelarts")


def test_an_oci_archive_is_read_as_it_is(tmp_path: Path) -> None:
    """podman save --format oci-archive; skopeo copy."""
    write(OVMS.config(Entrypoint=["x"]), tmp_path / "layout")
    with tarfile.open(tmp_path / "image.tar", "w") as written:
        written.add(tmp_path / "layout", ".")
    assert _errors(f"oci-archive:{tmp_path / 'image.tar'}", tmp_path, "kserve") == {"KS-03"}


@pytest.mark.parametrize("content", [b"", b"not a tar at all" * 100, gzip.compress(b"x" * 2000)])
def test_what_is_no_archive_is_refused_in_words(tmp_path: Path, content: bytes) -> None:
    """A traceback would tell the user nothing."""
    (tmp_path / "x.tar").write_bytes(content)
    with pytest.raises(InvalidInput):
        examine(f"oci-archive:{tmp_path / 'x.tar'}", world(tmp_path))


def _errors(image: str, path: Path, target: str) -> set[str]:
    found, _ = check_image(image, world(path), [target])
    return {one.rule.id for one in found[0].findings if one.severity.value == "error"}


@pytest.mark.parametrize("damage", [lambda raw: raw[: len(raw) // 2], lambda raw: b"\0" * 100 + raw[100:]])
def test_a_damaged_layer_is_told(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    """What cannot be read is not called right."""
    image = write(replace(OVMS, zipped=True), tmp_path)
    layers = sorted((tmp_path / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
    gzipped = next(path for path in layers if path.read_bytes().startswith(b"\x1f\x8b"))
    gzipped.write_bytes(damage(gzipped.read_bytes()))
    found, examined = check_image(image, world(tmp_path), ["kserve"])
    assert examined.files.unread
    assert SHELL in {one.rule.id for one in found[0].unjudged}


MODEL = "application/vnd.cncf.model.config.v1+json"


def artifact(path: Path) -> str:
    """A model as oras and modctl push one: tar layers under a config of their own."""
    image = write(OVMS, path)
    blobs = path / "blobs" / "sha256"
    top = json.loads((path / "index.json").read_text())["manifests"][0]
    manifest = json.loads((blobs / top["digest"][7:]).read_bytes())
    raw = b'{"descriptor": {"name": "granite"}}'
    (blobs / hashlib.sha256(raw).hexdigest()).write_bytes(raw)
    manifest["config"] = {"mediaType": MODEL, "digest": f"sha256:{hashlib.sha256(raw).hexdigest()}", "size": len(raw)}
    raw = json.dumps(manifest).encode()
    (blobs / hashlib.sha256(raw).hexdigest()).write_bytes(raw)
    top |= {"digest": f"sha256:{hashlib.sha256(raw).hexdigest()}", "size": len(raw)}
    (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))
    return image


def test_an_artifact_is_called_what_it_is(tmp_path: Path) -> None:
    """Whoever pushed a model with oras reads of missing diff_ids; only a pod's image volume may mount it at all."""
    image = artifact(tmp_path)
    told = re.escape(f"{image} is an artifact ({MODEL}), not an image")
    for targets in (["kserve"], ["kubernetes", "kserve"]):
        with pytest.raises(InvalidInput, match=told):
            check_image(image, world(tmp_path), targets)
    with pytest.raises(InvalidInput, match=told):
        look(image, world(tmp_path))
    found, _ = check_image(image, world(tmp_path), ["kubernetes"])
    assert [(one.rule.id, one.what) for one in found[0].findings] == [("KV-05", f"is that of an artifact ({MODEL})")]
    assert {"KV-03", "UNI-01", "UNI-13"} <= {one.rule.id for one in found[0].unjudged}


@pytest.mark.parametrize("told", [("of which layer?",), ("one", "two"), ("one", "two", "three")])
def test_a_history_tells_of_layers_where_it_has_a_line_for_each(tmp_path: Path, told: tuple[str, ...]) -> None:
    """The base's layer is shown as what was said of the layer above it."""
    draft = Draft(layers=((folder("bin"),), (folder("etc"),)), history=told)
    seen = look(write(draft, tmp_path), world(tmp_path))
    assert [layer.origin for layer in seen.images[0].layers] == (list(told) if len(told) == 2 else ["", ""])


def spanned(raw: bytes, layer: int) -> tuple[Member, ...]:
    return tuple(members_in_spans(lambda start, length: raw[start : start + length], len(raw), layer))


def merged(*layers: tuple[Entry, ...]) -> Files:
    return Files(tuple(spanned(tar(layer), number) for number, layer in enumerate(layers)))


def test_layers_are_laid_over_one_another() -> None:
    """image-spec layer.md: whiteouts, opaque folders, files that replace folders, links through folders."""
    base = (folder("a"), Entry("a/one"), Entry("a/two"), folder("b"), Entry("b/three"), link("bin", "usr/bin"), program("usr/bin/x"))  # fmt: skip
    assert "a/one" not in merged(base, (Entry("a/.wh.one"),)).merged
    assert set(merged(base, (Entry("a/.wh..wh..opq"), Entry("a/new"))).merged) >= {"a/new", "b/three"}
    assert "a/one" not in merged(base, (Entry("a/.wh..wh..opq"), Entry("a/new"))).merged
    assert "b/three" not in merged(base, (Entry("b", b"a file now"),)).merged
    assert "b" not in merged(base, (Entry(".wh.b"),)).merged
    found = merged(base).find("/bin/x")
    assert found is not None
    assert found.path == "usr/bin/x"
    assert merged((link("l", "l"),)).find("l") is None


@given(st.lists(st.tuples(st.text("ab/", min_size=1, max_size=120), st.binary(max_size=3000)), max_size=20))
def test_both_ways_of_reading_agree(written: list[tuple[str, bytes]]) -> None:
    """A layer is the same whether it came in spans or as a stream."""
    layer = tuple(Entry(f"x{number}{name.strip('/')}", content) for number, (name, content) in enumerate(written))
    raw = tar(layer)
    spans = list(members_in_spans(lambda start, length: raw[start : start + length], len(raw), 0))
    kept: dict[tuple[int, str], bytes] = {}
    streamed = list(members_of_stream(inflated(iter((gzip.compress(raw),))), 0, lambda member: True, kept))
    assert [(one.name, one.size, one.mode) for one in spans] == [(one.name, one.size, one.mode) for one in streamed]
    for member in spans:
        assert raw[member.offset : member.offset + member.size] == kept[0, member.path]


@given(
    st.binary(min_size=1, max_size=5000), st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 600)), max_size=20)
)
def test_spans_read_what_a_file_would(content: bytes, reads: list[tuple[int, int]]) -> None:
    """One byte off, and every header behind it is read wrong."""
    ours, theirs = Spans(lambda start, length: content[start : start + length], len(content)), io.BytesIO(content)
    for position, length in reads:
        ours.seek(position)
        theirs.seek(position)
        assert ours.read(length) == theirs.read(length)
        assert ours.tell() == theirs.tell() or position >= len(content)


@pytest.mark.parametrize("target", ["kserve", "kserve:fetch"])
def test_layers_of_zstd_are_read(tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has podman compress with zstd still wants to know what is in the image; without a reader it is told."""
    zstd = pytest.importorskip("backports.zstd" if sys.version_info < (3, 14) else "compression.zstd")
    lacking = replace(OVMS.without("bin/ln"), layer_type="application/vnd.oci.image.layer.v1.tar+zstd")
    in_frames = write(
        replace(lacking, packed=lambda one: zstd.compress(one[:999]) + zstd.compress(one[999:])), tmp_path
    )
    found, examined = check_image(in_frames, world(tmp_path), [target])
    assert not examined.files.unread
    assert {one.rule.id for one in found[0].findings} == {"KS-02" if target == "kserve" else "KS-08"}
    damaged = write(replace(lacking, packed=lambda one: zstd.compress(one)[:-9] + b"x" * 20), tmp_path / "damaged")
    assert "not what zstd writes" in examine(damaged, world(tmp_path)).files.unread
    monkeypatch.setattr("buildkit.oci.headers.import_module", _absent)
    assert "pip install modelpack-build[zstd]" in examine(in_frames, world(tmp_path)).files.unread


def _absent(name: str) -> None:
    raise ImportError(name)


def zstd_compressed(raw: bytes) -> bytes:
    zstd = pytest.importorskip("backports.zstd" if sys.version_info < (3, 14) else "compression.zstd")
    return bytes(zstd.compress(raw))


@pytest.mark.parametrize("packed", [gzip.compress, zstd_compressed])
def test_a_little_that_becomes_very_much_is_held_in_pieces(packed: Callable[[bytes], bytes]) -> None:
    """A layer of a hundred kilobytes takes all of the memory, and a check of it does not end in ten minutes."""
    zeros = bytes(20 * 1024**2)
    pieces = [len(piece) for piece in inflated(iter((packed(zeros) + packed(b"more"),)))]
    assert sum(pieces) == len(zeros) + 4
    assert max(pieces) <= 1024**2


@pytest.mark.parametrize("packed", [gzip.compress, zstd_compressed])
def test_a_layer_that_becomes_very_much_is_left_unread(
    tmp_path: Path, packed: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hostile layer is small where it lies, and keeps the check of a whole fleet busy for ever."""
    monkeypatch.setattr("buildkit.checks.examine.STREAMED_HERE", 100_000)
    kind = f"application/vnd.oci.image.layer.v1.tar+{'gzip' if packed is gzip.compress else 'zstd'}"
    bomb = replace(OVMS.above(model("1/zeros.bin", bytes(2_000_000))), layer_type=kind, packed=packed)
    image = write(bomb, tmp_path)
    examined = examine(image, world(tmp_path))
    assert "layer 3" in examined.files.unread
    assert "--whole" in examined.files.unread
    assert examined.files.sizes[2] is None
    assert examined.files.find("bin/sh")
    whole = examine(image, world(tmp_path), whole=True).files
    assert not whole.unread
    assert whole.merged["models/1/zeros.bin"].size == 2_000_000


@pytest.mark.parametrize("zipped", [False, True])
def test_a_layer_of_nothing_but_headers_is_left_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool
) -> None:
    """A hostile layer has twenty million empty files, and takes the memory of the machine that checks it."""
    monkeypatch.setattr("buildkit.oci.layer_files.MOST_MEMBERS", 100)
    many = [Entry(f"app/{number}") for number in range(101)]
    image = write(replace(OVMS, zipped=zipped).above(*many).above(Entry("app/last")), tmp_path)
    files = examine(image, world(tmp_path), whole=True).files
    assert re.findall(r"layer (\d) .*?more than 100 files", files.unread) == ["3", "4"]
    assert files.find("bin/sh")


def test_many_compressed_layers_are_not_drained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that docker pushed as fifty layers of 200 MB is 10 GB all the same: what is small is read, and no more."""
    monkeypatch.setattr("buildkit.checks.examine.STREAMED", 100_000)
    shards = [(model(f"{number}.bin", os.urandom(40_000)),) for number in range(5)]
    with Registry() as registry:
        image = pushed(registry, replace(SERVER, layers=(*shards, *SERVER.layers), zipped=True), tmp_path / "image")
        examined = examine(image, world(tmp_path))
    assert examined.read() < 110_000
    assert examined.files.find("usr/bin/curl")
    assert [size is None for size in examined.files.sizes].count(True) == 3


def test_of_an_index_the_platform_is_chosen(tmp_path: Path) -> None:
    """A list of several architectures is judged by the one that the platforms run."""
    examined: Examined = examine(write(replace(OVMS, index=True), tmp_path), world(tmp_path))
    assert examined.config.platform.architecture == "amd64"
    assert isinstance(examined.files.merged["models/1/model.onnx"], Member)
