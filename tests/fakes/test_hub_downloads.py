"""How bytes come out of the fake hub: ranges, links, resets, and the real library on top of them."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from huggingface_hub import HfApi, HfFileSystem, hf_hub_download

from tests.fakes.faults import Corrupt, Cut, Short, Status
from tests.fakes.hub import Hub, Synthetic
from tests.fakes.hub_samples import BIG, CONFIG, FILES, README, sha256
from tests.fakes.plain_client import ask


def test_a_download_that_ends_early_is_resumed_by_the_library(hub: Hub, tmp_path: Path) -> None:
    """Range requests must give the rest and nothing else, or a resumed file is corrupt."""
    hub.add("org/model", FILES)
    hub.faults.add(Short(4_000_003, honest=False), origin="cdn", method="GET")
    path = hf_hub_download("org/model", "model.safetensors", endpoint=hub.endpoint, cache_dir=tmp_path, token=False)
    assert sha256(path) == BIG.sha256
    assert len(hub.faults.fired) == 1
    resumed = [r for r in hub.requests if r.origin == "cdn"][-1]
    assert resumed.status == 206 and resumed.range is not None
    assert resumed.bytes_sent == BIG.size - int(resumed.range.removeprefix("bytes=").rstrip("-"))


def test_the_filesystem_streams_over_a_reset(hub: Hub) -> None:
    """A cut in the middle of a stream comes as a reset, after exactly the bytes that were asked for."""
    hub.add("org/model", FILES)
    files = HfFileSystem(endpoint=hub.endpoint, token=False, skip_instance_cache=True)
    hub.faults.add(Cut(1_000_000), origin="cdn", method="GET")
    digest = hashlib.sha256()
    with files.open("org/model/model.safetensors", "rb", block_size=0) as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    assert digest.hexdigest() == BIG.sha256
    assert len(hub.faults.fired) == 1
    listed = {str(name) for name in files.ls("org/model", detail=False)}
    assert listed == {f"org/model/{name}" for name in ("README.md", "config.json", "model.safetensors", "sub")}


def test_ranges_follow_the_rules(hub: Hub) -> None:
    """RFC 9110 section 14: what a resuming client may rely on."""
    hub.add("org/model", FILES)
    url = f"{hub.endpoint}/org/model/resolve/main/config.json"
    whole = CONFIG
    etag = ask("HEAD", url).headers["etag"]
    cases = {"bytes=2-": whole[2:], "bytes=0-0": b"{", "bytes=-2": b"1}", "bytes=3-99": whole[3:], "bytes=-99": whole}
    for asked, expected in cases.items():
        answer = ask("GET", url, headers={"Range": asked})
        assert (answer.status, answer.body) == (206, expected), asked
    for unheard in ("bytes=0-1,3-4", "lines=1-2", "bytes=-"):
        assert ask("GET", url, headers={"Range": unheard}).status == 200, unheard
    assert ask("GET", url, headers={"Range": "bytes=99-"}).status == 416
    assert ask("GET", url, headers={"Range": "bytes=99-"}).headers["content-range"] == "bytes */8"
    assert ask("GET", url, headers={"Range": "bytes=2-", "If-Range": etag}).status == 206
    assert ask("GET", url, headers={"Range": "bytes=2-", "If-Range": '"other"'}).body == whole
    assert etag == f'"{hashlib.sha1(b"blob 8" + bytes(1) + whole).hexdigest()}"'


def test_links_expire_by_use_and_by_will(hub: Hub) -> None:
    """A signed link may run out between two ranges of one file; the client has to ask for another."""
    hub.add("org/model", FILES)
    url = f"{hub.endpoint}/org/model/resolve/main/model.safetensors"
    hub.links.uses = 1
    head = ask("HEAD", url)
    assert (head.status, head.headers["x-linked-size"]) == (302, str(BIG.size))
    assert head.headers["x-linked-etag"] == f'"{BIG.sha256}"'
    link = head.headers["location"]
    first = ask("GET", link, headers={"Range": "bytes=1000000-2000000"})
    assert first.body == BIG.read(1_000_000, 2_000_001)
    assert first.headers["etag"].strip('"') != BIG.sha256
    assert ask("GET", link).status == 403
    hub.links.uses = None
    link = ask("HEAD", url).headers["location"]
    assert ask("HEAD", link).status == 200
    hub.links.expire()
    assert ask("HEAD", link).status == 403
    hub.links.seconds = -1
    assert ask("GET", ask("HEAD", url).headers["location"]).status == 403


def test_small_files_can_take_the_ways_the_real_hub_sends_them(hub: Hub, tmp_path: Path) -> None:
    """The hub redirects small files within itself and gzips them to who accepts that, without a length."""
    hub.add("org/model", FILES)
    hub.resolve_cache = hub.gzip_text = True
    path = hf_hub_download("org/model", "README.md", endpoint=hub.endpoint, cache_dir=tmp_path, token=False)
    assert Path(path).read_bytes() == README
    assert any(r.path.startswith("/api/resolve-cache/") and r.status == 200 for r in hub.requests)
    hub.resolve_cache = False
    packed = ask("GET", f"{hub.endpoint}/org/model/resolve/main/README.md", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip" and "content-length" not in packed.headers
    assert packed.headers["etag"].startswith('W/"')


def test_rate_limits_are_waited_for(hub: Hub) -> None:
    """429 with Retry-After: the library waits and asks again, and so must every client of the hub."""
    hub.add("org/model", FILES)
    hub.faults.add(Status(429, {"Retry-After": "0"}), path="/tree/")
    assert len(list(HfApi(endpoint=hub.endpoint, token=False).list_repo_tree("org/model"))) == 4
    assert [r.status for r in hub.requests if "/tree/" in r.path] == [429, 200]


def test_a_flipped_byte_reaches_the_client(hub: Hub, tmp_path: Path) -> None:
    """The library keeps a corrupt file without a word: a client that streams to a registry must not."""
    hub.add("org/model", FILES)
    hub.faults.add(Corrupt(12_345_678), origin="cdn", method="GET")
    path = hf_hub_download("org/model", "model.safetensors", endpoint=hub.endpoint, cache_dir=tmp_path, token=False)
    assert sha256(path) != BIG.sha256


def test_a_throttled_hub_sends_the_same_bytes(hub: Hub, tmp_path: Path) -> None:
    """Benchmarks over a slow network must measure the same download."""
    (tmp_path / "file").write_bytes(BIG.read(0, 400_000))
    hub.add("org/model", {"a.bin": tmp_path / "file", "b.bin": Synthetic(400_000)}, lfs_over=0)
    hub.throttle(8_000_000, latency_seconds=0.001)
    for name, expected in (("a.bin", BIG.read(0, 400_000)), ("b.bin", Synthetic(400_000).read(0, 400_000))):
        link = ask("GET", f"{hub.endpoint}/org/model/resolve/main/{name}").headers["location"]
        assert ask("GET", link).body == expected


def test_synthetic_content_is_the_same_at_every_offset() -> None:
    """Ranges of made-up content must fit together, or every resumed download would look corrupt."""
    whole = BIG.read(0, BIG.size)
    assert (len(whole), hashlib.sha256(whole).hexdigest()) == (BIG.size, BIG.sha256)
    for start, stop in ((0, 1), (5, 11), (1_048_570, 1_048_590), (3_000_000, 9_000_001), (BIG.size - 3, BIG.size)):
        assert BIG.read(start, stop) == whole[start:stop]
    blocks = {whole[start : start + 4096] for start in range(0, BIG.size - 4096, 1 << 20)}
    assert len(blocks) == 23, "two blocks are alike: a lost or doubled one would go unseen"
    assert Synthetic(1000, seed=1).read(0, 1000) != Synthetic(1000, seed=2).read(0, 1000)


def test_the_command_line_downloads_from_the_program(tmp_path: Path) -> None:
    """Engines download with `hf download` from a hub that runs as a program of its own."""
    repository = tmp_path / "repositories/org/model"
    (repository / "sub").mkdir(parents=True)
    (repository / "sub/config.json").write_bytes(b"{}")
    (repository / "model.safetensors").write_bytes(BIG.read(0, 2_000_000))
    program = [sys.executable, "-m", "tests.fakes.hub", str(tmp_path / "repositories"), "--seconds", "60"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(program, cwd=root, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        endpoint = running.stdout.readline().strip().removeprefix("HF_ENDPOINT=")
        commit = running.stdout.readline().strip().removeprefix("org/model@")
        environment = {
            **os.environ,
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        }
        environment.pop("HF_TOKEN", None)
        hf = [sys.executable, "-m", "huggingface_hub.cli.hf", "download", "org/model", "--quiet", "--revision", commit]
        done = subprocess.run(
            [*hf, "--local-dir", str(tmp_path / "out")], env=environment, capture_output=True, text=True, check=False
        )
        running.terminate()
    assert done.returncode == 0, done.stderr
    assert running.returncode == 0, "the program did not end cleanly on SIGTERM"
    assert sha256(tmp_path / "out/model.safetensors") == sha256(repository / "model.safetensors")
    assert (tmp_path / "out/sub/config.json").read_bytes() == b"{}"
