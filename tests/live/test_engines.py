"""The three engines build the same image from the same lock: if these fail, it matters on which machine one builds."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from buildkit import flow
from buildkit.delivery.push import Delivered
from buildkit.errors import ModelpackError
from buildkit.events import silent
from buildkit.oci.manifest import ImageConfig, Manifest
from buildkit.policy import Policy
from buildkit.recipe import load
from buildkit.settings import find
from buildkit.world import World
from tests.fakes.hub import Hub
from tests.live.prune import prune
from tests.live.registry import LiveRegistry
from tests.waiting import wait_until

pytestmark = [pytest.mark.live, pytest.mark.engine]

TOKEN = "hf_livetesttoken123456"
FILES: dict[str, bytes] = {
    "config.json": b'{"model_type": "granite"}',
    "model.safetensors": os.urandom(3_000_000),
    "nested/config.json": b"same name, other folder",
    'nested/it\'s a $HOME "name" #1.txt': b"quoted",
    "n\u00e4h/\u6a21\u578b.json": b"letters",
}


@dataclass
class Project:
    """A folder with a recipe, a hub and a real registry; bases come through a mirror."""

    folder: Path
    hub: Hub
    registry: LiveRegistry

    def write(self, **recipe: Any) -> Path:
        path = self.folder / "recipe.yaml"
        path.write_text(json.dumps({"kind": "modelcar", "name": "granite", "tags": ["v1"], **recipe}))
        settings = {
            "hub": {"endpoint": self.hub.endpoint},
            "mirrors": {"registry.access.redhat.com": self.registry.host},
            "registries": {"here": {"host": self.registry.host, "prefix": "models"}},
        }
        (self.folder / "modelpack.yaml").write_text(json.dumps(settings))
        return path

    def world(self) -> World:
        return World(find(self.folder), silent)

    def build(self, engine: str, recipe: Path, tag: str) -> Delivered:
        content = json.loads(recipe.read_text())
        recipe.write_text(json.dumps({**content, "tags": [tag]}))
        return flow.build(load(recipe), self.world(), flow.Wanted(engine, Policy.KEEP, "here"))

    def image(self, tag: str) -> tuple[Manifest, ImageConfig, dict[str, tuple[int, int, int, str]]]:
        """The manifest, the config, and every entry above the base: mode, owner, group, digest of the content."""
        store = self.world().repository(self.world().settings.registry("here").repository("granite"))
        document = store.resolve(tag)
        assert document is not None
        manifest = Manifest.read(document)
        config = ImageConfig.read(b"".join(store.fetch(manifest.config)))
        entries = {}
        for layer in manifest.layers:
            raw = b"".join(store.fetch(layer))
            with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
                for member in tar:
                    if member.name.split("/")[0] == "models":
                        content = tar.extractfile(member).read() if member.isfile() else b""  # type: ignore[union-attr]
                        digest = hashlib.sha256(content).hexdigest() if member.isfile() else "directory"
                        entries[member.name.rstrip("/")] = (member.mode & 0o7777, member.uid, member.gid, digest)
        return manifest, config, entries


@pytest.fixture
def project(live_registry: LiveRegistry, bases: Mapping[str, str], tmp_path: Path) -> Iterator[Project]:
    with Hub() as hub:
        hub.token = TOKEN
        hub.add("org/granite", FILES, gated=True)
        folder = tmp_path / "a project"
        folder.mkdir()
        yield Project(folder, hub, live_registry)


@pytest.fixture
def engines(podman_environment: Mapping[str, str], docker_environment: Mapping[str, str]) -> tuple[str, ...]:
    return ("embedded", "podman", "buildx")


def sources(project: Project) -> dict[str, Any]:
    model = project.folder / "models" / "1"
    model.mkdir(parents=True, exist_ok=True)
    (model / "model.onnx").write_bytes(FILES["model.safetensors"])
    (model / "my labels.txt").write_bytes(b"cat")
    (model / "model.onnx").chmod(0o600)
    commit = project.hub.add("org/open", FILES)
    urls = [
        {"url": f"{project.hub.endpoint}/org/open/resolve/{commit}/model.safetensors", "path": "1/model.onnx"},
        f"{project.hub.endpoint}/org/open/resolve/{commit}/config.json",
    ]
    return {
        "hub": {"model": "hf://org/granite"},
        "hub per file": {"model": "hf://org/open", "layers": "per-file"},
        "hub filtered": {"model": {"hf": "org/open", "include": ["*.json"], "exclude": ["nested/*"]}},
        "hub on scratch": {"model": "hf://org/open", "base": "scratch"},
        "folder": {"model": "./models"},
        "folder filtered": {"model": {"path": "./models", "exclude": ["*.txt"]}},
        "folder on scratch": {"model": "./models", "base": "scratch"},
        "urls": {"model": urls, "labels": {"note": 'it\'s $HOME "quoted" #1 \\ n\u00e4h'}},
    }


@pytest.mark.parametrize(
    "case",
    ["hub", "hub per file", "hub filtered", "hub on scratch", "folder", "folder filtered", "folder on scratch", "urls"],
)
def test_all_engines_build_the_same_image(
    project: Project, engines: tuple[str, ...], case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same files, bytes, modes, owners and config, with exactly one layer above the base, whoever builds."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    recipe = project.write(**sources(project)[case])
    seen = {}
    for engine in engines:
        tag = f"{case.replace(' ', '-')}-{engine}"
        delivered = project.build(engine, recipe, tag)
        manifest, config, entries = project.image(tag)
        assert manifest.document.digest == delivered.sealing.digest
        base = 0 if "scratch" in case else 1
        assert len(manifest.layers) == base + 1, f"{engine} put the model into {len(manifest.layers) - base} layers"
        assert {owner[1:3] for owner in entries.values()} == {(1001, 0)}, engine
        assert {entry[0] for entry in entries.values() if entry[3] != "directory"} == {0o444}, engine
        assert {entry[0] for entry in entries.values() if entry[3] == "directory"} == {0o555}, engine
        assert config.process["User"] == "1001"
        raw = json.dumps(
            [dict(config.content), dict(manifest.annotations), (project.folder / "recipe.lock").read_text()]
        )
        assert TOKEN not in raw, f"{engine} left the token in the image or the lock"
        seen[engine] = (entries, dict(config.process), config.platform, dict(manifest.annotations))
    assert seen["podman"] == seen["embedded"]
    assert seen["buildx"] == seen["embedded"]


@pytest.mark.parametrize("engine", ["podman", "buildx"])
def test_a_gated_model_is_refused_in_words(project: Project, engines: tuple[str, ...], engine: str) -> None:
    """Who has no access must learn what to do, and not read a build's log."""
    with pytest.raises(ModelpackError) as raised:
        project.build(engine, project.write(model="hf://org/granite"), "gated")
    assert "HF_TOKEN" in str(raised.value) + raised.value.hint
    assert not (project.folder / "recipe.lock").exists()


@pytest.mark.parametrize("engine", ["podman", "buildx"])
def test_an_interrupted_build_ends_its_engine_and_leaves_no_token(
    project: Project, engines: tuple[str, ...], engine: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A download that goes on after Ctrl-C fills a disk; a token that stays on it is lost."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    project.hub.add("org/slow", {**FILES, "model.safetensors": os.urandom(3_000_000)}, gated=True)
    recipe = project.write(model="hf://org/slow")
    flow.lock(load(recipe), project.world(), Policy.KEEP)
    project.hub.throttle(50_000)
    command = [sys.executable, "-m", "buildkit", "build", str(recipe), "--engine", engine, "--quiet"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: any("/resolve/" in request.path for request in project.hub.requests[3:]), "the download")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    storage = Path(os.environ["CONTAINERS_STORAGE_CONF"]).parent
    places = [path for folder in (tmp_path / "tmp", storage) for path in folder.rglob("*")]
    left = [
        path for path in places if path.is_file() and path.stat().st_size < 1000 and TOKEN.encode() in path.read_bytes()
    ]
    assert not left, "the token stayed on the disk"


@pytest.mark.parametrize("engine", ["podman", "buildx"])
def test_an_arm64_image_is_built_on_this_machine(project: Project, engines: tuple[str, ...], engine: str) -> None:
    """A model has no architecture: an image for another one must not need an emulator to download its files."""
    project.hub.add("org/open", FILES)
    recipe = project.write(model="hf://org/open", platforms=["linux/arm64"])
    project.build(engine, recipe, f"arm64-{engine}")
    _, config, entries = project.image(f"arm64-{engine}")
    assert str(config.platform).startswith("linux/arm64")
    project.build("embedded", recipe, "arm64-embedded")
    assert entries == project.image("arm64-embedded")[2]


READ_ALL = (
    'cd /models && find . -type f | sort | while read -r name; do sha256sum "$name" || exit 1; done; id -u; id -g'
)


@pytest.mark.parametrize("engine", ["embedded", "podman", "buildx"])
def test_any_user_reads_the_model_in_both_runtimes(project: Project, engines: tuple[str, ...], engine: str) -> None:
    """OpenShift runs containers as a random user of group 0: an unreadable file is a model that does not load."""
    project.hub.add("org/open", FILES)
    project.build(engine, project.write(model="hf://org/open"), f"run-{engine}")
    reference = f"{project.registry.host}/models/granite:run-{engine}"
    expected = sorted(hashlib.sha256(content).hexdigest() for content in FILES.values())
    for command in (["podman", "run", "--tls-verify=false"], ["docker", "run"]):
        done = subprocess.run(
            [*command, "--rm", "--network=none", "--user", "12345:0", reference, "sh", "-c", READ_ALL],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command[0]}: {done.stderr}"
        lines = done.stdout.split("\n")
        assert sorted(line.split()[0] for line in lines if len(line) > 64) == expected
        assert lines[-3:-1] == ["12345", "0"]


KSERVE_INIT = '[ -d /models ] && [ "$(ls -A /models)" ]'
KSERVE_LINK = "ln -sf /proc/$$/root/models /mnt/models && ls /mnt/models/config.json"


@pytest.mark.parametrize("engine", ["embedded", "podman", "buildx"])
def test_kserve_finds_the_model_with_its_own_commands(project: Project, engines: tuple[str, ...], engine: str) -> None:
    """What KServe's init container and sidecar run, within their 15 MiB, as its own user."""
    project.hub.add("org/open", FILES)
    project.build(engine, project.write(model="hf://org/open"), f"kserve-{engine}")
    reference = f"{project.registry.host}/models/granite:kserve-{engine}"
    shared = project.folder / "mnt"
    shared.mkdir()
    shared.chmod(0o777)
    for script in (KSERVE_INIT, KSERVE_LINK):
        command = ["podman", "run", "--rm", "--tls-verify=false", "--network=none", "--memory=15m", "--user=1010"]
        done = subprocess.run(
            [*command, f"--volume={shared}:/mnt", reference, "sh", "-c", script],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{script}: {done.stderr}"


@pytest.mark.parametrize("engine", ["podman", "buildx"])
def test_push_sends_what_an_engine_built(project: Project, engines: tuple[str, ...], engine: str) -> None:
    """``build`` today and ``push`` tomorrow are one image, without building again."""
    project.hub.add("org/open", FILES)
    recipe = project.write(model="hf://org/open", tags=[f"later-{engine}"])
    built = flow.build(load(recipe), project.world(), flow.Wanted(engine))
    project.hub.log.clear()
    pushed = flow.push(load(recipe), project.world(), "here")
    assert pushed.sealing.digest == built.sealing.digest
    assert not [request for request in project.hub.requests if "/resolve/" in request.path]
    assert project.image(f"later-{engine}")[0].document.digest == built.sealing.digest


@pytest.mark.parametrize("engine", ["podman", "buildx"])
def test_the_same_lock_gives_an_engines_digest_again(project: Project, engines: tuple[str, ...], engine: str) -> None:
    """Built twice by the same engine, an image has one digest: else every scheduled run would push it anew."""
    project.hub.add("org/open", FILES)
    recipe = project.write(model="hf://org/open")
    digests = {project.build(engine, recipe, f"again-{engine}").sealing.digest for _ in range(2)}
    assert len(digests) == 1


@pytest.mark.parametrize("engine", ["podman", "buildx"])
@pytest.mark.parametrize("kind", ["server", "batch"])
def test_an_engine_without_its_cache_gives_the_digest_again(
    project: Project, engines: tuple[str, ...], engine: str, kind: str
) -> None:
    """The same lock is another image on another machine: folders of the base that an archive touches carry the build's clock."""
    (project.folder / "run.sh").write_text("echo ran\n")
    base = "registry.access.redhat.com/ubi9/python-312:latest"
    more: dict[str, dict[str, Any]] = {
        "server": {"command": ["python3", "-m", "http.server", "8080"], "curl": "base"},
        "batch": {"packages": []},
    }
    recipe = project.write(kind=kind, base=base, tags=[f"{kind}-{engine}"], **more[kind])
    digests = set()
    for policy in (Policy.KEEP, Policy.LOCKED):
        delivered = flow.build(load(recipe), project.world(), flow.Wanted(engine, policy, "here"))
        digests.add(delivered.sealing.digest)
        prune(engine)
    assert len(digests) == 1
    assert project.registry.host not in json.dumps(dict(project.image(f"{kind}-{engine}")[1].content))


@pytest.mark.parametrize("engine", ["podman", "docker"])
@pytest.mark.parametrize("case", ["hub filtered", "folder", "urls"])
def test_the_rendered_containerfile_builds_by_hand(
    project: Project, engines: tuple[str, ...], engine: str, case: str
) -> None:
    """Who does not want modelpack in a pipeline takes its Containerfile."""
    recipe = project.write(**sources(project)[case])
    text = flow.render(load(recipe), project.world()).containerfile
    text = text.replace("registry.access.redhat.com", project.registry.host)
    (project.folder / "Containerfile").write_text(text)
    build = {
        "podman": ["podman", "build", "--tls-verify=false"],
        "docker": ["docker", "buildx", "build", "--load"],
    }[engine]
    options = [
        "--network=host",
        f"--build-arg=HF_ENDPOINT={project.hub.endpoint}",
        "-f",
        "Containerfile",
        "-t",
        "by-hand",
        ".",
    ]
    done = subprocess.run([*build, *options], cwd=project.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    listing = subprocess.run(
        [
            engine,
            "run",
            "--rm",
            "--network=none",
            "--user=12345:0",
            "by-hand",
            "sh",
            "-c",
            "find /models -exec stat -c '%a %u %g' {} + | sort -u",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert listing.stdout.split("\n")[:-1] == ["444 1001 0", "555 1001 0"], listing.stderr


def test_independent_readers_agree(
    project: Project, engines: tuple[str, ...], skopeo: str, umoci: str, tmp_path: Path
) -> None:
    """skopeo and umoci read the pushed image and a written layout; podman and docker load the archives."""
    from buildkit.delivery.output import Output

    project.hub.add("org/open", FILES)
    recipe = project.write(model="hf://org/open")
    delivered = project.build("embedded", recipe, "readers")
    reference = f"docker://{project.registry.host}/models/granite:readers"
    inspected = subprocess.run(
        [skopeo, "inspect", "--tls-verify=false", reference], capture_output=True, text=True, check=True
    )
    assert json.loads(inspected.stdout)["Digest"] == delivered.sealing.digest
    outputs = {form: tmp_path / form for form in ("oci", "oci-archive", "docker-archive")}
    for form, path in outputs.items():
        flow.build(load(recipe), project.world(), flow.Wanted("embedded", output=Output(form, path)))  # type: ignore[arg-type]
    stat = subprocess.run(
        [umoci, "stat", "--json", "--image", f"{outputs['oci']}:readers"], capture_output=True, text=True, check=True
    )
    assert len([step for step in json.loads(stat.stdout)["history"] if step.get("layer")]) == 2
    subprocess.run(
        [umoci, "unpack", "--image", f"{outputs['oci']}:readers", str(tmp_path / "bundle")],
        capture_output=True,
        check=True,
    )
    unpacked = tmp_path / "bundle" / "rootfs" / "models"
    assert {
        str(path.relative_to(unpacked)): path.read_bytes() for path in unpacked.rglob("*") if path.is_file()
    } == FILES
    subprocess.run(
        [skopeo, "copy", f"oci-archive:{outputs['oci-archive']}", f"dir:{tmp_path / 'dir'}"],
        capture_output=True,
        check=True,
    )
    for command in (["podman", "load", "-q", "-i"], ["docker", "load", "-q", "-i"]):
        loaded = subprocess.run([*command, str(outputs["docker-archive"])], capture_output=True, text=True, check=False)
        assert loaded.returncode == 0, loaded.stderr
        assert "granite:readers" in loaded.stdout
