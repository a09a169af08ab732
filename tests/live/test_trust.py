"""Signatures and attestations with the real cosign and a real registry that wants a password and TLS, and has no referrers API."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from buildkit import flow
from buildkit.delivery.copying import Copy, copy
from buildkit.errors import EngineFailed, InvalidInput
from buildkit.events import silent
from buildkit.oci.reference import Reference
from buildkit.policy import Policy
from buildkit.recipe import Recipe, load
from buildkit.settings import find
from buildkit.trust.attestation import attest
from buildkit.trust.provenance import TYPE as PROVENANCE
from buildkit.trust.sbom import TYPE
from buildkit.trust.signature import Signer, verify
from buildkit.world import World
from tests.live.base_images import SHELL_BASE, push_base
from tests.live.registry import LiveRegistry

pytestmark = pytest.mark.live


@pytest.fixture
def key(cosign: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COSIGN_PASSWORD", "a password")
    subprocess.run([cosign, "generate-key-pair"], cwd=tmp_path, check=True, capture_output=True)
    return tmp_path / "cosign.key"


@pytest.fixture
def pushed(
    secured_registry: LiveRegistry, skopeo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Recipe, World, Reference]]:
    user, password = secured_registry.credentials or ("", "")
    stem = secured_registry.host.upper().replace(".", "_").replace(":", "_")
    monkeypatch.setenv(f"MODELPACK_{stem}_USERNAME", user)
    monkeypatch.setenv(f"MODELPACK_{stem}_PASSWORD", password)
    monkeypatch.setenv("SSL_CERT_FILE", str(secured_registry.ca_file))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "no login here"))
    folder = tmp_path / "project"
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "model.onnx").write_bytes(b"a model")
    base = push_base(secured_registry, SHELL_BASE)
    content = {"kind": "modelcar", "name": "signed", "model": "./models", "base": base, "tags": ["v1"]}
    (folder / "recipe.yaml").write_text(json.dumps(content))
    (folder / "modelpack.yaml").write_text(json.dumps({"registries": {"here": {"host": secured_registry.host}}}))
    recipe, world = load(folder / "recipe.yaml"), World(find(folder), silent)
    delivered = flow.build(recipe, world, flow.Wanted("embedded", Policy.KEEP, "here"))
    yield recipe, world, Reference.parse(f"{secured_registry.host}/signed@{delivered.sealing.digest}")


def logged_in(registry: LiveRegistry, folder: Path) -> Path:
    """A docker configuration with the login, for programs that know nothing of this project."""
    config = folder / "login"
    config.mkdir(exist_ok=True)
    login = ["cosign", "login", registry.host, "-u", (registry.credentials or ("", ""))[0], "--password-stdin"]
    environment = os.environ | {"DOCKER_CONFIG": str(config)}
    password = (registry.credentials or ("", ""))[1]
    subprocess.run(login, input=password, text=True, check=True, capture_output=True, env=environment)
    return config


def test_a_signature_holds_for_what_was_signed_and_for_nothing_else(
    pushed: tuple[Recipe, World, Reference], key: Path, cosign: str, secured_registry: LiveRegistry, tmp_path: Path
) -> None:
    """Whoever verifies before a deployment is told that a changed image is ours, or that ours is not."""
    recipe, world, image = pushed
    attest(recipe, world, Signer(str(key), transparency=False))
    public = Signer(str(key.with_suffix(".pub")), transparency=False)
    (found,) = verify(image, public)
    assert found["critical"]["image"]["docker-manifest-digest"] == image.digest
    for predicate in ("cyclonedx", "slsaprovenance1"):
        check = [cosign, "verify-attestation", f"--key={public.key}", "--insecure-ignore-tlog", f"--type={predicate}"]
        config = {"DOCKER_CONFIG": str(logged_in(secured_registry, tmp_path))}
        told = subprocess.run(
            [*check, str(image)], env=os.environ | config, capture_output=True, text=True, check=False
        )
        assert told.returncode == 0, told.stderr
    flipped = json.loads(secured_registry.manifest("signed", "v1").content)
    flipped["annotations"]["org.opencontainers.image.title"] = "Signed"
    store = world.repository(image)
    document = store.resolve("v1")
    assert document
    changed = type(document)(document.media_type, json.dumps(flipped).encode())
    store.publish(changed)
    with pytest.raises(EngineFailed, match="could not verify a signature"):
        verify(Reference(image.host, image.repository, digest=changed.digest), public)


def test_another_key_is_refused(
    pushed: tuple[Recipe, World, Reference], key: Path, cosign: str, tmp_path: Path
) -> None:
    """Anybody's signature counts as ours."""
    recipe, world, image = pushed
    attest(recipe, world, Signer(str(key), transparency=False))
    other = tmp_path / "other"
    other.mkdir()
    subprocess.run([cosign, "generate-key-pair"], cwd=other, check=True, capture_output=True)
    with pytest.raises(EngineFailed, match="could not verify"):
        verify(image, Signer(str(other / "cosign.pub"), transparency=False))
    with pytest.raises(InvalidInput, match="whose signature"):
        verify(image, Signer(transparency=False))


def test_cosign_and_oras_find_the_bill(
    pushed: tuple[Recipe, World, Reference],
    cosign: str,
    secured_registry: LiveRegistry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What we attach is only found by ourselves."""
    from oras.client import OrasClient

    recipe, world, image = pushed
    done = {one.type: one for one in attest(recipe, world)}
    user, password = secured_registry.credentials or ("", "")
    monkeypatch.setenv("DOCKER_CONFIG", str(logged_in(secured_registry, tmp_path)))
    read = [cosign, "download", "sbom", str(image)]
    downloaded = subprocess.run(read, capture_output=True, text=True, check=True).stdout
    assert json.loads(downloaded)["serialNumber"].startswith("urn:uuid:")
    client = OrasClient(tls_verify=True, auth_backend="basic")
    client.auth.set_basic_auth(user, password)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(secured_registry.ca_file))
    target = f"{secured_registry.host}/signed@{done[TYPE].digest}"
    (path,) = client.pull(target=target, outdir=str(tmp_path / "pulled"))
    bill = json.loads(Path(path).read_text())
    assert (bill["bomFormat"], Path(path).name) == ("CycloneDX", "sbom.cdx.json")


def test_a_copy_is_verified_by_cosign_and_its_bill_found_by_oras(
    pushed: tuple[Recipe, World, Reference],
    key: Path,
    cosign: str,
    oras: str,
    secured_registry: LiveRegistry,
    live_registry: LiveRegistry,
    tmp_path: Path,
) -> None:
    """A mirror whose images nobody can verify is one that no cluster pulls from."""
    recipe, world, image = pushed
    attest(recipe, world, Signer(str(key), transparency=False))
    done = copy(Copy(f"{image.name}:v1", (f"{live_registry.host}/mirror",)), world)
    assert dict(done.digests) == {f"{live_registry.host}/mirror/signed:v1": image.digest}
    there = Reference(live_registry.host, "mirror/signed", digest=image.digest)
    public = Signer(str(key.with_suffix(".pub")), transparency=False, plain_http=True)
    (found,) = verify(there, public)
    assert found["critical"]["image"]["docker-manifest-digest"] == image.digest
    options = [f"--key={public.key}", "--insecure-ignore-tlog", "--type=slsaprovenance1", "--allow-http-registry"]
    subprocess.run([cosign, "verify-attestation", *options, str(there)], check=True, capture_output=True)
    read = [cosign, "download", "sbom", "--allow-http-registry", str(there)]
    downloaded = subprocess.run(read, capture_output=True, text=True, check=True).stdout
    assert json.loads(downloaded)["bomFormat"] == "CycloneDX"
    listed = subprocess.run([oras, "discover", "--plain-http", str(there)], capture_output=True, text=True, check=True)
    assert TYPE in listed.stdout and PROVENANCE in listed.stdout


def test_no_secret_is_left(
    pushed: tuple[Recipe, World, Reference], key: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A password stays behind in a temporary folder."""
    import tempfile

    recipe, world, _ = pushed
    before: Mapping[Path, None] = dict.fromkeys(Path(tempfile.gettempdir()).glob("modelpack-secret-*"))
    attest(recipe, world, Signer(str(key), transparency=False))
    assert not [path for path in Path(tempfile.gettempdir()).glob("modelpack-secret-*") if path not in before]
