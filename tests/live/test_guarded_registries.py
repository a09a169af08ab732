"""Real registries behind TLS with passwords and short-lived tokens: if these fail, a fleet cannot log in, or leaks how."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.fakes.hub import Hub
from tests.fakes.proxy import FaultProxy
from tests.live.registry import LiveRegistry, start_registry
from tests.live.token_server import TokenServer

pytestmark = [pytest.mark.live, pytest.mark.engine]

FILES: dict[str, bytes] = {
    "config.json": b'{"model_type": "granite"}',
    "model.safetensors": os.urandom(3_000_000),
    "nested/config.json": b"same name, other folder",
}
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


@pytest.fixture
def tokens(registry_program: str, token_server: TokenServer, tmp_path: Path) -> Iterator[LiveRegistry]:
    """A registry over TLS whose tokens live for five seconds."""
    token_server.lifetime = 5
    with start_registry(tmp_path / "tokens-tls", token=token_server, tls=True) as registry:
        yield registry


@dataclass
class Fleet:
    """A project, two guarded registries, and what commands run with: nobody is logged in anywhere."""

    folder: Path
    home: Path
    registries: Mapping[str, LiveRegistry]
    environment: dict[str, str] = field(default_factory=dict)

    def run(
        self, *command: str, check: bool = True, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        whole = {**os.environ, **self.environment, **(environment or {})}
        done = subprocess.run(
            command, cwd=self.folder, env=whole, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        assert not check or done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done

    def modelpack(
        self, *arguments: str, check: bool = True, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        done = self.run(sys.executable, "-m", "buildkit", *arguments, check=check, environment=environment)
        for registry in self.registries.values():
            self.check_secret(registry, done.stdout + done.stderr)
        return done

    def check_secret(self, registry: LiveRegistry, text: str) -> None:
        user, password = registry.credentials or ("", "")
        for secret in (password, base64.b64encode(f"{user}:{password}".encode()).decode()):
            assert secret not in text

    def log_in_all(self) -> None:
        auths: dict[str, object] = {}
        for registry in self.registries.values():
            auths |= json.loads(registry.docker_config())["auths"]
        (self.home / "login").mkdir(exist_ok=True)
        (self.home / "login" / "config.json").write_text(json.dumps({"auths": auths}))
        self.environment["DOCKER_CONFIG"] = str(self.home / "login")

    @property
    def login_file(self) -> str:
        return str(self.home / "login" / "config.json")


@pytest.fixture
def fleet(secured_registry: LiveRegistry, tokens: LiveRegistry, tmp_path: Path) -> Iterator[Fleet]:
    with Hub() as hub:
        hub.add("org/granite", FILES)
        folder, home = tmp_path / "a project", tmp_path / "home"
        folder.mkdir()
        home.mkdir()
        registries = {"passwords": secured_registry, "tokens": tokens}
        named = {name: {"host": one.host, "prefix": "models"} for name, one in registries.items()}
        (folder / "modelpack.yaml").write_text(json.dumps({"hub": {"endpoint": hub.endpoint}, "registries": named}))
        recipe = {"kind": "modelcar", "name": "granite", "model": "hf://org/granite", "base": "scratch", "tags": ["v1"]}
        (folder / "recipe.yaml").write_text(json.dumps({**recipe, "layers": "per-file"}))
        bundle = home / "authorities.pem"
        bundle.write_text("".join(one.ca_file.read_text() for one in registries.values() if one.ca_file))
        environment = {
            "HOME": str(home),
            "SSL_CERT_FILE": str(bundle),
            "DOCKER_CONFIG": str(home / "nobody"),
            "XDG_RUNTIME_DIR": str(home / "run"),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_CACHE_HOME": str(home / "cache"),
        }
        yield Fleet(folder, home, registries, environment)


Login = Callable[[Fleet, str, LiveRegistry], dict[str, str]]


def by_docker(fleet: Fleet, name: str, registry: LiveRegistry) -> dict[str, str]:
    """What ``docker login`` leaves behind."""
    (fleet.home / "docker").mkdir()
    (fleet.home / "docker" / "config.json").write_text(registry.docker_config())
    return {"DOCKER_CONFIG": str(fleet.home / "docker")}


def by_podman(fleet: Fleet, name: str, registry: LiveRegistry) -> dict[str, str]:
    """The real ``podman login``, where podman keeps it without being told."""
    user, password = registry.credentials or ("", "")
    place = fleet.home / "run" / "containers" / "auth.json"
    place.parent.mkdir(parents=True)
    fleet.run(
        "podman", "login", "--authfile", str(place), "--tls-verify=false", "-u", user, "-p", password, registry.host
    )
    return {}


def by_auth_file(fleet: Fleet, name: str, registry: LiveRegistry) -> dict[str, str]:
    """The real ``skopeo login`` into a file that the environment names."""
    user, password = registry.credentials or ("", "")
    place = str(fleet.home / "chosen.json")
    fleet.run("skopeo", "login", "--authfile", place, "--tls-verify=false", "-u", user, "-p", password, registry.host)
    return {"REGISTRY_AUTH_FILE": place}


def by_helper(fleet: Fleet, name: str, registry: LiveRegistry) -> dict[str, str]:
    """A credential helper, as cloud registries have one each."""
    user, password = registry.credentials or ("", "")
    folder = fleet.home / "bin"
    folder.mkdir()
    answer = json.dumps({"Username": user, "Secret": password})
    script = f"#!/bin/sh\nread server\n[ \"$server\" = '{registry.host}' ] || exit 1\necho '{answer}'\n"
    (folder / "docker-credential-live").write_text(script)
    (folder / "docker-credential-live").chmod(0o755)
    (fleet.home / "helped").mkdir()
    (fleet.home / "helped" / "config.json").write_text(json.dumps({"credHelpers": {registry.host: "live"}}))
    return {"DOCKER_CONFIG": str(fleet.home / "helped"), "PATH": f"{folder}:{os.environ['PATH']}"}


def by_environment(fleet: Fleet, name: str, registry: LiveRegistry) -> dict[str, str]:
    """Variables by the name that modelpack.yaml gives the registry."""
    user, password = registry.credentials or ("", "")
    return {f"MODELPACK_{name.upper()}_USERNAME": user, f"MODELPACK_{name.upper()}_PASSWORD": password}


def by_modelpack(fleet: Fleet, name: str, registry: LiveRegistry) -> dict[str, str]:
    """``modelpack login``, and its password from stdin alone."""
    user, password = registry.credentials or ("", "")
    environment = {**os.environ, **fleet.environment, "DOCKER_CONFIG": str(fleet.home / "ours")}
    command = [sys.executable, "-m", "buildkit", "login", name, "-u", user, "--password-stdin"]
    done = subprocess.run(
        command, cwd=fleet.folder, env=environment, input=password, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    fleet.check_secret(registry, done.stdout + done.stderr)
    refused = subprocess.run(
        command, cwd=fleet.folder, env=environment, input="wrong", capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1, "a wrong password was taken"
    return {"DOCKER_CONFIG": str(fleet.home / "ours")}


LOGINS: list[Login] = [by_docker, by_podman, by_auth_file, by_helper, by_environment, by_modelpack]


@pytest.mark.parametrize("login", LOGINS)
@pytest.mark.parametrize("name", ["passwords", "tokens"])
def test_each_login_suffices_alone_and_is_printed_nowhere(
    fleet: Fleet, podman: Mapping[str, str], name: str, login: Login
) -> None:
    """Whichever tool a team logs in with, it is enough; no output, no error and no lock holds the password."""
    registry = fleet.registries[name]
    nobody = fleet.modelpack("build", "--push", "--registry", name, ".", check=False)
    assert nobody.returncode == 1
    assert "not logged in" in nobody.stderr
    environment = login(fleet, name, registry)
    tag = login.__name__.replace("_", "-")
    recipe = json.loads((fleet.folder / "recipe.yaml").read_text())
    (fleet.folder / "recipe.yaml").write_text(json.dumps({**recipe, "tags": [tag]}))
    done = fleet.modelpack("build", "--push", "--registry", name, "--json", ".", environment=environment)
    digest = json.loads(done.stdout)[0]["digest"]
    assert registry.manifest("models/granite", tag).digest == digest
    fleet.check_secret(registry, (fleet.folder / "recipe.lock").read_text())


@pytest.mark.usefixtures("docker_environment")
def test_docker_login_suffices(fleet: Fleet, docker: Mapping[str, str]) -> None:
    """The login of the tool that everybody has; and its daemon pulls what was pushed, in either form."""
    for name, registry in fleet.registries.items():
        user, password = registry.credentials or ("", "")
        config = str(fleet.home / f"docker-{name}")
        fleet.run("docker", "login", "-u", user, "-p", password, registry.host, environment={"DOCKER_CONFIG": config})
        form = "docker" if name == "passwords" else "oci"
        arguments = ["build", "--push", "--registry", name, "--manifest-format", form, "."]
        fleet.modelpack(*arguments, environment={"DOCKER_CONFIG": config})
        image = f"{registry.host}/models/granite:v1"
        fleet.run("docker", "pull", "--quiet", image, environment={"DOCKER_CONFIG": config})
        digests = fleet.run("docker", "image", "inspect", "--format", "{{.RepoDigests}}", image).stdout
        assert registry.manifest("models/granite", "v1").digest in digests


def test_a_push_outlives_its_tokens(fleet: Fleet, tokens: LiveRegistry) -> None:
    """Tokens of five seconds end in the middle of a layer: the next request must have a new one, and no byte go twice."""
    host, _, port = tokens.host.partition(":")
    with FaultProxy(host, int(port)) as proxy:
        proxy.throttle(400_000)
        user, password = tokens.credentials or ("", "")
        stem = "MODELPACK_" + proxy.address.replace(".", "_").replace(":", "_")
        environment = {f"{stem}_USERNAME": user, f"{stem}_PASSWORD": password}
        fleet.modelpack("build", "--push", "--registry", f"{proxy.address}/slow", ".", environment=environment)
    assert tokens.tags("slow/granite") == ["v1"]
    assert tokens.token is not None
    pushed = [request for request in tokens.token.requests if "repository:slow/granite:pull,push" in request.scopes]
    assert len(pushed) > 1, "no token ended while the layer was sent: this proves nothing"
    assert [one.status for one in tokens.requests() if one.method == "PATCH"] == [202] * 2


def read_by_skopeo(fleet: Fleet, image: str, folder: Path) -> str:
    """The digest as skopeo has it, after every blob was fetched and hashed."""
    fleet.run("skopeo", "copy", "--authfile", fleet.login_file, f"docker://{image}", f"dir:{folder}")
    shown = fleet.run("skopeo", "inspect", "--authfile", fleet.login_file, f"docker://{image}")
    digest = json.loads(shown.stdout)["Digest"]
    assert isinstance(digest, str)
    return digest


def read_by_podman(fleet: Fleet, image: str, podman: Mapping[str, str]) -> dict[str, bytes]:
    """The files as podman unpacks them."""
    environment = {**podman, "REGISTRY_AUTH_FILE": fleet.login_file}
    fleet.run("podman", "pull", "--quiet", image, environment=environment)
    mounted = Path(fleet.run("podman", "image", "mount", image, environment=environment).stdout.strip()) / "models"
    found = {str(one.relative_to(mounted)): one.read_bytes() for one in mounted.rglob("*") if one.is_file()}
    fleet.run("podman", "image", "unmount", image, environment=environment)
    return found


def read_by_oras(fleet: Fleet, oras: str, image: str, registry: LiveRegistry) -> tuple[str, list[str]]:
    """The digest as oras resolves it, and the layers' media types, each fetched and proven by oras."""
    flags = ["--registry-config", fleet.login_file, "--ca-file", str(registry.ca_file)]
    digest = fleet.run(oras, "resolve", *flags, image).stdout.strip()
    manifest = json.loads(fleet.run(oras, "manifest", "fetch", *flags, image).stdout)
    name = image.rpartition(":")[0]
    for number, one in enumerate((manifest["config"], *manifest["layers"])):
        fleet.run(
            oras, "blob", "fetch", *flags, "--output", str(fleet.home / f"blob-{number}"), f"{name}@{one['digest']}"
        )
    return digest, [layer["mediaType"] for layer in manifest["layers"]]


@pytest.mark.parametrize("form", ["oci", "docker"])
def test_skopeo_podman_and_oras_read_what_was_pushed_to_two_registries(
    fleet: Fleet, podman: Mapping[str, str], skopeo: str, oras: str, form: str
) -> None:
    """An image that only its maker can read is none, in either form, wherever it was pushed in one go."""
    fleet.log_in_all()
    arguments = ["--registry", "passwords", "--registry", "tokens", "--manifest-format", form]
    done = fleet.modelpack("build", "--push", *arguments, ".")
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    for line, registry in zip(lines, fleet.registries.values(), strict=True):
        image, _, digest = line.partition("@")
        assert read_by_skopeo(fleet, image, fleet.home / f"dir-{registry.host}-{form}") == digest
        assert read_by_podman(fleet, image, podman) == FILES
        found, types = read_by_oras(fleet, oras, image, registry)
        assert found == digest
        assert all(one.endswith("tar.gzip" if form == "docker" else "layer.v1.tar") for one in types)
        assert (registry.manifest("models/granite", "v1").media_type == DOCKER_MANIFEST) == (form == "docker")
    again = fleet.modelpack("push", *arguments)
    assert again.stdout == done.stdout
    sent = [one for registry in fleet.registries.values() for one in registry.requests() if one.method == "PATCH"]
    assert len([one for one in sent if one.status == 202]) >= 2


def test_a_copy_between_registries_keeps_its_digest_and_mounts_within_one(fleet: Fleet, skopeo: str) -> None:
    """From one registry into another, and back into a folder of the first, where no byte has to move."""
    fleet.log_in_all()
    built = fleet.modelpack("build", "--push", "--registry", "passwords", ".").stdout.strip()
    image, _, digest = built.partition("@")
    passwords, tokens = fleet.registries["passwords"], fleet.registries["tokens"]
    before = len(passwords.requests())
    done = fleet.modelpack("copy", image, "tokens", f"{passwords.host}/production")
    assert done.stdout.splitlines() == [
        f"{tokens.host}/models/granite:v1@{digest}",
        f"{passwords.host}/production/granite:v1@{digest}",
    ]
    for registry, repository in ((tokens, "models/granite"), (passwords, "production/granite")):
        assert registry.manifest(repository, "v1").digest == digest
        assert (
            read_by_skopeo(fleet, f"{registry.host}/{repository}:v1", fleet.home / repository.partition("/")[0])
            == digest
        )
    new = passwords.requests()[before:]
    assert [one for one in new if one.method == "POST" and "mount=" in one.path and one.status == 201]
    assert not [one for one in new if one.method == "PATCH"]


def test_a_push_through_the_upload_of_each_registry(fleet: Fleet, secured_registry: LiveRegistry) -> None:
    """One PUT with its length, as GHCR wants it, is taken by the reference registry as well: by a real server's reading."""
    fleet.log_in_all()
    settings = json.loads((fleet.folder / "modelpack.yaml").read_text())
    settings["registries"]["whole"] = {"host": secured_registry.host, "prefix": "whole", "type": "ghcr"}
    del settings["registries"]["passwords"]
    (fleet.folder / "modelpack.yaml").write_text(json.dumps(settings))
    fleet.modelpack("build", ".")
    before = len(secured_registry.requests())
    fleet.modelpack("push", "--registry", "whole")
    new = secured_registry.requests()[before:]
    assert not [one for one in new if one.method == "PATCH"]
    assert len([one for one in new if one.method == "PUT" and "/blobs/uploads/" in one.path and one.status == 201]) == 2
