"""The live world itself: that the engines, the registry and the readers do what the other tests lean on."""

from __future__ import annotations

import http.server
import io
import json
import os
import platform
import socket
import subprocess
import tarfile
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import pytest

from tests.live import registry as registry_module
from tests.live.base_images import (
    PLATFORM_FILE,
    PLATFORMS,
    PYTHON_BASE,
    SHELL_BASE,
    build_base,
    hub_version,
    platform_reference,
    push_bases,
)
from tests.live.daemons import tail
from tests.live.engines import podman_environment as own_podman
from tests.live.engines import start_docker
from tests.live.registry import LiveRegistry, RegistryReadError, start_registry
from tests.live.token_server import TokenServer

pytestmark = pytest.mark.live

HERE = "linux/arm64" if platform.machine() in ("aarch64", "arm64") else "linux/amd64"
SECRET = "not-to-be-found-in-any-layer"
# What the product's Containerfiles do: a stage that fetches, with a secret; a stage that is only the base and the files.
CONTAINERFILE = """\
ARG BASE={base}
FROM {fetch} AS fetch
RUN --mount=type=secret,id=token,required=false \\
    mkdir -p /out/models/sub && wc -c < /run/secrets/token > /out/models/length.txt && echo hi > /out/models/sub/weights.bin && \\
    cp /{platform_file} /out/models/built-on && \\
    find /out -mindepth 1 -exec touch -h -d @0 {{}} + && \\
    find /out/models -type f -exec chmod 0444 {{}} + && find /out/models -type d -exec chmod 0555 {{}} +
FROM ${{BASE}}
COPY --from=fetch --chown=1001:0 /out/ /
USER 1001:0
"""


@dataclass(frozen=True)
class Engine:
    """The two engines' command lines where they differ."""

    name: str
    build: tuple[str, ...]

    def image(self, registry: LiveRegistry, repository: str) -> str:
        """A name of this engine's own in a registry, so that the engines do not see each other's pushes."""
        return f"{registry.host}/{self.name}/{repository}:v1"


ENGINES = (
    Engine("podman", ("podman", "build", "--timestamp", "0", "--layers=false")),
    Engine(
        "docker", ("docker", "buildx", "build", "--load", "--provenance=false", "--build-arg", "SOURCE_DATE_EPOCH=0")
    ),
)


@pytest.fixture(params=ENGINES, ids=lambda engine: engine.name)
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine in turn, with os.environ leading to it."""
    chosen = cast("Engine", request.param)
    request.getfixturevalue(f"{chosen.name}_environment")
    return chosen


def run(*command: str, environment: Mapping[str, str] | None = None) -> str:
    """Run a command that must succeed; gives its standard output."""
    done = attempt(*command, environment=environment)
    assert done.returncode == 0, f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def attempt(*command: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command that may fail."""
    whole = {**os.environ, **(environment or {})}
    return subprocess.run(command, env=whole, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def build(engine: Engine, folder: Path, text: str, image: str, *flags: str) -> None:
    """Build a Containerfile in an empty context."""
    context = folder / "context"
    context.mkdir(exist_ok=True)
    (folder / "Containerfile").write_text(text, encoding="utf-8")
    run(*engine.build, "--file", str(folder / "Containerfile"), "--tag", image, *flags, str(context))


def two_stages(registry: LiveRegistry, base: str) -> str:
    """The Containerfile, its first stage pinned to the manifest of the platform that the tests run on."""
    fetch = platform_reference(registry, SHELL_BASE, HERE)
    return CONTAINERFILE.format(base=base, fetch=fetch, platform_file=PLATFORM_FILE)


def build_and_push(engine: Engine, folder: Path, registry: LiveRegistry, base: str, image: str, *flags: str) -> None:
    """Build the two-stage Containerfile with its secret, and push it."""
    secret = folder / "secret"
    secret.write_text(SECRET, encoding="utf-8")
    build(engine, folder, two_stages(registry, base), image, "--secret", f"id=token,src={secret}", *flags)
    run(engine.name, "push", image)


def entries(layer: bytes) -> dict[str, tuple[int, int, int, float]]:
    """The names in a gzip layer with mode (podman adds the file type to it), owner, group and modification time."""
    plain = zlib.decompress(layer, wbits=31)
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        return {member.name: (member.mode & 0o7777, member.uid, member.gid, member.mtime) for member in tar}


def text_of(layers: Sequence[bytes], name: str) -> str:
    """The content of the one file of that name in gzip layers."""
    for layer in layers:
        with tarfile.open(fileobj=io.BytesIO(zlib.decompress(layer, wbits=31))) as tar:
            found = tar.extractfile(name) if name in tar.getnames() else None
            if found is not None:
                return found.read().decode("utf-8")
    raise AssertionError(f"no layer holds {name}")


def test_engine_builds_two_stages_with_a_secret_and_runs_them(
    engine: Engine, live_registry: LiveRegistry, shell_base: str, tmp_path: Path
) -> None:
    """Nothing built by this engine could be trusted: stages, secrets, owners or an arbitrary user do not work here."""
    image = engine.image(live_registry, "two-stages")
    build_and_push(engine, tmp_path, live_registry, shell_base, image)
    shown = run(
        engine.name,
        "run",
        "--rm",
        "--user",
        "12345:0",
        image,
        "sh",
        "-c",
        "id -u; cat /models/length.txt /models/sub/*",
    )
    assert shown.split() == ["12345", str(len(SECRET)), "hi"]

    repository = f"{engine.name}/two-stages"
    manifest = json.loads(live_registry.manifest(repository, "v1").content)
    layer = live_registry.blob(repository, manifest["layers"][-1]["digest"])
    assert entries(layer) == {
        "models": (0o555, 1001, 0, 0),
        "models/built-on": (0o444, 1001, 0, 0),
        "models/length.txt": (0o444, 1001, 0, 0),
        "models/sub": (0o555, 1001, 0, 0),
        "models/sub/weights.bin": (0o444, 1001, 0, 0),
    }, "the layer must hold the model files alone, as the fetch stage left them"
    assert SECRET.encode() not in zlib.decompress(layer, wbits=31)


def test_engine_builds_the_same_image_twice(
    engine: Engine, live_registry: LiveRegistry, shell_base: str, tmp_path: Path
) -> None:
    """The lock could promise no digest for an image of this engine."""
    repository = f"{engine.name}/twice"
    digests = set()
    for tag in ("first", "second"):
        build_and_push(
            engine, tmp_path, live_registry, shell_base, f"{live_registry.host}/{repository}:{tag}", "--no-cache"
        )
        digests.add(live_registry.manifest(repository, tag).digest)
    assert len(digests) == 1


def test_engine_cross_builds_one_platform(
    engine: Engine, live_registry: LiveRegistry, shell_base: str, tmp_path: Path
) -> None:
    """An image for arm64 could not be built on amd64, though only files are copied into it."""
    image = engine.image(live_registry, "arm64")
    build_and_push(engine, tmp_path, live_registry, shell_base, image, "--platform", "linux/arm64")
    repository = f"{engine.name}/arm64"
    manifest = json.loads(live_registry.manifest(repository, "v1").content)
    config = json.loads(live_registry.blob(repository, manifest["config"]["digest"]))
    assert config["architecture"] == "arm64"
    layers = [live_registry.blob(repository, layer["digest"]) for layer in manifest["layers"]]
    assert text_of(layers, PLATFORM_FILE) == "linux/arm64\n", "it says arm64, and lies on another platform's base"
    assert text_of(layers, "models/built-on") == f"{HERE}\n", "the stage would not run here with a real arm64 base"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def file_server(tmp_path: Path) -> Iterator[str]:
    """The URL of a file on a loopback server, as the fake hub is one."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "tiny"}', encoding="utf-8")

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/config.json"
        server.shutdown()


def test_python_base_is_shaped_like_the_real_one(
    engine: Engine, live_registry: LiveRegistry, bases: Mapping[str, str], file_server: str, tmp_path: Path
) -> None:
    """A fetch stage that works on the real Python image would not work in these tests, or the other way round."""
    text = "\n".join(
        [
            f"FROM {bases[PYTHON_BASE]}",
            f"RUN pip install --no-cache-dir huggingface_hub=={hub_version()}",
            "RUN hf version > versions.txt && python --version && python3 -c 'import huggingface_hub'",
            f"RUN python3 -c \"import urllib.request as u; open('got.json', 'wb').write(u.urlopen('{file_server}').read())\"",
        ]
    )
    image = engine.image(live_registry, "python")
    build(engine, tmp_path, text, image, "--network=host")
    shown = run(engine.name, "run", "--rm", image, "sh", "-c", "id -u; id -g; pwd; cat versions.txt got.json")
    assert shown.split()[:3] == ["1001", "0", "/opt/app-root/src"]
    assert hub_version() in shown
    assert '"model_type": "tiny"' in shown, "RUN with --network=host must reach a loopback hub"


def test_skopeo_and_umoci_read_what_is_in_the_registry(
    engine: Engine, live_registry: LiveRegistry, shell_base: str, skopeo: str, umoci: str, tmp_path: Path
) -> None:
    """The independent readers could not be asked whether an image of ours is well formed."""
    image = engine.image(live_registry, "read")
    build_and_push(engine, tmp_path, live_registry, shell_base, image)
    run(skopeo, "copy", "--src-tls-verify=false", f"docker://{image}", f"oci:{tmp_path / 'layout'}:v1")
    run(umoci, "unpack", "--image", f"{tmp_path / 'layout'}:v1", str(tmp_path / "bundle"))
    weights = tmp_path / "bundle" / "rootfs" / "models" / "sub" / "weights.bin"
    assert weights.read_text(encoding="utf-8") == "hi\n"
    assert (weights.stat().st_mode & 0o7777, weights.stat().st_uid) == (0o444, 1001)


def test_base_is_an_index_over_platforms(live_registry: LiveRegistry, shell_base: str) -> None:
    """Pins per platform could not be tried: the base is for one platform only."""
    assert shell_base.endswith(build_base(SHELL_BASE).digest)
    index = json.loads(live_registry.manifest(SHELL_BASE, "latest").content)
    named = [f"{one['platform']['os']}/{one['platform']['architecture']}" for one in index["manifests"]]
    assert tuple(named) == PLATFORMS


def test_second_push_sends_no_blob(live_registry: LiveRegistry, shell_base: str) -> None:
    """The access log could not prove that what the registry has is not sent again."""
    before = len(live_registry.requests())
    push_bases(live_registry, (SHELL_BASE,))
    after = live_registry.requests()[before:]
    assert [one for one in after if one.method == "HEAD" and "/blobs/" in one.path], (
        "the push must have asked for the blobs"
    )
    assert [one for one in after if one.method in ("POST", "PATCH") or "/blobs/uploads/" in one.path] == []


def test_registry_tells_what_it_holds(live_registry: LiveRegistry, shell_base: str) -> None:
    """The read helpers would let a test pass that looked at nothing."""
    assert live_registry.tags(SHELL_BASE) == ["latest"]
    assert live_registry.tags("no/such") == []
    stored = live_registry.manifest(SHELL_BASE, "latest")
    assert stored.media_type == "application/vnd.oci.image.index.v1+json"
    assert shell_base == f"{live_registry.host}/{SHELL_BASE}:latest@{stored.digest}"
    with pytest.raises(RegistryReadError, match="404"):
        live_registry.blob(SHELL_BASE, f"sha256:{'0' * 64}")


def test_registry_takes_another_port_when_its_was_taken(
    registry_program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tests would fail by chance, when another program is given the port in between."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        free = registry_module._free_port
        ports = iter([taken])
        monkeypatch.setattr(registry_module, "_free_port", lambda: next(ports, None) or free())
        with start_registry(tmp_path / "registry", storage="inmemory") as registry:
            assert registry.host != f"127.0.0.1:{taken}"
            assert registry.tags("nothing/here") == []


def credentials_for(engine_name: str, registry: LiveRegistry, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give an engine the registry's credentials the way a person's login does: in its configuration file."""
    folder.mkdir()
    name, variable = (
        ("config.json", "DOCKER_CONFIG") if engine_name == "docker" else ("auth.json", "REGISTRY_AUTH_FILE")
    )
    (folder / name).write_text(registry.docker_config(), encoding="utf-8")
    monkeypatch.setenv(variable, str(folder if engine_name == "docker" else folder / name))


@pytest.fixture(params=["secured_registry", "token_registry"])
def guarded_registry(request: pytest.FixtureRequest) -> LiveRegistry:
    """Each registry that wants credentials, in turn."""
    return cast("LiveRegistry", request.getfixturevalue(request.param))


def test_engine_pushes_with_credentials_and_not_without(
    engine: Engine,
    guarded_registry: LiveRegistry,
    live_registry: LiveRegistry,
    shell_base: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A push to a private registry could not be tried with this engine."""
    image = engine.image(guarded_registry, "private")
    build(engine, tmp_path, f"FROM {shell_base}\nUSER 1001:0\n", image)
    refused = attempt(engine.name, "push", image)
    assert refused.returncode != 0, "a push by nobody must be refused"
    assert guarded_registry.tags(f"{engine.name}/private") == []
    credentials_for(engine.name, guarded_registry, tmp_path / "login", monkeypatch)
    run(engine.name, "push", image)
    assert guarded_registry.tags(f"{engine.name}/private") == ["v1"]


Copy = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def skopeo_copy(skopeo: str, guarded_registry: LiveRegistry) -> Copy:
    """Copy the shell base into the guarded registry with skopeo."""

    def copy(repository: str, flags: Sequence[str], trust: Path | None) -> subprocess.CompletedProcess[str]:
        tls = "true" if guarded_registry.scheme == "https" else "false"
        source, target = (
            f"oci:{build_base(SHELL_BASE).layout}:latest",
            f"docker://{guarded_registry.host}/{repository}:v1",
        )
        trusted = {"SSL_CERT_FILE": str(trust)} if trust else {}
        return attempt(skopeo, "copy", "--all", f"--dest-tls-verify={tls}", *flags, source, target, environment=trusted)

    return copy


def test_skopeo_pushes_with_credentials_and_not_without(guarded_registry: LiveRegistry, skopeo_copy: Copy) -> None:
    """The registries that want credentials take a push from anyone, or from no one."""
    user, password = guarded_registry.credentials or ("", "")
    for flags in (["--dest-no-creds"], ["--dest-creds", f"{user}:wrong"]):
        refused = skopeo_copy("skopeo/private", flags, guarded_registry.ca_file)
        assert refused.returncode != 0, f"a push with {flags} must be refused"
        assert "authenti" in refused.stderr or "unauthorized" in refused.stderr, refused.stderr
    assert guarded_registry.tags("skopeo/private") == []
    taken = skopeo_copy("skopeo/private", ["--dest-creds", f"{user}:{password}"], guarded_registry.ca_file)
    assert taken.returncode == 0, taken.stderr
    assert guarded_registry.tags("skopeo/private") == ["v1"]


def test_secured_registry_is_trusted_only_through_its_authority(secured_registry: LiveRegistry, skopeo: str) -> None:
    """A client that does not verify certificates would pass the tests."""
    command = (
        skopeo,
        "list-tags",
        "--creds",
        ":".join(secured_registry.credentials or ()),
        f"docker://{secured_registry.host}/x",
    )
    refused = attempt(*command)
    assert refused.returncode != 0
    assert "certificate" in refused.stderr
    known = attempt(*command, environment={"SSL_CERT_FILE": str(secured_registry.ca_file)})
    assert "certificate" not in known.stderr, "with the authority known, the registry itself must answer"


def test_token_server_records_scopes_and_turns_lifetimes(
    token_registry: LiveRegistry, token_server: TokenServer, skopeo: str
) -> None:
    """It could not be proven that a client asks for the right scopes, nor that it outlives a token."""
    push_bases(token_registry, (SHELL_BASE,))
    assert token_server.scopes() == [f"repository:{SHELL_BASE}:pull,push"]

    command = (skopeo, "list-tags", "--tls-verify=false", f"docker://{token_registry.host}/{SHELL_BASE}")
    assert attempt(*command).returncode != 0, "nobody may read while anonymous_pull is off"
    token_server.anonymous_pull = True
    assert '"latest"' in run(*command)
    assert token_server.requests[-1].account is None
    assert token_server.scopes()[-1] == f"repository:{SHELL_BASE}:pull"
    token_server.lifetime = -1
    assert attempt(*command).returncode != 0, "a token that is over must be refused by the registry"


def test_dockerd_is_stopped_and_leaves_nothing(docker: Mapping[str, str], tmp_path: Path) -> None:
    """A run of the tests would leave a daemon or its images behind."""
    with start_docker(tmp_path / "docker") as second:
        whole = {**os.environ, **second.environment}
        root = subprocess.run(
            ["docker", "info", "--format", "{{.DockerRootDir}}"], env=whole, capture_output=True, text=True, check=True
        )
        assert Path(root.stdout.strip()) == tmp_path / "docker" / "data", "it must not be the machine's own dockerd"
        assert second.environment["DOCKER_HOST"] != docker["DOCKER_HOST"]
    assert not second.socket.parent.exists()
    assert not (tmp_path / "docker" / "data").exists()
    assert "stopping" in tail(second.log).lower() or "shutdown" in tail(second.log).lower()


def test_podman_storage_is_its_own_and_removed(podman: Mapping[str, str], tmp_path: Path) -> None:
    """The tests would fill, or empty, the developer's own podman."""
    with own_podman(tmp_path / "podman") as environment:
        assert run("podman", "info", "--format", "{{.Store.GraphRoot}}", environment=environment).strip() == str(
            tmp_path / "podman" / "storage"
        )
        assert environment["CONTAINERS_STORAGE_CONF"] != podman["CONTAINERS_STORAGE_CONF"]
    assert not (tmp_path / "podman" / "storage").exists()


@pytest.mark.parametrize("store", ["docker_environment", "docker_containerd_environment"])
def test_buildx_reaches_a_registry_under_its_real_name(
    request: pytest.FixtureRequest, live_registry: LiveRegistry, shell_base: str, store: str, tmp_path: Path
) -> None:
    """A recipe could not be tried with the base names that people write, with this image store."""
    request.getfixturevalue(store)
    name = f"registry.access.redhat.com/{SHELL_BASE}:latest@{shell_base.rpartition('@')[2]}"
    docker = ENGINES[1]
    instead = f"{name}=docker-image://{shell_base}"
    build(docker, tmp_path, f"FROM {name}\nRUN id -u > /who\n", "named:v1", "--build-context", instead)
    assert run("docker", "run", "--rm", "named:v1", "cat", "/who").strip() == "0"


@pytest.mark.usefixtures("docker_containerd_environment")
def test_buildx_with_containerd_store_writes_a_layout_for_two_platforms(
    live_registry: LiveRegistry, shell_base: str, tmp_path: Path
) -> None:
    """The one setup in which a dockerd alone builds for two platforms could not be tried."""
    (tmp_path / "context").mkdir()
    (tmp_path / "Containerfile").write_text(two_stages(live_registry, shell_base), encoding="utf-8")
    (tmp_path / "secret").write_text(SECRET, encoding="utf-8")
    flags = ["--provenance=false", "--platform", ",".join(PLATFORMS), "--secret", f"id=token,src={tmp_path / 'secret'}"]
    output = f"type=oci,tar=false,dest={tmp_path / 'layout'}"
    where = ["--file", str(tmp_path / "Containerfile"), "--output", output, str(tmp_path / "context")]
    run("docker", "buildx", "build", *flags, *where)
    blobs = tmp_path / "layout" / "blobs" / "sha256"
    top = json.loads((tmp_path / "layout" / "index.json").read_text(encoding="utf-8"))["manifests"][0]
    index = json.loads((blobs / top["digest"].removeprefix("sha256:")).read_text(encoding="utf-8"))
    assert {f"linux/{one['platform']['architecture']}" for one in index["manifests"]} == set(PLATFORMS)


def test_podman_reaches_a_registry_under_its_real_name(
    live_registry: LiveRegistry, shell_base: str, podman: Mapping[str, str], tmp_path: Path
) -> None:
    """A recipe could not be tried with the base names that people write."""
    with own_podman(tmp_path / "podman", {"registry.access.redhat.com": live_registry.host}) as environment:
        name = f"registry.access.redhat.com/{SHELL_BASE}@{shell_base.rpartition('@')[2]}"
        run("podman", "pull", "--quiet", name, environment=environment)
        assert run("podman", "run", "--rm", name, "id", "-u", environment=environment).strip() == "0"
