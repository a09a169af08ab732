"""The fake registry as real clients see it, over TLS, and where it puts the bytes."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
from oras.client import OrasClient

from tests.fakes.plain_client import ask
from tests.fakes.registry import Behaviour, Registry
from tests.fakes.registry_requests import CONFIG, DATA, digest_of, manifest_of, post, put, put_manifest
from tests.live.certificates import write_server_files


def test_large_blobs_go_to_files(tmp_path: Path) -> None:
    """A test over gigabytes must not need gigabytes of memory."""
    with Registry(folder=tmp_path, memory_limit=1000) as registry:
        location = ask("PATCH", post(registry).headers["location"], DATA).headers["location"]
        put(location, DATA)
        assert [path.stat().st_size for path in tmp_path.iterdir()] == [len(DATA)]
        assert ask("GET", f"{registry.url}/v2/org/model/blobs/{digest_of(DATA)}").body == DATA


@pytest.mark.parametrize("verify", [True, False])
def test_large_blobs_can_be_discarded(tmp_path: Path, verify: bool) -> None:
    """Benchmarks measure the client, not this server's disk; small blobs are still there to be read."""
    with Registry(folder=tmp_path, memory_limit=1000, discard=True, verify=verify) as registry:
        for data in (DATA, CONFIG):
            location = ask("PATCH", post(registry).headers["location"], data).headers["location"]
            assert put(location, data).status == 201
        url = f"{registry.url}/v2/org/model/blobs/"
        assert ask("HEAD", url + digest_of(DATA)).headers["content-length"] == str(len(DATA))
        assert ask("GET", url + digest_of(DATA)).status == 410
        assert ask("GET", url + digest_of(CONFIG)).body == CONFIG
        location = ask("PATCH", post(registry).headers["location"], DATA).headers["location"]
        assert put(location, b"other").status == (400 if verify else 201)
        assert list(tmp_path.iterdir()) == []


def test_tls(tmp_path: Path) -> None:
    """Every listener speaks it, so that a Location or a realm never falls back to plain HTTP."""
    files = write_server_files(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate_file, files.key_file)
    trust = ssl.create_default_context(cafile=str(files.ca_file))
    with Registry(tls=context) as registry:
        location = ask("POST", f"{registry.url}/v2/a/b/blobs/uploads/", tls=trust).headers["location"]
        assert location.startswith("https://")
        location = ask("PATCH", location, DATA, tls=trust).headers["location"]
        assert ask("PUT", f"{location}&digest={digest_of(DATA)}", tls=trust).status == 201


@pytest.mark.parametrize("chunked", [False, True])
def test_oras_pushes_and_pulls(registry: Registry, tmp_path: Path, chunked: bool, monkeypatch: Any) -> None:
    """If the real client cannot push here, what we test against is not a registry."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    Path("weights.bin").write_bytes(DATA)
    client, target = OrasClient(insecure=True), f"{registry.address}/org/artifact:v1"
    pushed = client.push(target, files=["weights.bin"], do_chunked=chunked, chunk_size=700_000)
    assert pushed.status_code == 201
    assert client.get_tags(target) == ["v1"]
    (pulled,) = client.pull(target, outdir=str(tmp_path / "out"))
    assert Path(pulled).read_bytes() == DATA
    patches = [r.request_bytes for r in registry.requests if r.method == "PATCH" and r.request_bytes > 100]
    assert patches == ([700_000, 700_000, 600_003] if chunked else [])


@pytest.mark.engine
@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
@pytest.mark.parametrize("behaviour", [Behaviour(), Behaviour(location="relative", redirect_blobs=True, mounts=False)])
def test_skopeo_copies(behaviour: Behaviour) -> None:
    """The container tools' own client: mounts, chunked PATCH, relative Locations, redirected blobs."""
    with Registry(behaviour=behaviour) as registry:
        put_manifest(registry, data := manifest_of(registry))
        pair = [f"docker://{registry.address}/org/model:v1", f"docker://{registry.address}/org/copy:v2"]
        options = ["--src-tls-verify=false", "--dest-tls-verify=false", "--preserve-digests"]
        done = subprocess.run(["skopeo", "copy", *options, *pair], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert registry.tags["org/copy"] == {"v2": digest_of(data)}
        assert registry.storage.repositories["org/copy"].blobs == {digest_of(DATA), digest_of(CONFIG)}
